"""Comparing two trainings on the same clips: is the difference more than the luck of these clips?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.metrics import Floats, Ints


@dataclass(frozen=True)
class Difference:
    """How much better the first is than the second, in points (per cent).

    Attributes:
        points: Mean difference.
        low: Lower end of the 95 % bootstrap interval over clips.
        high: Upper end.
        p: Two-sided p value of the sign-flip permutation test over clips.
        clips: Number of clips.
    """

    points: float
    low: float
    high: float
    p: float
    clips: int


def paired_difference(first: Floats, second: Floats, *, seed: int = 0, draws: int = 10_000) -> Difference:
    """Compare two scores of the same clips.

    Clips are the unit: a clip's score is its mean over seeds, so that seeds do not count as further clips.
    What the interval and the test do not hold is the luck of the seeds themselves.

    Args:
        first: Score of each clip, in [0, 1]. Shape: (N,).
        second: The other's, clip by clip. Shape: (N,).
        seed: Of the random draws.
        draws: Bootstrap samples, and permutations.
    """
    differences = first - second
    rng = np.random.default_rng(seed)
    clips = len(differences)
    observed = abs(differences.mean())
    flipped = (rng.choice((-1.0, 1.0), (draws, clips)) * differences).mean(axis=1)
    low, high = bootstrap_interval(differences, rng, draws)
    # The observed arrangement counts among the permutations, so that p is never 0.
    p = (1 + int((np.abs(flipped) >= observed - 1e-12).sum())) / (1 + draws)
    return Difference(100 * float(differences.mean()), 100 * low, 100 * high, p, clips)


def bootstrap_interval(values: Floats, rng: np.random.Generator, draws: int = 10_000) -> tuple[float, float]:
    """Give the 95 % percentile bootstrap interval of a mean.

    Args:
        values: One for each clip; clips are drawn with replacement. Shape: (N,).
        rng: Decides which.
        draws: Bootstrap samples.

    Returns:
        Lower and upper end.
    """
    resampled = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)


def clip_scores(runs: Sequence[Path], rivals: Ints | None = None) -> Floats:
    """Read how often each clip was right, over runs of several seeds.

    Args:
        runs: Finished run directories that were tested on the same clips.
        rivals: Rival of every class, -1 for none; then a clip is right when its class scores above the rival,
            and clips of classes without a rival are left out. Shape: (K,).

    Returns:
        Share of runs in which a clip was right, in [0, 1]. Shape: (N,).
    """
    scores = []
    for run in runs:
        with np.load(run / "predictions.npz") as saved:
            order = np.argsort(saved["clip"])
            scores.append(_right(saved["logits"][order], saved["label"][order], rivals))
    mean: Floats = np.mean(scores, axis=0)
    return mean


def _right(logits: Floats, labels: Ints, rivals: Ints | None) -> Floats:
    if rivals is None:
        right = logits.argmax(axis=1) == labels
    else:
        items = np.flatnonzero(rivals[labels] >= 0)
        right = logits[items, labels[items]] > logits[items, rivals[labels[items]]]
    return np.asarray(right, np.float64)
