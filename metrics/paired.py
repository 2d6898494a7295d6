"""Comparing two trainings on the same clips: is the difference more than the luck of these clips?

Axes: S seeds, N clips, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import UserError
from metrics.accuracy import Floats, Ints
from metrics.bootstrap import bootstrap_interval, two_way_interval
from metrics.mcnemar import mcnemar_p
from metrics.predictions import Predictions
from metrics.sign_flip import sign_flip_p

TestName = Literal["McNemar", "sign flips"]


@dataclass(frozen=True)
class Difference:
    """How much better the first is than the second, in points (per cent).

    Attributes:
        points: Mean difference.
        low: Lower end of the 95 % bootstrap interval over clips, for these very networks.
        high: Upper end.
        seeds_low: Lower end where seeds are drawn anew as well as clips; `low` with a single seed.
        seeds_high: Upper end.
        p: Two-sided p value over clips.
        test: McNemar's exact test, or sign flips where clips have more than right and wrong.
        clips: Number of clips.
        seeds: Number of seeds.
        agree: Seeds whose own difference has the sign of the mean.
    """

    points: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float
    p: float
    test: TestName
    clips: int
    seeds: int
    agree: int


def paired_difference(first: Floats, second: Floats, *, seed: int = 0, draws: int = 10_000) -> Difference:
    """Compare two scores of the same clips.

    Clips are the unit of the test: a clip's score is its mean over seeds, so that seeds do not count as
    further clips. Seeds can't be the unit, since flipping the signs of three can't give less than p = 0.25.

    Args:
        first: Score of each clip, in [0, 1]. Shape: (N,) or (S, N).
        second: The other's, seed by seed and clip by clip. Shape: as `first`.
        seed: Of the random draws.
        draws: Bootstrap samples, and permutations.
    """
    differences = 100 * np.atleast_2d(first - second).astype(np.float64)
    by_seed, by_clip = differences.mean(axis=1), differences.mean(axis=0)
    low, high = bootstrap_interval(by_clip, seed=seed, draws=draws)
    seeds_low, seeds_high = two_way_interval(differences, seed=seed, draws=draws)
    mcnemar = len(by_seed) == 1 and bool(np.isin(differences, (-100, 0, 100)).all())
    return Difference(
        points=float(by_seed.mean()),
        low=low,
        high=high,
        seeds_low=seeds_low,
        seeds_high=seeds_high,
        p=mcnemar_p(int((by_clip > 0).sum()), int((by_clip < 0).sum()))
        if mcnemar
        else sign_flip_p(by_clip, seed=seed, draws=draws),
        test="McNemar" if mcnemar else "sign flips",
        clips=len(by_clip),
        seeds=len(by_seed),
        agree=int((np.sign(by_seed) == np.sign(by_seed.mean())).sum()),
    )


def clip_scores(runs: Sequence[Predictions], rivals: Ints | None = None) -> Floats:
    """Find which clips were right under each of several seeds.

    Args:
        runs: What each says about the same clips.
        rivals: Rival of every class, -1 for none; then a clip is right when its class scores above the rival,
            and clips of classes without a rival are left out. Shape: (K,).

    Returns:
        1 or 0, clips in the order of their names. Shape: (S, N).

    Raises:
        UserError: The clips are not the same.
    """
    ordered = [np.argsort(run.keys) for run in runs]
    for run, order in zip(runs, ordered, strict=True):
        if not _same(run, order, runs[0], ordered[0]):
            raise UserError("runs that were tested on different clips can't be compared clip by clip")
    return np.stack(
        [_right(run.logits[o], run.labels[o], rivals) for run, o in zip(runs, ordered, strict=True)]
    )


def _same(run: Predictions, order: Ints, first: Predictions, first_order: Ints) -> bool:
    clips, first_clips = np.array(run.keys)[order], np.array(first.keys)[first_order]
    same_labels = np.array_equal(run.labels[order], first.labels[first_order])
    return same_labels and np.array_equal(clips, first_clips)


def _right(logits: Floats, labels: Ints, rivals: Ints | None) -> Floats:
    if rivals is None:
        right = logits.argmax(axis=1) == labels
    else:
        items = np.flatnonzero(rivals[labels] >= 0)
        right = logits[items, labels[items]] > logits[items, rivals[labels[items]]]
    return np.asarray(right, np.float64)
