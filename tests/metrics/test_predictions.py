"""Predictions: matched clip by clip, saved and read back."""

import numpy as np
import pytest

from core.errors import UserError
from metrics.accuracy import cross_entropy
from metrics.predictions import Predictions, Relations, clip_scores, summarise, unpredicted_note
from training.evaluate import result_line


def predictions(order, logits, labels=(0, 1, 2)):
    keys = np.array(["x", "y", "z"])[order]
    return Predictions(tuple(keys.tolist()), np.array(labels)[order], logits[order], 0.0, {})


def test_scores_are_matched_by_clip_and_kept_by_seed():
    logits = np.array([[3.0, 1, 0], [0, 1, 3], [0, 0, 2]])
    runs = [predictions([0, 1, 2], logits), predictions([2, 0, 1], logits[:, [1, 0, 2]])]
    assert clip_scores(runs).tolist() == [[1, 0, 1], [0, 0, 1]]
    assert clip_scores(runs, np.array([1, 0, -1])).tolist() == [[1, 1], [0, 0]]


def test_a_tie_with_the_rival_is_lost():
    tied = predictions([0, 1, 2], np.array([[1.0, 1, 0], [2, 3, 9], [0, 0, 2]]))
    assert clip_scores([tied], np.array([1, 0, -1])).tolist() == [[0, 1]]


def test_runs_of_other_clips_are_not_compared():
    logits = np.zeros((3, 3))
    other = predictions([0, 1, 2], logits, labels=(0, 2, 1))
    with pytest.raises(UserError, match="different clips"):
        clip_scores([predictions([0, 1, 2], logits), other])


def test_predictions_survive_a_file(tmp_path):
    made = predictions([2, 0, 1], np.array([[3.0, 1, 0], [0, 1, 3], [0, 0, 2]]))
    made.save(tmp_path / "predictions.npz")
    again = Predictions.load(tmp_path / "predictions.npz")
    np.testing.assert_array_equal(again.logits, made.logits)
    assert again.keys == made.keys and again.loss == pytest.approx(cross_entropy(again.logits, again.labels))
    (tmp_path / "other.npz").write_bytes(b"no predictions")
    with pytest.raises(UserError, match="other.npz"):
        Predictions.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    "labels, predicted, note",
    [
        ([0, 0, 0, 0, 1, 2, 3, 4], [0] * 8, "1 of 5 classes is ever predicted"),
        ([0, 0, 0, 0, 1, 2, 3, 4], [0, 0, 0, 0, 1, 1, 1, 1], "2 of 5 classes are ever predicted"),
        ([0, 1], [0, 5], "1 of 2 classes is ever predicted"),  # a class that is not tested does not help
        ([0, 1], [5, 5], "0 of 2 classes are ever predicted"),
        ([0, 1], [1, 0], ""),  # all wrong, but both are predicted
        ([0, 0], [0, 0], ""),  # one class is tested, and predicting no other is right
        ([0, 1, 1], [0, 1, 5], ""),
    ],
)
def test_classes_that_are_never_predicted_are_counted(labels, predicted, note):
    made = Predictions(tuple(map(str, range(len(labels)))), np.array(labels), np.eye(6)[predicted], 0.0, {})
    summary = summarise(made, Relations())
    assert unpredicted_note(summary) == note
    assert summary["tested_classes"] == len(set(labels))
    assert summary["predicted_classes"] == len(set(labels) & set(predicted))


def test_the_result_line_says_so_beside_the_number():
    summary = {
        "top1": 57.1, "ci95_low": 25.0, "ci95_high": 84.2, "n_clips": 7,
        "epoch": 3, "selection": "last_epoch", "tested_classes": 5, "predicted_classes": 2,
    }  # fmt: skip
    number = "top-1 57.1 % (95 % interval 25.0 to 84.2) on 7 clips, epoch 3 (last_epoch)"
    assert result_line(summary) == f"{number}; 2 of 5 classes are ever predicted"
    assert result_line(summary | {"predicted_classes": 5}) == number
