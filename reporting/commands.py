"""How each row was made: the command and the environment of every run; and which runs are missing."""

import shlex
from collections.abc import Sequence

from reporting.collect import Finished, Missing, Row
from reporting.table import Table, number, words


def commands_of(row: Row) -> str:
    """List what made each run of a row, ready to be copied."""
    return "\n\n".join([*map(_finished, row.finished), *map(_missing, row.missing)])


def _finished(run: Finished) -> str:
    environment = run.environment
    packages = ", ".join(
        f"{name} {found}" for name, found in environment.get("packages", {}).items() if found
    )
    machine = f"{environment.get('cpus')} CPU cores, {environment.get('threads')} threads"
    lines = [f"# seed {run.plan.seed}, in {run.folder}", shlex.join(run.plan.command)]
    # Interpreter and script may lie elsewhere; other flags are another command.
    if (started := environment.get("command", []))[2:] != list(run.plan.command)[2:]:
        lines.append(f"# started by: {shlex.join(started)}")
    lines.append(
        f"# commit {environment.get('commit') or 'unknown'}, Python {environment.get('python')}, {packages}"
    )
    return "\n".join([*lines, f"# {machine}, GPU: {environment.get('gpu') or 'none'}"])


def _missing(run: Missing) -> str:
    return f"# seed {run.plan.seed}, {run.state}, in {run.folder}\n{shlex.join(run.plan.command)}"


def missing_table(missing: Sequence[tuple[Row, Missing]]) -> Table:
    """Name every run that can't be reported, and why."""
    header = ("row", "seed", "state", "why")
    lines = [
        [words(row.name), number(run.plan.seed, ".0f"), words(run.state), words(run.reason)]
        for row, run in missing
    ]
    return Table(header, lines)
