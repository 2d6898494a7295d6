"""Late fusion against sums by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from metrics.accuracy import cross_entropy
from metrics.figures import save_changes
from metrics.fusion import (
    Member,
    align,
    changes_by_class,
    changes_table,
    choose_weights,
    fuse,
    restrict,
    weight_grid,
)
from metrics.predictions import Predictions

NAMES = ("open", "close", "pour")


def member(name, logits, labels=(0, 1, 2, 0), keys="abcd", names=NAMES):
    logits = np.array(logits, float)
    return Member(name, names, Predictions(tuple(keys), np.array(labels), logits, 0.0, {}))


# a is sure of the first and third clip, b of the second and third; the fourth goes to who shouts louder.
A = member("a", [[4, 0, 0], [1, 0, 0], [0, 0, 4], [0, 2, 0]])
B = member("b", [[0, 1, 0], [0, 4, 0], [0, 0, 1], [1, 0, 0]])


def test_logits_are_averaged_by_weight():
    fused = fuse([A, B], np.array([3.0, 1.0]))
    np.testing.assert_allclose(fused.logits, (3 * A.predictions.logits + B.predictions.logits) / 4)
    assert fused.keys == tuple("abcd") and fused.labels.tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(fuse([A, B], np.array([0.75, 0.25])).logits, fused.logits)
    np.testing.assert_allclose(fuse([A, B], np.array([1.0, 0.0])).logits, A.predictions.logits)


def test_probabilities_are_averaged_as_such():
    fused = fuse([A, B], np.array([1.0, 3.0]), "probabilities")
    softmax = [torch.softmax(torch.tensor(m.predictions.logits), 1).numpy() for m in (A, B)]
    np.testing.assert_allclose(np.exp(fused.logits), (softmax[0] + 3 * softmax[1]) / 4)
    far = member("far", np.array([[2000.0, 0, -2000]] * 4))
    assert np.isfinite(fuse([far, far], np.ones(2), "probabilities").logits).all()


@given(st.lists(st.floats(-30, 30), min_size=12, max_size=12))
def test_the_loss_is_torchs(values):
    logits, labels = np.array(values).reshape(4, 3), np.array([0, 1, 2, 0])
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert cross_entropy(logits, labels) == pytest.approx(float(expected), abs=1e-9)


def test_what_is_repaired_and_broken():
    fused = fuse([A, B], np.ones(2))  # wins: clip 0 by a, clip 1 by b, clip 2 by both, clip 3 lost to a
    repaired, broken = changes_by_class(fused, A)
    assert (repaired.tolist(), broken.tolist()) == ([0, 1, 0], [0, 0, 0])
    repaired, broken = changes_by_class(fused, B)
    assert (repaired.tolist(), broken.tolist()) == ([1, 0, 0], [1, 0, 0])
    table = changes_table(fused, [A, B])
    assert table["class"] == list(NAMES) and table["clips"] == [2, 1, 1]
    assert table["right"] == table["right of b"] == [1, 1, 1]
    assert (table["repaired of b"], table["broken of b"]) == ([1, 0, 0], [1, 0, 0])
    # b alone has three right, a two: b is the best, and the fusion helps and hurts no class of it.
    assert table["verdict"] == [None, None, None]
    assert changes_table(fuse([A, B], np.array([1.0, 0.0])), [A, B])["verdict"] == [None, "hurt", None]
    worse = member("worse", -B.predictions.logits)
    assert changes_table(fuse([A, B], np.ones(2)), [A, worse])["verdict"] == [None, "helped", None]


def test_classes_without_a_clip_are_left_out():
    few = restrict(A, ("a", "b"))
    assert changes_table(few.predictions, [few])["class"] == ["open", "close"]


def test_the_grid_is_all_of_the_simplex():
    assert weight_grid(2).shape == (21, 2) and weight_grid(3).shape == (66, 3)
    for runs in (2, 3, 4):
        grid = weight_grid(runs)
        np.testing.assert_allclose(grid.sum(axis=1), 1)
        assert grid.min() == 0 and len(np.unique(grid, axis=0)) == len(grid)


def test_the_chosen_weights_are_the_most_accurate_and_then_the_surest():
    by_hand = []
    for weight in np.arange(21) / 20:
        logits = weight * A.predictions.logits + (1 - weight) * B.predictions.logits
        right = (logits.argmax(axis=1) == [0, 1, 2, 0]).mean()
        by_hand.append((-right, cross_entropy(logits, np.array([0, 1, 2, 0])), weight))
    choice = choose_weights([A, B])
    assert choice.weights[0] == pytest.approx(min(by_hand)[2])
    assert choice.accuracy == pytest.approx(-100 * min(by_hand)[0])
    assert choice.ties == sum(row[0] == min(by_hand)[0] for row in by_hand)


def test_runs_in_another_order_are_brought_into_the_first_ones():
    turned = member("turned", B.predictions.logits[::-1], [0, 2, 1, 0], "dcba")
    np.testing.assert_array_equal(align([A, turned])[1].predictions.logits, B.predictions.logits)
    kept = restrict(turned, ("b", "d")).predictions
    assert kept.labels.tolist() == [1, 0] and kept.logits[0].tolist() == [0, 4, 0]


@pytest.mark.parametrize(
    "other, message",
    [
        (
            member("b", B.predictions.logits, keys="abce"),
            r"clips differ: a has 4, b has 4; only a has \['d'\], only b has \['e'\]",
        ),
        (
            member("b", B.predictions.logits[:3], [0, 1, 2], "abc"),
            r"clips differ: a has 4, b has 3; only a has \['d'\]",
        ),
        (member("b", B.predictions.logits, names=("open", "close", "stir")), "classes differ.*pour.*stir"),
        (member("b", B.predictions.logits, names=("close", "open", "pour")), "classes differ.*another order"),
        (member("b", B.predictions.logits, labels=(0, 1, 2, 1)), "disagree on the true class of d"),
    ],
)
def test_runs_that_do_not_fit_are_refused_naming_the_difference(other, message):
    with pytest.raises(UserError, match=message):
        align([A, other])


@pytest.mark.parametrize("gain", [[1, -2, 0], [0, 0, 0]])
def test_the_picture_is_drawn_also_when_nothing_changes(tmp_path, gain):
    save_changes(tmp_path / "changes.png", {"a": np.array(gain)}, NAMES, "a title")
    assert (tmp_path / "changes.png").stat().st_size > 1000
