"""Metrics against scikit-learn, statsmodels' formula by root finding, and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from metrics import accuracy as metrics


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 9)), rng.integers(0, 9, 200)


def test_against_scikit_learn(scores):
    logits, labels = scores
    classes = range(9)
    assert metrics.top_k(logits, labels, 5) == 100 * top_k_accuracy_score(labels, logits, k=5, labels=classes)
    assert metrics.top_k(logits, labels, 1) == 100 * (logits.argmax(1) == labels).mean()
    balanced = balanced_accuracy_score(labels, logits.argmax(1))
    assert metrics.mean_class_accuracy(logits, labels) == pytest.approx(100 * balanced)
    ours = metrics.confusion_matrix(logits, labels)
    assert (ours == confusion_matrix(labels, logits.argmax(1), labels=classes)).all()


def test_a_constant_output_earns_nothing_in_top_k():
    assert metrics.top_k(np.zeros((4, 9)), np.array([0, 1, 2, 8]), 5) == 0


def test_fewer_classes_than_k():
    assert metrics.top_k(np.zeros((2, 3)), np.array([0, 1]), 5) == 100


def test_groups_forgive_a_wrong_noun():
    logits = np.eye(4)[[1, 2, 3]]  # predicted open_tea, close_jam, close_tea
    labels = np.array([0, 0, 2])  # true open_jam, open_jam, close_jam
    verbs, nouns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert metrics.group_accuracy(logits, labels, verbs) == pytest.approx(200 / 3)
    assert metrics.group_accuracy(logits, labels, nouns) == pytest.approx(100 / 3)


def test_rivals():
    logits = np.array([[2.0, 1, 9], [1, 2, 9], [2, 2, 9], [0, 5, 9], [9, 9, 0]])
    labels = np.array([0, 0, 0, 1, 2])
    assert metrics.rival_wins(logits, labels, np.array([1, 0, -1])) == (2, 4)
    assert metrics.rival_wins(logits, labels, np.array([-1, -1, -1])) == (0, 0)


@given(st.integers(1, 500), st.data())
def test_wilson_ends_solve_their_equation(trials, data):
    """Each end p is where the score statistic (share - p)^2 = z^2 p (1 - p) / n."""
    right = data.draw(st.integers(0, trials))
    z = 1.959963984540054
    low, high = metrics.wilson_interval(right, trials)
    assert 0 <= low <= 100 * right / trials + 1e-9 and 100 * right / trials - 1e-9 <= high <= 100
    for end in (low / 100, high / 100):
        assert (right / trials - end) ** 2 == pytest.approx(z * z * end * (1 - end) / trials, abs=1e-9)


def test_wilson_on_the_papers_numbers():
    low, high = metrics.wilson_interval(90, 116)  # 77.59 % on GTEA61
    assert (low, high) == (pytest.approx(69.18, abs=0.01), pytest.approx(84.22, abs=0.01))
