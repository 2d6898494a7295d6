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

    Returns:
        Position of each class's reverse, -1 where there is none. Shape: (K,).
    """
    keys = {(verb(name), nouns(name).partition(",")[0]): number for number, name in enumerate(class_names)}
    reverse = [keys.get((_REVERSE.get(verb(n), ""), nouns(n).partition(",")[0]), -1) for n in class_names]
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
