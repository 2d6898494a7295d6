"""Intervals, tests and comparisons against closed forms, small cases by hand, and their stated rates."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control

from metrics.statistics import (
    bootstrap_interval,
    holm,
    mcnemar_p,
    paired_difference,
    paired_differences,
    sign_flip_p,
    two_way_interval,
    wilson_interval,
)


@given(st.integers(1, 500), st.data())
def test_wilson_ends_solve_their_equation(trials, data):
    """Each end p is where the score statistic (share - p)^2 = z^2 p (1 - p) / n."""
    right = data.draw(st.integers(0, trials))
    z = 1.959963984540054
    low, high = wilson_interval(right, trials)
    assert 0 <= low <= 100 * right / trials + 1e-9 and 100 * right / trials - 1e-9 <= high <= 100
    for end in (low / 100, high / 100):
        assert (right / trials - end) ** 2 == pytest.approx(z * z * end * (1 - end) / trials, abs=1e-9)


def test_wilson_on_the_papers_numbers():
    low, high = wilson_interval(90, 116)  # 77.59 % on GTEA61
    assert (low, high) == (pytest.approx(69.18, abs=0.01), pytest.approx(84.22, abs=0.01))


def test_mcnemar_by_counting_heads():
    """With two clips against none, a fair coin falls so, or the other way round, one time in two."""
    assert [mcnemar_p(*counts) for counts in ((0, 0), (1, 0), (2, 0), (0, 3), (2, 2))] == pytest.approx(
        [1, 1, 0.5, 0.25, 1]
    )
    assert mcnemar_p(0, 600) == pytest.approx(2.0**-599)


def test_sign_flips_against_all_of_them():
    differences = np.array([2, -1, 3, 1, 1, 0, 2, -2, 1]) / 3
    signs = np.array(list(product((-1, 1), repeat=9)))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
    assert sign_flip_p(differences[None]) == pytest.approx([exact]), "2^9 are fewer than the draws"
    assert sign_flip_p(np.tile(differences, 2)[None]) == sign_flip_p(-np.tile(differences, 2)[None])
    drawn = sign_flip_p(differences[None], draws=500)
    assert drawn == pytest.approx([exact], abs=0.05) and drawn != pytest.approx([exact])


def test_sign_flips_never_say_zero():
    assert sign_flip_p(np.stack([np.ones(40), np.zeros(40)]), draws=99).tolist() == [0.01, 1]


def test_a_single_clip_proves_nothing():
    found = paired_difference(np.array([[1.0], [0.0], [1.0]]), np.zeros((3, 1)))
    assert (found.p, found.clips) == (1, 1) and found.low == found.high == pytest.approx(200 / 3)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9]) and holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_stands_between_no_correction_and_bonferroni(seed):
    p = np.random.default_rng(seed).uniform(0, 0.1, 12)
    corrected = np.array(holm(p))
    assert (corrected >= np.array(false_discovery_control(p)) - 1e-12).all()
    assert (corrected >= p).all() and (corrected <= np.minimum(1, 12 * p) + 1e-12).all()
    assert corrected.min() == pytest.approx(12 * p.min())
    for level in (0.02, 0.1, 0.5):
        rejected = step_down(p, level)
        assert set(np.flatnonzero(corrected <= level)) == rejected


def step_down(p, level):
    """Holm's own words: the smallest against level / m, the next against level / (m - 1), until one fails."""
    rejected = set()
    for left, item in zip(range(len(p), 0, -1), np.argsort(p), strict=True):
        if p[item] > level / left:
            break
        rejected.add(int(item))
    return rejected


def test_bootstrap_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.03)


def test_seeds_widen_the_interval_by_their_variance():
    rng = np.random.default_rng(1)
    clips, seeds = rng.normal(0, 1, 300), rng.normal(0, 1, (40, 1))
    low, high = two_way_interval(clips + seeds)
    expected = np.sqrt(clips.var() / 300 + seeds.var() / 40)
    assert high - low == pytest.approx(2 * 1.96 * expected, rel=0.04)
    assert two_way_interval(clips[None]) == pytest.approx(bootstrap_interval(clips))
    # Were as many seeds as clips drawn alike, equal parts would add up and not their squares.
    low, high = two_way_interval(seeds + seeds.T)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2 * seeds.var() / 40), rel=0.04)


def test_a_table_without_any_difference_gives_alarms_at_the_stated_rate():
    """Four rows of three seeds, clips of their own difficulty: one test at a time, and Holm for all six.

    Of 239 draws p is a multiple of 1/240, so that both 0.05 and its sixth can be reached exactly.
    """
    rng = np.random.default_rng(5)
    single, family = [], []
    for _ in range(400):
        chances = rng.beta(0.7, 0.7, 80)
        rows = rng.random((4, 3, 80)) < chances
        pairs = [tuple(rows[[a, b]].astype(float)) for a, b in combinations(range(4), 2)]
        p = [difference.p for difference in paired_differences(pairs, draws=239)]
        single += p
        family.append(min(holm(p)))
    assert 0.03 < np.mean(np.array(single) <= 0.05) < 0.065
    assert 0.01 < np.mean(np.array(family) <= 0.05) < 0.065


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


def test_seeds_that_cancel_out_leave_exactly_nothing():
    second = np.zeros((3, 140))
    first = second.copy()
    first[0, :3], second[1, :1], second[2, :2] = 1, 1, 1  # 3 clips more, 1 and 2 fewer
    found = paired_difference(first, second)
    assert (found.points, found.agree) == (0, 0) and str(found.points) == "0.0"


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


def test_pairs_are_compared_as_if_alone():
    """Pairs of other numbers of clips and seeds share draws and no more."""
    rng = np.random.default_rng(2)
    shapes = [(1, 40), (3, 40), (3, 25), (2, 40)]
    pairs = [tuple(rng.integers(0, 2, (2, *shape)).astype(float)) for shape in shapes]
    for together, pair in zip(paired_differences(pairs, draws=400), pairs, strict=True):
        alone = paired_difference(*pair, draws=400)
        assert (together.test, together.p, together.agree) == (alone.test, alone.p, alone.agree)
        assert (together.low, together.seeds_high) == pytest.approx((alone.low, alone.seeds_high))
    assert paired_differences([]) == []
