"""McNemar, sign flips, Holm and the bootstrap against scipy, closed forms, and their stated rates."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, permutation_test

from metrics.bootstrap import bootstrap_interval, two_way_interval
from metrics.holm import holm
from metrics.mcnemar import mcnemar_p
from metrics.paired import paired_difference
from metrics.sign_flip import sign_flip_p


def test_mcnemar_is_the_exact_binomial_test():
    for gained, lost in product(range(9), range(9)):
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-12)
    assert mcnemar_p(0, 600) == pytest.approx(2.0**-599)


def test_sign_flips_against_all_of_them():
    differences = np.array([2, -1, 3, 1, 1, 0, 2, -2, 1]) / 3
    exact = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert sign_flip_p(differences, draws=50_000) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(-differences) == sign_flip_p(differences)


def test_sign_flips_never_say_zero():
    assert sign_flip_p(np.ones(40), draws=99) == 0.01
    assert sign_flip_p(np.zeros(40)) == 1


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


def test_a_table_without_any_difference_gives_alarms_at_the_stated_rate():
    """Four rows of three seeds, clips of their own difficulty: one test at a time, and Holm for all six."""
    rng = np.random.default_rng(5)
    single, family = [], []
    for _ in range(400):
        chances = rng.beta(0.7, 0.7, 80)
        rows = rng.random((4, 3, 80)) < chances
        p = [
            paired_difference(*rows[[a, b]].astype(float), draws=400).p for a, b in combinations(range(4), 2)
        ]
        single += p
        family.append(min(holm(p)))
    assert 0.03 < np.mean(np.array(single) <= 0.05) < 0.065
    assert 0.01 < np.mean(np.array(family) <= 0.05) < 0.065
