"""The losses of actions after the last frame and after each."""

import numpy as np
import pytest
import torch

from core.task import action_loss


def cross_entropy(scores, label):
    """From the definition, in float64."""
    return float(np.log(np.exp(scores).sum()) - scores[label])


@pytest.mark.parametrize(
    "predict, weights", [("every-frame", [1, 1, 1, 1]), ("every-frame-rising", [0.25, 0.5, 0.75, 1])]
)
def test_every_frame_is_a_weighted_mean_of_its_cross_entropies(predict, weights):
    along = np.random.default_rng(0).normal(size=(3, 4, 5))
    labels = [4, 0, 2]
    losses = [[cross_entropy(along[b, t], labels[b]) for t in range(4)] for b in range(3)]
    expected = np.mean([np.average(row, weights=weights) for row in losses])
    scores = torch.tensor(along, requires_grad=True)
    found = action_loss(scores[:, -1], scores, torch.tensor(labels), predict)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    found.backward()
    reached = scores.grad.abs().sum(dim=(0, 2))  # of each frame
    assert (reached > 0).all() and scores.grad.sum(dim=2).abs().max() < 1e-6


def test_the_last_frame_alone_and_a_single_frame():
    along, labels = torch.randn(3, 1, 5), torch.tensor([1, 2, 3])
    last = action_loss(along[:, 0], None, labels)
    assert float(last) == pytest.approx(float(torch.nn.functional.cross_entropy(along[:, 0], labels)))
    for predict in ("every-frame", "every-frame-rising"):
        assert float(action_loss(along[:, 0], along, labels, predict)) == pytest.approx(float(last))
