"""Predictions: matched clip by clip, saved and read back."""

import numpy as np
import pytest

from core.errors import UserError
from metrics.accuracy import cross_entropy
from metrics.predictions import Predictions, clip_scores


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


def test_predictions_survive_a_file(tmp_path):
    made = predictions([2, 0, 1], np.array([[3.0, 1, 0], [0, 1, 3], [0, 0, 2]]))
    made.save(tmp_path / "predictions.npz")
    again = Predictions.load(tmp_path / "predictions.npz")
    np.testing.assert_array_equal(again.logits, made.logits)
    assert again.keys == made.keys and again.loss == pytest.approx(cross_entropy(again.logits, again.labels))
    (tmp_path / "other.npz").write_bytes(b"no predictions")
    with pytest.raises(UserError, match="other.npz"):
        Predictions.load(tmp_path / "other.npz")
