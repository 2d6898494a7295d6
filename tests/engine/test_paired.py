"""Paired comparison against scipy's exact binomial test, and its rate of false alarms."""

import numpy as np
import pytest
from scipy.stats import binomtest

from engine.paired import clip_scores, paired_difference


def test_one_seed_is_mcnemars_exact_test():
    """With scores of 0 and 1 only the clips that differ count, each a fair coin under no difference."""
    first = np.array([1.0] * 14 + [0.0] * 4 + [1.0] * 30 + [0.0] * 20)
    second = np.array([0.0] * 14 + [1.0] * 4 + [1.0] * 30 + [0.0] * 20)
    found = paired_difference(first, second, draws=40_000)
    assert found.p == pytest.approx(binomtest(14, 18).pvalue, abs=0.005)
    assert found.points == pytest.approx(100 * 10 / 68)
    assert found.low < found.points < found.high and found.low > 0


def test_no_difference_gives_alarms_at_the_stated_rate():
    rng = np.random.default_rng(0)
    alarms = [
        paired_difference(*(rng.integers(0, 4, (2, 60)) / 3), seed=trial, draws=400).p <= 0.05
        for trial in range(300)
    ]
    assert 0.015 < np.mean(alarms) < 0.09


def test_equal_scores_are_no_difference():
    found = paired_difference(np.ones(10), np.ones(10))
    assert (found.points, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_scores_are_matched_by_clip_and_averaged_over_seeds(tmp_path):
    logits = np.array([[3.0, 1, 0], [0, 1, 3], [0, 0, 2]])
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        (tmp_path / name).mkdir()
        flipped = logits if name == "a" else logits[:, [1, 0, 2]]
        np.savez(
            tmp_path / name / "predictions.npz",
            clip=np.array(["x", "y", "z"])[order],
            label=np.array([0, 1, 2])[order],
            logits=flipped[order],
        )
    runs = [tmp_path / "a", tmp_path / "b"]
    assert clip_scores(runs).tolist() == [0.5, 0, 1]
    assert clip_scores(runs, np.array([1, 0, -1])).tolist() == [0.5, 0.5]
