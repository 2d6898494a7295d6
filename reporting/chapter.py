"""One table of a grid as a chapter of the report: a list of sections, each a function of the table."""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reporting.classes import classes_section
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
from reporting.side_by_side import confusions_section
from reporting.tables import Table, number, words


def chapter(
    table: FoundTable,
    folder: Path,
    heat: Section | None = None,
    *,
    results: bool = True,
    plays: Mapping[str, str] | None = None,
) -> Section:
    """Describe everything that is known of a table.

    Args:
        table: Its runs.
        folder: Of the report; pictures that are drawn go into it.
        heat: The attention of some runs, if it was drawn.
        results: Begin with the table of results; not where the page has it already.
        plays: Where clips play, by their names, if another section of the page shows that.
    """
    # In the order of the page; None where a section has nothing to show.
    sections: list[Callable[[FoundTable], Section | None]] = [
        *([results_section] if results else []),
        partial(heads_section, folder=folder),
        published_section,
        optimism_section,
        missing_section,
        comparisons_section,
        order_section,
        partial(early_section, folder=folder),
        lambda _: heat,
        classes_section,
        curves_section,
        partial(confusions_section, plays=plays or (heat.plays if heat else {})),
        attention_section,
        motion_section,
        cost_section,
        partial(commands_section, folder=folder),
    ]
    wanted = sum(len(row.plan.runs) for row in table.rows)
    if table.shown:
        done = f"{len(table.rows)} rows, {wanted - len(table.missing)} of {wanted} runs finished"
        recipe = f"Recipe {table.plan.recipe}: " if table.plan.recipe else ""
        lead = f"{recipe}{done}. {data_sentence(table)}"
    else:
        lead, sections = (
            "No run of this table has finished yet.",
            [missing_section, partial(commands_section, folder=folder)],
        )
    parts = [section for make in sections if (section := make(table)) is not None]
    return Section(table.plan.title, [lead], parts=parts, key=table.name)


def data_sentence(table: FoundTable) -> str:
    """Say which clips the rows were trained and tested on, as far as all runs agree."""
    runs = [run for row in table.shown for run in row.finished]

    def agreed(values: Iterable[Any]) -> Any:
        found = {str(value): value for value in values}
        return next(iter(found.values())) if len(found) == 1 else None

    trained, tested = (
        agreed(run.settings.get(f"{kind}_users") for run in runs if f"{kind}_users" in run.settings)
        for kind in ("train", "test")
    )
    tree = agreed(Path(run.settings["data"]).name for run in runs if run.settings.get("data"))
    learned = agreed(run.evaluation["n_train"] for run in runs if "n_train" in run.evaluation)
    clips = agreed(int(run.evaluation["n_clips"]) for run in runs)
    size = f"{clips} clips of " if clips else ""
    each = f"; one test clip is {100 / clips:.2f} points" if clips else ""
    return (
        f"Trained on {f'{learned} clips of ' if learned else ''}{_users(trained)}, tested on {size}"
        f"{_users(tested)}{f', data {tree}' if tree else ''}{each}."
    )


def _users(users: Sequence[str] | None) -> str:
    return " ".join(users) if users else "different users"


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


def commands_section(table: FoundTable, folder: Path) -> Section:
    """How every run was made, and how those that are missing can be.

    Args:
        table: The runs.
        folder: Of the report, from where their folders are linked.
    """
    text = "The command of every run, the environment it was made in, and its folder."
    parts = [
        Section(
            row.name,
            code=commands_of(row),
            links={
                f"Folder of seed {run.plan.seed}": f"{os.path.relpath(run.folder, folder)}/"
                for run in row.finished
            },
            folded=True,
            key=f"{number}",
        )
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
