"""Recipes: the trainings behind a results table, written as YAML.

A recipe lists its trainings in an order in which each comes after its parents. It names no paths and no
devices; those are given when it is run. The settings of a training are checked by its script.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from core.config import Config
from core.errors import UserError
from core.train_config import FREE_ON_RESUME

_PLACE = r"\{(\w+)\}"  # of a value in the name of a row
# Settings that are chosen when a recipe is run, not in it.
_NOT_IN_RECIPES = (*FREE_ON_RESUME, "seed")


class Training(Config):
    """One training of a recipe."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """Other trainings name it by this as their parent, and the folders of its runs begin with it."""
    script: str = Field(pattern=r"^train_\w+$")
    """The script without .py."""
    row: str | None = Field(None, min_length=1)
    """Name of its row in the table; a training without one only serves as a parent."""
    published: str | None = None
    """Kind of published result that the row reproduces; the report shows that number next to it."""
    inputs: dict[str, str] = {"data": "data"}
    """Flags that take data, each with the name of one of the recipe's inputs."""
    parents: dict[str, str] = {}
    """Flags that take a run directory, each with the name of the training that makes it."""
    settings: dict[str, Any] = {}
    """The script's other flags, with underscores; flags left out keep the script's defaults."""
    grid: dict[str, list[Any]] = {}
    """Flags with lists of values. Every combination becomes a training and a row of its own, and so does
    everything that starts from it. A row shows a value where it says {lr}, otherwise at its end."""
    every_seed: bool = True
    """False: trained once, with the first seed, as the parent of the trainings of all seeds."""

    @property
    def label(self) -> str:
        """How messages refer to it."""
        return f"training {self.name}" + (f" (row {self.row!r})" if self.row else "")

    @model_validator(mode="after")
    def _no_flag_twice(self) -> Self:
        flags = [*self.inputs, *self.parents, *self.settings, *self.grid]
        if repeated := _repeated(flags):
            raise ValueError(
                f"{self.label} sets {', '.join(repeated)} twice; inputs, parents, settings and grid "
                "name each flag once"
            )
        if foreign := sorted(set(flags) & set(_NOT_IN_RECIPES)):
            raise ValueError(
                f"{self.label} sets {', '.join(foreign)}, which is chosen when the recipe is run"
            )
        if self.published is not None and self.row is None:
            raise ValueError(f"{self.label} has `published`, but no row to show it next to")
        if empty := [setting for setting, values in self.grid.items() if not values]:
            raise ValueError(f"{self.label}: grid.{empty[0]} lists no value")
        return self


class Range(Config):
    """The values that a search may give one setting: an interval of numbers, or a list of choices."""

    low: int | float | None = None
    """The smallest number; only whole numbers are tried if both ends are whole."""
    high: int | float | None = None
    """The largest number, included."""
    log: bool = False
    """Sample the logarithm, so that 1e-5 to 1e-4 is as likely as 1e-3 to 1e-2."""
    choices: tuple[Any, ...] | None = Field(None, min_length=2)
    """Values to choose from, instead of numbers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("a range has either low and high, or choices")
        if self.choices is not None and (self.log or self.low is not None or self.high is not None):
            raise ValueError("choices exclude low, high and log")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low should be less than high, got {self.low} and {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"a logarithmic range should lie above 0, got low: {self.low}")
        return self


class SearchSpace(Config):
    """What --search varies."""

    training: str
    """Name of the training whose settings are searched; its parents stay as they are."""
    ranges: dict[str, Range] = Field(min_length=1)
    """Its searched settings, with the values that each may take."""


@dataclass(frozen=True)
class SeededTraining:
    """A training of a recipe with one seed.

    Attributes:
        training: The training, a variant without lists of values.
        seed: The seed.
        parents: What it starts from, by the flag that takes the run directory.
    """

    training: Training
    seed: int
    parents: Mapping[str, "SeededTraining"]


class Recipe(Config):
    """The trainings of one results table."""

    title: str
    """What the table shows."""
    inputs: dict[str, str]
    """Names of the data it takes, each with a description."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Every row is trained once with each seed."""
    baseline: str | None = None
    """The row with which the report compares all others; left out, it compares every pair of rows."""
    trainings: tuple[Training, ...] = Field(min_length=1)
    """Each after its parents; those with a row make up the table, in this order."""
    search: SearchSpace | None = None
    """The settings that --search varies, with their ranges."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if repeated := _repeated(self.seeds):
            raise ValueError(f"the seed {repeated[0]} is listed twice")
        _refuse_repeated_names(self.trainings)
        before: dict[str, Training] = {}
        for training in self.trainings:
            self._check_training(training, before)
            before[training.name] = training
        variants = self.variants
        _refuse_repeated_names(variants)
        if repeated := _repeated(training.row for training in variants if training.row is not None):
            raise ValueError(f"two trainings have the row {repeated[0]!r}")
        if self.baseline is not None and self.baseline not in [training.row for training in variants]:
            raise ValueError(f"the baseline {self.baseline!r} is not a row of the table")
        if self.search is not None:
            self._check_search(self.search)
        return self

    def _check_training(self, training: Training, before: Mapping[str, Training]) -> None:
        if unknown := sorted(set(training.inputs.values()) - set(self.inputs)):
            raise ValueError(f"{training.label} takes the input {unknown[0]}, which is not declared")
        for flag, parent in training.parents.items():
            if parent not in before:
                problem = "but no training is called that"
                if parent == training.name:
                    problem = "which is the training itself"
                elif parent in [other.name for other in self.trainings]:
                    problem = "which comes after it; list parents first"
                raise ValueError(f"{training.label}: {flag} takes {parent}, {problem}")
            if before[parent].every_seed and not training.every_seed:
                raise ValueError(
                    f"{training.label} is trained once for all seeds, but its parent {parent} with each"
                )

    def _check_search(self, search: SearchSpace) -> None:
        found = {training.name: training for training in self.variants}.get(search.training)
        if found is None:
            raise ValueError(f"search.training: no training is called {search.training}")
        fixed = {*found.inputs, *found.parents, *_NOT_IN_RECIPES}
        if taken := sorted(fixed & search.ranges.keys()):
            raise ValueError(f"search.ranges.{taken[0]}: a search can't vary this flag of {found.label}")

    @cached_property
    def variants(self) -> tuple[Training, ...]:
        """The trainings with their lists of values multiplied out, each after its parents."""
        return multiply_out(self.trainings)

    def seeded_trainings(self) -> list[SeededTraining]:
        """List the trainings seed by seed, parents first; with every_seed: false only for the first seed."""
        made: dict[tuple[str, int], SeededTraining] = {}
        shared = {training.name for training in self.variants if not training.every_seed}
        for seed in self.seeds:
            for training in self.variants:
                if training.name in shared and seed != self.seeds[0]:
                    continue
                parents = {
                    flag: made[name, self.seeds[0] if name in shared else seed]
                    for flag, name in training.parents.items()
                }
                made[training.name, seed] = SeededTraining(training, seed, parents)
        return list(made.values())

    def reduced_to(self, name: str) -> Self:
        """Keep one training with all its ancestors, and the first seed; there is no baseline any more."""
        named = {training.name: training for training in self.variants}
        kept, left = {name}, [name]
        while left:
            parents = set(named[left.pop()].parents.values()) - kept
            kept |= parents
            left += parents
        trainings = [training for training in self.variants if training.name in kept]
        used = {input_name for training in trainings for input_name in training.inputs.values()}
        inputs = {name: description for name, description in self.inputs.items() if name in used}
        return self.replace(seeds=self.seeds[:1], baseline=None, trainings=trainings, inputs=inputs)

    def check_inputs(self, given: Iterable[str]) -> None:
        """Check that every input that the recipe takes is among the names that are given.

        Raises:
            UserError: One is missing; the message says what it is and how to give it.
        """
        found = set(given)
        if missing := [name for name in self.inputs if name not in found]:
            named = "; ".join(f"{name} ({self.inputs[name]})" for name in missing)
            others = " ".join(f"{name}=FOLDER" for name in missing if name != "data")
            flags = ["--data FOLDER"] * ("data" in missing) + [f"--inputs {others}"] * bool(others)
            raise UserError(f"the recipe needs inputs that are not given: {named}; add {' '.join(flags)}")


def read_recipes(files: Sequence[Path], seeds: tuple[int, ...] | None = None) -> dict[Path, Recipe]:
    """Read recipe files.

    Args:
        files: The files; each names a table, so no two may have the same name.
        seeds: Replace the recipes' own seeds unless None.

    Raises:
        UserError: A file is not a valid recipe, or two have the same name.
    """
    if len({file.stem for file in files}) < len(files):
        raise UserError("--recipe: two recipes have one name, and their tables would too; rename one")
    recipes = {file: Recipe.from_yaml(file) for file in files}
    if seeds is None:
        return recipes
    return {file: recipe.replace(seeds=seeds) for file, recipe in recipes.items()}


class Axis(NamedTuple):
    """A setting that varies, and the training whose `grid` lists its values."""

    training: str
    setting: str


def multiply_out(trainings: Iterable[Training]) -> tuple[Training, ...]:
    """Replace each training that lists values by one for every combination, and so all its descendants.

    Two parents whose variation comes from the same list stay in step: they always have the same value of it.

    Args:
        trainings: Each after its parents.

    Returns:
        Trainings without lists, in the same order, named by what varies: `head-ms_weight-0.1`.
    """
    axes: dict[str, dict[Axis, list[Any]]] = {}
    variants = []
    for training in trainings:
        own = {Axis(training.name, setting): values for setting, values in training.grid.items()}
        inherited = [axes[parent] for parent in training.parents.values()]
        varying = {axis: values for parent in inherited for axis, values in parent.items()} | own
        axes[training.name] = varying
        for values in product(*varying.values()):
            choice = dict(zip(varying, values, strict=True))
            variant = training.replace(
                name=_variant_name(training.name, choice),
                row=None if training.row is None else _variant_row(training.row, choice),
                parents={
                    flag: _variant_name(parent, {axis: choice[axis] for axis in axes[parent]})
                    for flag, parent in training.parents.items()
                },
                settings=training.settings | {axis.setting: choice[axis] for axis in own},
                grid={},
            )
            variants.append(variant)
    return tuple(variants)


def _variant_name(name: str, choice: Mapping[Axis, Any]) -> str:
    suffix = "".join(f"-{axis.setting}-{_as_text(value)}" for axis, value in choice.items())
    return name + re.sub(r"[^\w.-]+", "_", suffix)


def _variant_row(row: str, choice: Mapping[Axis, Any]) -> str:
    """Insert values where the row says {setting}, and append the others."""
    nearest = {axis.setting: axis for axis in choice}  # of two lists of one setting, the training's own
    placed = [nearest[name] for name in re.findall(_PLACE, row) if name in nearest]
    row = re.sub(_PLACE, lambda m: _as_text(choice[nearest[m[1]]]) if m[1] in nearest else m[0], row)
    for axis, value in choice.items():
        if axis not in placed:
            name = axis.setting if axis == nearest[axis.setting] else " ".join(axis)
            row += f", {name} {_as_text(value)}"
    return row


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_as_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _refuse_repeated_names(trainings: Sequence[Training]) -> None:
    if repeated := _repeated(training.name for training in trainings):
        raise ValueError(f"two trainings are called {repeated[0]}")


def _repeated(values: Iterable[Any]) -> list[Any]:
    return sorted(value for value, count in Counter(values).items() if count > 1)
