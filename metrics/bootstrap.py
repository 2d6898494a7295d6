"""Percentile bootstrap intervals of 95 % over clips, and over clips and seeds.

Axes: S seeds, N clips.
"""

from functools import lru_cache

import numpy as np

from metrics.accuracy import Floats


def bootstrap_interval(values: Floats, *, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """Give the interval of a mean over clips.

    Args:
        values: One for each clip; clips are drawn with replacement. Shape: (N,).
        seed: Decides which.
        draws: Bootstrap samples.

    Returns:
        Lower and upper end, in the unit of the values.
    """
    return _ends(_counts(len(values), seed, draws) @ values / len(values))


def two_way_interval(values: Floats, *, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """Give the interval of a mean over clips and seeds, both drawn with replacement (Owen 2007).

    A few seeds vary less among themselves than seeds do, so the interval still is too narrow rather than too
    wide; with one seed it is that over clips.

    Args:
        values: One for each seed and clip. Shape: (S, N).
        seed: Of the draws.
        draws: Bootstrap samples.

    Returns:
        Lower and upper end, in the unit of the values.
    """
    by_seed = _counts(values.shape[1], seed, draws) @ values.T
    return _ends((_counts(len(values), seed + 1, draws) * by_seed).sum(axis=1) / values.size)


def _ends(means: Floats) -> tuple[float, float]:
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


@lru_cache(maxsize=4)
def _counts(items: int, seed: int, draws: int) -> Floats:
    """Draw once for all comparisons of a table how often each item counts. Shape: (draws, items)."""
    chosen = np.random.default_rng(seed).integers(0, items, (draws, items))
    places = chosen + items * np.arange(draws)[:, None]
    counts = np.bincount(places.ravel(), minlength=draws * items)
    return counts.reshape(draws, items).astype(np.float64)
