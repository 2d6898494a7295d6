"""Recipes: the trainings behind a results table, written down as data.

A recipe names its trainings in an order in which each stands after its parents. It holds no paths: what lies
where is said when it is run. Knows nothing of video; a script checks the settings that are its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from engine.config import Config
from engine.errors import UserError

# Settings that whoever runs the recipe decides.
_NOT_IN_RECIPES = ("out", "seed", "resume", "device", "workers")


class Training(Config):
    """One training of a recipe."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """What other trainings call it as their parent, and the folder of its runs."""
    script: str = Field(pattern=r"^train_\w+$")
    """The script without .py."""
    row: str | None = None
    """What the table calls its result; a training without one is only a parent."""
    published: str | None = None
    """Which kind of published result its row reproduces, to stand beside it in the report."""
    inputs: dict[str, str] = {"data": "data"}
    """Flags that take a folder of data, each with the name of the recipe's input."""
    parents: dict[str, str] = {}
    """Flags that take a run directory, each with the name of the training that makes it."""
    settings: dict[str, Any] = {}
    """The script's other flags, with underscores; left-out ones have the script's defaults."""
    every_seed: bool = True
    """False: trained once, with the first seed, for the trainings of all seeds to build upon."""

    @model_validator(mode="after")
    def _no_flag_twice(self) -> Self:
        flags = [*self.inputs, *self.parents, *self.settings]
        if twice := sorted({flag for flag in flags if flags.count(flag) > 1}):
            raise ValueError(f"training {self.name} sets {', '.join(twice)} twice")
        if odd := sorted(set(flags) & set(_NOT_IN_RECIPES)):
            raise ValueError(f"training {self.name} sets {', '.join(odd)}, which is for who runs the recipe")
        if self.published is not None and self.row is None:
            raise ValueError(f"training {self.name} has `published`, but no row for it to stand beside")
        return self


@dataclass(frozen=True)
class Step:
    """A training of a recipe with one seed, ready to be started.

    Attributes:
        training: Which.
        seed: The seed.
        values: Every setting of the script that the recipe decides, run directory and parents included.
        parents: Run directories that must be finished before.
    """

    training: Training
    seed: int
    values: dict[str, Any]
    parents: tuple[Path, ...]

    @property
    def out(self) -> Path:
        """Its run directory."""
        return Path(self.values["out"])


class Recipe(Config):
    """The trainings of one results table."""

    title: str
    """What the table shows."""
    inputs: dict[str, str]
    """The data it takes: names, and what each should be."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Each row is trained once with each."""
    baseline: str | None = None
    """The row that the report compares all others with; every row with every other when left out."""
    trainings: tuple[Training, ...] = Field(min_length=1)
    """In an order in which each stands after its parents; those with a row make the table, in this order."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known: dict[str, Training] = {}
        for training in self.trainings:
            if training.name in known:
                raise ValueError(f"two trainings are called {training.name}")
            self._check_training(training, known)
            known[training.name] = training
        rows = [training.row for training in self.trainings if training.row is not None]
        if twice := sorted({row for row in rows if rows.count(row) > 1}):
            raise ValueError(f"two trainings have the row {twice[0]!r}")
        if self.baseline is not None and self.baseline not in rows:
            raise ValueError(f"the baseline {self.baseline!r} is no row of the table")
        return self

    def _check_training(self, training: Training, known: Mapping[str, Training]) -> None:
        if unknown := sorted(set(training.inputs.values()) - set(self.inputs)):
            raise ValueError(f"training {training.name} takes the input {unknown[0]}, which is not declared")
        for parent in training.parents.values():
            if parent not in known:
                raise ValueError(f"training {training.name}: its parent {parent} does not stand before it")
            if known[parent].every_seed and not training.every_seed:
                raise ValueError(f"training {training.name} is for all seeds, its parent {parent} for each")

    def steps(self, inputs: Mapping[str, Path], out: Path) -> list[Step]:
        """List what is to be run, parents first.

        Args:
            inputs: Where each of the recipe's inputs lies.
            out: Folder for the runs, `out/NAME/seed0` and so on.

        Raises:
            UserError: An input is missing or unknown.
        """
        if set(inputs) != set(self.inputs):
            wanted = "; ".join(f"{name}: {what}" for name, what in self.inputs.items())
            raise UserError(f"the recipe takes the inputs {wanted}; given were {sorted(inputs) or 'none'}")
        named = {training.name: training for training in self.trainings}

        def folder(training: Training, seed: int) -> Path:
            return out / training.name / f"seed{seed if training.every_seed else self.seeds[0]}"

        steps = []
        for number, seed in enumerate(self.seeds):
            for training in self.trainings:
                if number > 0 and not training.every_seed:
                    continue
                parents = {flag: folder(named[name], seed) for flag, name in training.parents.items()}
                paths = {flag: inputs[name] for flag, name in training.inputs.items()} | parents
                given = {flag: str(path) for flag, path in paths.items()}
                run = {"out": str(folder(training, seed)), "seed": seed, "resume": True}
                values = training.settings | given | run
                steps.append(Step(training, seed, values, tuple(parents.values())))
        return steps
