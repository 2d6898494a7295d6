"""Paired comparison against scipy's exact binomial test, and its rate of false alarms."""

import numpy as np
import pytest
from scipy.stats import binomtest

from core.errors import UserError
from metrics.paired import clip_scores, paired_difference
from metrics.predictions import Predictions


def test_one_seed_is_mcnemars_exact_test():
    """With scores of 0 and 1 only the clips that differ count, each a fair coin under no difference."""
    first = np.array([1.0] * 14 + [0.0] * 4 + [1.0] * 30 + [0.0] * 20)
    second = np.array([0.0] * 14 + [1.0] * 4 + [1.0] * 30 + [0.0] * 20)
    found = paired_difference(first, second)
    assert (found.test, found.clips, found.seeds, found.agree) == ("McNemar", 68, 1, 1)
    assert found.p == pytest.approx(binomtest(14, 18).pvalue)
    assert found.points == pytest.approx(100 * 10 / 68)
    assert 0 < found.low < found.points < found.high
    assert (found.seeds_low, found.seeds_high) == pytest.approx((found.low, found.high))


def test_several_seeds_are_no_further_clips():
    """The same networks three times over say no more than once."""
    rng = np.random.default_rng(0)
    once = rng.integers(0, 2, (2, 1, 60)).astype(float)
    single = paired_difference(*once)
    thrice = paired_difference(*once.repeat(3, axis=1))
    assert thrice.test == "sign flips" and thrice.p == pytest.approx(single.p, abs=0.02)
    assert (thrice.low, thrice.high) == pytest.approx((single.low, single.high))


def test_seeds_that_disagree_are_counted_and_widen_the_interval():
    second = np.full((3, 50), 0.5)
    first = second + np.array([[0.3], [0.3], [-0.3]])
    found = paired_difference(first, second)
    assert (found.seeds, found.agree, found.points) == (3, 2, pytest.approx(10))
    assert (found.low, found.high) == pytest.approx((10, 10))
    assert found.seeds_low == pytest.approx(-30) and found.seeds_high == pytest.approx(30)


def test_equal_scores_are_no_difference():
    found = paired_difference(np.ones(10), np.ones(10))
    assert (found.points, found.low, found.high, found.p) == (0, 0, 0, 1)


def predictions(order, logits, labels=(0, 1, 2)):
    keys = np.array(["x", "y", "z"])[order]
    return Predictions(tuple(keys.tolist()), np.array(labels)[order], logits[order], 0.0, {})


def test_scores_are_matched_by_clip_and_kept_by_seed():
    logits = np.array([[3.0, 1, 0], [0, 1, 3], [0, 0, 2]])
    runs = [predictions([0, 1, 2], logits), predictions([2, 0, 1], logits[:, [1, 0, 2]])]
    assert clip_scores(runs).tolist() == [[1, 0, 1], [0, 0, 1]]
    assert clip_scores(runs, np.array([1, 0, -1])).tolist() == [[1, 1], [0, 0]]


def test_runs_of_other_clips_are_not_compared():
    logits = np.zeros((3, 3))
    other = predictions([0, 1, 2], logits, labels=(0, 2, 1))
    with pytest.raises(UserError, match="different clips"):
        clip_scores([predictions([0, 1, 2], logits), other])
