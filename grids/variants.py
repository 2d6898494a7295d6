"""Trainings that name lists of values, multiplied out: one training for every combination."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, Protocol, Self, TypeVar

_PLACE = re.compile(r"\{(\w+)\}")


class Axis(NamedTuple):
    """A setting that varies.

    Attributes:
        owner: The training that lists its values.
        setting: Its name.
    """

    owner: str
    setting: str


class Varied(Protocol):
    """What is multiplied out: a training of a recipe, as it is written."""

    @property
    def name(self) -> str:
        """What others call it."""

    @property
    def row(self) -> str | None:
        """What the table calls it."""

    @property
    def parents(self) -> dict[str, str]:
        """Names of what it builds upon, by flag."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with one value."""

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Settings with lists of values."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed."""


V = TypeVar("V", bound=Varied)


def multiply_out(trainings: Iterable[V]) -> tuple[V, ...]:
    """Replace trainings that list values by one for every combination, and so all that build upon them.

    Parents that go back to the same list stay in step; those with lists of their own are multiplied.

    Args:
        trainings: Each after its parents.

    Returns:
        Trainings without lists, in the same order, named by what varies: `head-ms_weight-0.1`.
    """
    axes: dict[str, dict[Axis, list[Any]]] = {}
    made: list[V] = []
    for training in trainings:
        own = {Axis(training.name, setting): values for setting, values in training.grid.items()}
        axes[training.name] = _union(axes[parent] for parent in training.parents.values()) | own
        made += [_variant(training, choice, axes) for choice in _choices(axes[training.name])]
    return tuple(made)


def _union(parents: Iterable[Mapping[Axis, list[Any]]]) -> dict[Axis, list[Any]]:
    return {axis: values for parent in parents for axis, values in parent.items()}


def _choices(axes: Mapping[Axis, Sequence[Any]]) -> list[dict[Axis, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _variant(training: V, choice: Mapping[Axis, Any], axes: Mapping[str, Iterable[Axis]]) -> V:
    def named(parent: str) -> str:
        return _name(parent, {axis: choice[axis] for axis in axes[parent]})

    return training.replace(
        name=_name(training.name, choice),
        row=None if training.row is None else _row(training.row, choice),
        parents={flag: named(parent) for flag, parent in training.parents.items()},
        settings=training.settings
        | {setting: choice[Axis(training.name, setting)] for setting in training.grid},
        grid={},
    )


def _name(name: str, choice: Mapping[Axis, Any]) -> str:
    parts = [f"-{axis.setting}-{_words(value)}" for axis, value in choice.items()]
    return name + re.sub(r"[^\w.-]+", "_", "".join(parts))


def _row(row: str, choice: Mapping[Axis, Any]) -> str:
    """Put values in the places that the row has for them, the others behind it."""
    nearest = {axis.setting: axis for axis in choice}
    placed = [nearest[name] for name in _PLACE.findall(row) if name in nearest]
    row = _PLACE.sub(lambda m: _words(choice[nearest[m[1]]]) if m[1] in nearest else m[0], row)
    return row + "".join(
        f", {axis.setting if axis == nearest[axis.setting] else ' '.join(axis)} {_words(value)}"
        for axis, value in choice.items()
        if axis not in placed
    )


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_words, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
