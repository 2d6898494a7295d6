"""One table of a grid as a chapter of the report: a list of sections, each a function of the table."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from reporting.classes import classes_section, confusions_section
from reporting.collect import FoundTable, Row
from reporting.curves import curves_section
from reporting.early import early_section
from reporting.heads import heads_section
from reporting.measures import attention_section, cost_section, motion_section
from reporting.page import Section
from reporting.results import (
    comparisons_section,
    optimism_section,
    order_section,
    published_section,
    results_section,
)
from reporting.tables import Table, number, words


def chapter(table: FoundTable, folder: Path, heat: Section | None = None) -> Section:
    """Describe everything that is known of a table.

    Args:
        table: Its runs.
        folder: Of the report; pictures that are drawn go into it.
        heat: The attention of some runs, if it was drawn.
    """
    # In the order of the page; None where a section has nothing to show.
    sections: list[Callable[[FoundTable], Section | None]] = [
        results_section,
        partial(heads_section, folder=folder),
        published_section,
        optimism_section,
        missing_section,
        comparisons_section,
        order_section,
        partial(early_section, folder=folder),
        lambda _: heat,
        classes_section,
        partial(curves_section, folder=folder),
        confusions_section,
        attention_section,
        motion_section,
        cost_section,
        commands_section,
    ]
    wanted = sum(len(row.plan.runs) for row in table.rows)
    if table.shown:
        clips = int(table.shown[0].values("n_clips")[0])
        lead = (
            f"Recipe {table.plan.recipe}: {len(table.rows)} rows, {wanted - len(table.missing)} of {wanted} "
            f"runs finished, tested on {clips} clips; one clip is {100 / clips:.2f} points."
        )
    else:
        lead, sections = "No run of this table has finished yet.", [missing_section, commands_section]
    parts = [section for make in sections if (section := make(table)) is not None]
    return Section(table.plan.title, [lead], parts=parts, key=table.name)


def missing_section(table: FoundTable) -> Section | None:
    """The runs that can't be reported."""
    if not table.missing:
        return None
    text = "These runs are not in any number on this page; rows say how many seeds they have."
    found = Table.of(
        words("row", [row.name for row, _ in table.missing]),
        number("seed", [run.plan.seed for _, run in table.missing], ".0f"),
        words("state", [run.state for _, run in table.missing]),
        words("why", [run.reason for _, run in table.missing]),
    )
    return Section("What is missing", [text], found, key="missing")


def commands_section(table: FoundTable) -> Section:
    """How every run was made, and how those that are missing can be."""
    text = "The command of every run, and the environment it was made in."
    parts = [
        Section(row.name, code=commands_of(row), folded=True, key=f"{number}")
        for number, row in enumerate(table.rows, start=1)
    ]
    return Section("Commands and environments", [text], parts=parts, key="commands")


def commands_of(row: Row) -> str:
    """List the commands of a row's runs, ready to be copied."""
    blocks = []
    for run in row.finished:
        made = run.environment
        packages = [f"{name} {found}" for name, found in made.get("packages", {}).items() if found]
        lines = [f"# seed {run.plan.seed}, in {run.folder}", shlex.join(run.plan.command)]
        # Interpreter and script may lie elsewhere; other flags are another command.
        if (started := made.get("command", []))[2:] != list(run.plan.command)[2:]:
            lines.append(f"# started by: {shlex.join(started)}")
        commit, python = made.get("commit") or "unknown", made.get("python")
        lines.append(f"# commit {commit}, Python {python}, {', '.join(packages)}")
        machine = f"{made.get('cpus')} CPU cores, {made.get('threads')} threads"
        blocks.append("\n".join([*lines, f"# {machine}, GPU: {made.get('gpu') or 'none'}"]))
    for lost in row.missing:
        where = f"# seed {lost.plan.seed}, {lost.state}, in {lost.folder}"
        blocks.append(f"{where}\n{shlex.join(lost.plan.command)}")
    return "\n\n".join(blocks)
