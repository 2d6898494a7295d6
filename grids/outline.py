"""A plan as text: a tree of trainings, each under its parent, with how many runs are to do."""

from collections.abc import Iterable, Iterator, Sequence

from grids.plan import Plan, Table
from grids.progress import Paces, duration
from grids.recipe import Training
from grids.runs import Run


def outline(plan: Plan, chosen: Sequence[Run]) -> str:
    """Describe a plan.

    Args:
        plan: The plan.
        chosen: The runs of it that were asked for.
    """
    keys = {run.key for run in chosen}
    lines = [line for table in plan.tables for line in _table(table, keys)]
    left = sum(not run.done for run in chosen)
    shared = _shared(plan, chosen)
    counts = f"{len(chosen)} runs: {left} to do, {len(chosen) - left} done, {shared} shared"
    return "\n".join([*lines, counts])


def estimate(chosen: Sequence[Run], paces: Paces, jobs: int) -> str:
    """Say how long runs will take.

    Args:
        chosen: The runs.
        paces: How long others like them took.
        jobs: How many run at a time.
    """
    left = [run for run in chosen if not run.done]
    seconds, unknown = paces.total(left)
    if not left:
        return "time: none"
    if unknown == len(left):
        return "time: unknown, no run like these has finished here; --dry-run --rehearse 16 measures it"
    rest = f" and that of {unknown} runs which nothing here tells" if unknown else ""
    return f"time: about {duration(seconds / jobs)} with {jobs} at a time{rest}"


def _table(table: Table, chosen: set[str]) -> Iterator[str]:
    yield f"{table.file.name}: {table.recipe.title}"
    runs: dict[str, list[Run]] = {}
    for step, run in table.steps:
        if run.key in chosen:
            runs.setdefault(step.training.name, []).append(run)
    trainings = [training for training in table.recipe.variants if training.name in runs]
    yield from _branches(trainings, runs, None, "")


def _branches(
    trainings: Sequence[Training], runs: dict[str, list[Run]], parent: str | None, indent: str
) -> Iterator[str]:
    """Draw what hangs on a parent; a training with several hangs on its first."""
    children = [training for training in trainings if next(iter(training.parents.values()), None) == parent]
    for number, training in enumerate(children, start=1):
        last = number == len(children)
        yield f"{indent}{'└─' if last else '├─'} {_leaf(training, runs[training.name])}"
        yield from _branches(trainings, runs, training.name, indent + ("   " if last else "│  "))


def _leaf(training: Training, runs: Sequence[Run]) -> str:
    row = f" [{training.row}]" if training.row else ""
    others = list(training.parents.values())[1:]
    joined = f" and {', '.join(others)}" if others else ""
    return f"{training.name}{joined}{row}: {_counts(runs)}"


def _counts(runs: Sequence[Run]) -> str:
    done = sum(run.done for run in runs)
    parts = [f"{len(runs) - done} to do"] * (done < len(runs)) + [f"{done} done"] * (done > 0)
    return ", ".join(parts)


def _shared(plan: Plan, chosen: Iterable[Run]) -> int:
    """Count runs that more than one training, or more than one recipe, builds upon or shows."""
    users: dict[str, set[tuple[str, str]]] = {run.key: set() for run in chosen}
    for table in plan.tables:
        for step, run in table.steps:
            for used in [*run.parents, *([run] if step.training.row else [])]:
                users.setdefault(used.key, set()).add((table.file.name, step.training.name))
    return sum(len(users[run.key]) > 1 for run in chosen)
