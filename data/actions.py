"""Verb and nouns of an action name such as "pour_honey,bread"."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def verb(action: str) -> str:
    """Give what stands before the first underscore: "pour"."""
    return action.partition("_")[0]


def nouns(action: str) -> str:
    """Give what stands after the first underscore, "honey,bread"; empty when there is none."""
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


def _group_ids(class_names: Sequence[str], group: Callable[[str], str]) -> NDArray[np.int64]:
    groups = [group(name) for name in class_names]
    positions = {name: number for number, name in enumerate(sorted(set(groups)))}
    return np.array([positions[name] for name in groups], dtype=np.int64)
