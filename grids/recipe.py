"""Recipes: the trainings behind a results table, written down as data.

A recipe names its trainings in an order in which each stands after its parents. It holds no paths: what lies
where is said when it is run. Knows nothing of video; a script checks the settings that are its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from core.config import Config
from core.errors import UserError
from core.train_config import FREE_ON_RESUME
from grids.search_space import Search
from grids.variants import multiply_out

# Settings that whoever runs the recipe decides.
_NOT_IN_RECIPES = (*FREE_ON_RESUME, "seed")


class Training(Config):
    """One training of a recipe."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """What other trainings call it as their parent, and what the folders of its runs begin with."""
    script: str = Field(pattern=r"^train_\w+$")
    """The script without .py."""
    row: str | None = Field(None, min_length=1)
    """What the table calls its result; a training without one is only a parent."""
    published: str | None = None
    """Which kind of published result its row reproduces, to stand beside it in the report."""
    inputs: dict[str, str] = {"data": "data"}
    """Flags that take data, each with the name of the recipe's input."""
    parents: dict[str, str] = {}
    """Flags that take a run directory, each with the name of the training that makes it."""
    settings: dict[str, Any] = {}
    """The script's other flags, with underscores; left-out ones have the script's defaults."""
    grid: dict[str, list[Any]] = {}
    """Flags with lists of values: every combination is a training and a row of its own, and so is all that
    builds upon it. A row has the values in its places, such as {lr}, or behind it."""
    every_seed: bool = True
    """False: trained once, with the first seed, for the trainings of all seeds to build upon."""

    @property
    def where(self) -> str:
        """Name it in a message."""
        return f"training {self.name}" + (f" (row {self.row!r})" if self.row else "")

    @model_validator(mode="after")
    def _no_flag_twice(self) -> Self:
        flags = [*self.inputs, *self.parents, *self.settings, *self.grid]
        if twice := _twice(flags):
            raise ValueError(f"{self.where} sets {', '.join(twice)} twice")
        if odd := sorted(set(flags) & set(_NOT_IN_RECIPES)):
            raise ValueError(f"{self.where} sets {', '.join(odd)}, which is for who runs the recipe")
        if self.published is not None and self.row is None:
            raise ValueError(f"{self.where} has `published`, but no row for it to stand beside")
        if empty := [setting for setting, values in self.grid.items() if not values]:
            raise ValueError(f"{self.where}: grid.{empty[0]} lists no value")
        return self


@dataclass(frozen=True)
class Step:
    """A training of a recipe with one seed.

    Attributes:
        training: Which; it lists no values any more.
        seed: The seed.
        parents: What must be finished before, by the flag that takes it.
    """

    training: Training
    seed: int
    parents: Mapping[str, "Step"]


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
    search: Search | None = None
    """Ranges to search through, when the recipe is searched."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if twice := _twice(self.seeds):
            raise ValueError(f"the seed {twice[0]} stands twice")
        if twice := _twice(training.name for training in self.trainings):
            raise ValueError(f"two trainings are called {twice[0]}")
        before: dict[str, Training] = {}
        for training in self.trainings:
            self._check_training(training, before)
            before[training.name] = training
        if twice := _twice(training.name for training in self.variants):
            raise ValueError(f"two trainings are called {twice[0]}")
        if twice := _twice(training.row for training in self.variants if training.row is not None):
            raise ValueError(f"two trainings have the row {twice[0]!r}")
        rows = [training.row for training in self.variants]
        if self.baseline is not None and self.baseline not in rows:
            raise ValueError(f"the baseline {self.baseline!r} is no row of the table")
        if self.search is not None:
            self._check_search(self.search)
        return self

    def _check_search(self, search: Search) -> None:
        found = {training.name: training for training in self.variants}.get(search.training)
        if found is None:
            raise ValueError(f"search.training: no training is called {search.training}")
        flags = {*found.inputs, *found.parents, *_NOT_IN_RECIPES}
        if taken := sorted(flags & search.ranges.keys()):
            raise ValueError(f"search.ranges.{taken[0]} is no setting of {found.where} that can be searched")

    def _check_training(self, training: Training, before: Mapping[str, Training]) -> None:
        if unknown := sorted(set(training.inputs.values()) - set(self.inputs)):
            raise ValueError(f"{training.where} takes the input {unknown[0]}, which is not declared")
        for flag, parent in training.parents.items():
            if parent not in before:
                raise ValueError(
                    f"{training.where}: {flag} takes {parent}, {self._absence(training, parent)}"
                )
            if before[parent].every_seed and not training.every_seed:
                raise ValueError(f"{training.where} is for all seeds, its parent {parent} for each")

    def _absence(self, training: Training, parent: str) -> str:
        if parent == training.name:
            return "which is itself"
        if parent in {other.name for other in self.trainings}:
            return "which stands after it; a parent stands before, and no two wait for each other"
        return "but no training is called that"

    @cached_property
    def variants(self) -> tuple[Training, ...]:
        """The trainings with their lists multiplied out, each after its parents."""
        return multiply_out(self.trainings)

    def only(self, name: str) -> Self:
        """Keep one training with all that it builds upon, and the first seed; nothing is compared."""
        named = {training.name: training for training in self.variants}
        kept, left = {name}, [name]
        while left:
            parents = set(named[left.pop()].parents.values()) - kept
            kept |= parents
            left += parents
        trainings = [training for training in self.variants if training.name in kept]
        inputs = {used for training in trainings for used in training.inputs.values()}
        return self.replace(
            seeds=self.seeds[:1],
            baseline=None,
            trainings=trainings,
            inputs={used: what for used, what in self.inputs.items() if used in inputs},
        )

    def check_inputs(self, given: Iterable[str]) -> None:
        """Refuse other inputs than the recipe takes.

        Raises:
            UserError: One is missing or unknown.
        """
        if set(given) != set(self.inputs):
            wanted = "; ".join(f"{name}: {what}" for name, what in self.inputs.items())
            raise UserError(f"the recipe takes the inputs {wanted}; given were {sorted(given) or 'none'}")

    def steps(self) -> list[Step]:
        """List what is to be run, seed by seed, parents first; what is for all seeds stands once."""
        made: dict[tuple[str, int], Step] = {}
        shared = {training.name: not training.every_seed for training in self.variants}

        def key(name: str, seed: int) -> tuple[str, int]:
            return name, self.seeds[0] if shared[name] else seed

        for seed in self.seeds:
            for training in self.variants:
                if key(training.name, seed) not in made:
                    parents = {flag: made[key(name, seed)] for flag, name in training.parents.items()}
                    made[training.name, seed] = Step(training, seed, parents)
        return list(made.values())


def _twice(names: Iterable[Any]) -> list[Any]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
