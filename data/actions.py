"""Verb and nouns of an action name such as "pour_honey,bread"."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_REVERSE = {"open": "close", "close": "open", "take": "put", "put": "take"}


def verb(action: str) -> str:
    """Return the part before the first underscore: "pour"."""
    return action.partition("_")[0]


def nouns(action: str) -> str:
    """Return the part after the first underscore, "honey,bread"; empty without one."""
    return action.partition("_")[2]


def verb_ids(class_names: Sequence[str]) -> NDArray[np.int64]:
    """Number the verbs of K classes.

    Returns:
        For each class, the position of its verb among the sorted verbs. Shape: (K,).
    """
    return _group_ids(class_names, verb)


def noun_ids(class_names: Sequence[str]) -> NDArray[np.int64]:
    """Number the noun lists of K classes; "honey,bread" and "honey,cup" are two.

    Returns:
        For each class, the position of its nouns among the sorted noun lists. Shape: (K,).
    """
    return _group_ids(class_names, nouns)


def reversed_actions(class_names: Sequence[str]) -> NDArray[np.int64]:
    """Find the reverse in time of each action: open and close, take and put.

    "take_cheese" and "put_cheese,bread" are a pair: the object comes first, the place it is put may follow.
    Where several classes are the same verb of the same object, as GTEA61's "put_bread,bread" and
    "put_bread,cheese,bread", neither they nor their reverse are a pair: which of them an action is told from
    would matter, and there would be more clips of one direction than of the other.

    Returns:
        Position of each class's reverse, -1 where there is none. Shape: (K,).
    """
    moves = [(verb(name), nouns(name).partition(",")[0]) for name in class_names]
    alone = {move: number for number, move in enumerate(moves) if moves.count(move) == 1}
    backwards = [(_REVERSE.get(done, ""), object_) for done, object_ in moves]
    reverse = [
        alone[back] if move in alone and back in alone else -1
        for move, back in zip(moves, backwards, strict=True)
    ]
    return np.array(reverse, dtype=np.int64)


def look_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Group different names that a reader takes for one: Stir and stir, or one more blank.

    Returns:
        Groups of two or more, sorted.
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        shown = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
        looks = " ".join(re.split(r"[\s_-]+", "".join(shown).casefold().strip()))
        groups.setdefault(looks, set()).add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _group_ids(class_names: Sequence[str], group: Callable[[str], str]) -> NDArray[np.int64]:
    groups = [group(name) for name in class_names]
    positions = {name: number for number, name in enumerate(sorted(set(groups)))}
    return np.array([positions[name] for name in groups], dtype=np.int64)
