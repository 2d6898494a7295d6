"""What a grid runs, and what the tables of its recipes take from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from grids.recipe import Recipe, Step, Training
from grids.runs import Run
from grids.table import TABLES, TablePlan, TableRow, TableRun


@dataclass(frozen=True)
class Table:
    """The table of one recipe.

    Attributes:
        file: The recipe's file.
        recipe: The recipe.
        steps: Each of its steps with the run that takes it; steps of several recipes may share one.
    """

    file: Path
    recipe: Recipe
    steps: tuple[tuple[Step, Run], ...]

    def write(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write for the report what stands where, under the grid's folder."""
        recipe = self.recipe
        content = TablePlan(
            title=recipe.title,
            recipe=self.file.name,
            inputs={name: inputs[name] for name in recipe.inputs},
            baseline=recipe.baseline,
            rows=tuple(self._row(training, out) for training in recipe.variants if training.row),
        )
        content.to_yaml(out / TABLES / f"{self.file.stem}.yaml")

    def _row(self, training: Training, out: Path) -> TableRow:
        assert training.row is not None
        steps = [(step, run) for step, run in self.steps if step.training.name == training.name]
        runs = [
            TableRun(seed=step.seed, folder=run.folder.relative_to(out), command=("python", *run.words))
            for step, run in steps
        ]
        return TableRow(
            row=training.row,
            training=training.name,
            script=training.script,
            settings=steps[0][0].training.settings,
            published=training.published,
            runs=runs,
        )


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        runs: Every run once, by key, parents first.
        tables: What the recipes take from them.
    """

    runs: Mapping[str, Run]
    tables: tuple[Table, ...]

    def chosen(self, rows: Iterable[str]) -> list[Run]:
        """Give the runs of some rows and all that these need, parents first; no rows means all.

        Raises:
            UserError: There is no such row.
        """
        wanted = set(rows)
        if not wanted:
            return list(self.runs.values())
        steps = [(step.training.row, run) for table in self.tables for step, run in table.steps]
        if unknown := sorted(wanted - {row for row, _ in steps}):
            there = "; ".join(dict.fromkeys(row for row, _ in steps if row))
            raise UserError(f"--only {unknown[0]}: no such row; there are: {there}")
        needed = with_parents(run for row, run in steps if row in wanted)
        return [run for key, run in self.runs.items() if key in needed]


def with_parents(runs: Iterable[Run]) -> set[str]:
    """Give the keys of runs and of all that they build upon."""
    keys: set[str] = set()
    left = list(runs)
    while left:
        run = left.pop()
        if run.key not in keys:
            keys.add(run.key)
            left += run.parents
    return keys
