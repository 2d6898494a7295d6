"""Holm's correction of p values for the number of comparisons (Holm 1979)."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values so that a family of comparisons gives a false alarm no more often than one does.

    Args:
        p_values: Of all comparisons of the family, in [0, 1].

    Returns:
        The corrected values in the order given, each in [its own, 1].
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in corrected]
