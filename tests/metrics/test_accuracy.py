"""Accuracy against scikit-learn and hand-made cases."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score, top_k_accuracy_score

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
    labels[labels == 4], predicted = 5, logits.argmax(1)  # a class without items
    assert np.array_equal(metrics.confusion_matrix(logits, labels), confusion_matrix(labels, predicted))
    recall = recall_score(labels, predicted, labels=np.unique(labels), average="macro")
    assert metrics.mean_class_accuracy(logits, labels) == 100 * recall


def test_a_constant_output_earns_nothing_in_top_k():
    assert metrics.top_k(np.zeros((4, 9)), np.array([0, 1, 2, 8]), 5) == 0


def test_fewer_classes_than_k():
    assert metrics.top_k(np.zeros((2, 3)), np.array([0, 1]), 5) == 100


def test_mean_class_accuracy_counts_the_classes_that_are_there():
    logits = np.eye(4)[[0, 1, 3, 1]]  # the last class is predicted once and has no item
    assert metrics.mean_class_accuracy(logits, np.array([0, 0, 0, 1])) == pytest.approx(100 * (1 / 3 + 1) / 2)
    counts = metrics.confusion_matrix(logits, np.array([0, 0, 0, 1]))
    assert counts.tolist() == [[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


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


def test_decisions_that_turn_with_the_frames():
    logits = np.array([[2.0, 1, 9], [1, 2, 9], [3, 2, 9], [0, 5, 9], [9, 9, 0]])
    labels, rivals = np.array([0, 0, 1, 1, 2]), np.array([1, 0, -1])
    swapped = logits[:, [1, 0, 2]]  # the two classes change places: every decision between them turns
    assert metrics.turned(logits, swapped, labels, rivals) == 100
    assert metrics.turned(logits, logits, labels, rivals) == 0
    half = np.where(np.arange(5)[:, None] < 2, swapped, logits)
    assert metrics.turned(logits, half, labels, rivals) == 50
    assert metrics.turned(logits, swapped, labels, np.array([-1, -1, -1])) is None
    tie, lost, won = np.array([[2.0, 2, 0]]), np.array([[1.0, 2, 0]]), np.array([[2.0, 1, 0]])
    first = np.array([0])  # a tie is lost
    assert [metrics.turned(tie, other, first, rivals) for other in (tie, lost, won)] == [0, 0, 100]
