"""Attention quality against closed forms, and against pixels counted one by one."""

import numpy as np
import pytest

from metrics.attention import (
    ClipAttention,
    attention_quality,
    centre_prior,
    pointing_hits,
    share_on_mask,
    uniform,
)
from metrics.statistics import bootstrap_interval


def random_heat(seed, shape=(3, 4, 4)):
    heat = np.random.default_rng(seed).random(shape)
    return heat / heat.sum(axis=(1, 2), keepdims=True)


def one_cell(row, column, size=4):
    cells = np.zeros((1, size, size))
    cells[0, row, column] = 1
    return cells


def test_heat_in_the_masks_cell_scores_all_and_elsewhere_nothing():
    mask = one_cell(2, 1)
    assert share_on_mask(one_cell(2, 1), mask) == 1 and pointing_hits(one_cell(2, 1), mask, 0.1) == 1
    assert share_on_mask(one_cell(1, 2), mask) == 0 and pointing_hits(one_cell(1, 2), mask, 0.1) == 0
    assert share_on_mask(one_cell(2, 1), 0.25 * mask) == 0.25, "a quarter of the cell is covered"
    assert pointing_hits(one_cell(2, 1), 0.1 * mask, 0.1) == 0, "a tenth is not more than a tenth"


def test_share_is_what_counting_pixels_gives():
    """Heat spread over 5 x 5 pixels a cell; the mask is any set of pixels."""
    heat, mask = random_heat(0), np.random.default_rng(1).random((3, 20, 20)) < 0.3
    covered = mask.reshape(3, 4, 5, 4, 5).mean(axis=(2, 4))
    pixels = heat.repeat(5, axis=1).repeat(5, axis=2) / 25
    np.testing.assert_allclose(share_on_mask(heat, covered), (pixels * mask).sum(axis=(1, 2)))
    np.testing.assert_allclose(share_on_mask(7 * heat, covered), share_on_mask(heat, covered))


def test_uniform_heat_scores_the_area():
    covered = np.random.default_rng(2).random((3, 4, 4))
    even = uniform(covered)
    np.testing.assert_allclose(even.sum(axis=(1, 2)), 1)
    np.testing.assert_allclose(share_on_mask(even, covered), covered.mean(axis=(1, 2)))
    np.testing.assert_allclose(pointing_hits(even, covered, 0.5), (covered > 0.5).mean(axis=(1, 2)))


@pytest.mark.parametrize("size, peak", [(3, 1), (4, 4), (6, 4), (7, 1)])
def test_the_centre_prior_peaks_in_the_middle_and_is_symmetric(size, peak):
    (prior,) = centre_prior(np.zeros((1, size, size)))
    assert prior.sum() == pytest.approx(1) and (prior == prior.max()).sum() == peak
    assert (prior == prior[::-1]).all() and (prior == prior.T).all()
    assert prior[size // 2, size // 2] == prior.max() > 2 * prior[0, 0]


def test_the_centre_prior_falls_as_a_gaussian_of_a_quarter_of_the_side():
    """Of 4 x 4 cells the outer lie at 3/8 and the inner at 1/8: (9/64 - 1/64) / (2 / 16) = 1."""
    (prior,) = centre_prior(np.zeros((1, 4, 4)))
    assert prior[0, 1] / prior[1, 1] == pytest.approx(np.exp(-1))


def test_frames_without_the_mask_do_not_count():
    heat = np.concatenate([one_cell(0, 0), one_cell(3, 3), one_cell(3, 3)])
    covered = np.concatenate([one_cell(0, 0), np.zeros((1, 4, 4)), 0.1 * one_cell(1, 1)])
    nothing = ClipAttention(heat, np.zeros_like(heat))
    found = attention_quality([ClipAttention(heat, covered), nothing], 0.1)
    assert (found["n_clips"], found["n_frames"]) == (1, 1)
    assert found["share"]["heat"]["mean"] == found["pointing"]["heat"]["mean"] == 100
    assert found["share"]["uniform"]["mean"] == 100 / 16
    assert found["share"]["above_uniform"]["points"] == pytest.approx(100 - 100 / 16)
    assert attention_quality([nothing], 0.1) == {"n_clips": 0, "n_frames": 0}


def test_intervals_are_over_clips_and_blind_heat_is_no_better_than_blind_heat():
    rng = np.random.default_rng(3)
    clips = [ClipAttention(random_heat(n), (rng.random((3, 4, 4)) < 0.5).astype(float)) for n in range(200)]
    found = attention_quality(clips, 0.1)["share"]
    for name in ("heat", "uniform", "centre_prior"):
        assert found[name]["low"] < found[name]["mean"] < found[name]["high"]
    assert found["above_uniform"]["low"] < 0 < found["above_uniform"]["high"]
    scores = [share_on_mask(seen.heat, seen.covered).mean() for seen in clips]
    normal = 196 * np.std(scores) / np.sqrt(200)
    assert found["heat"]["high"] - found["heat"]["low"] == pytest.approx(2 * normal, rel=0.05)


def test_bootstrap_of_equal_values_is_a_point():
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)
