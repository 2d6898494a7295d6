"""Targets, scores, loss and gradient against the task written out; known mistakes give other numbers."""

import pytest
import torch
from torch import Tensor

from selfsup import MotionHead, MotionLoss, MotionTarget
from tests.support import recipe

CLIPS, FRAMES, CHANNELS, CELLS, SIDE = 2, 3, 5, 4, 32


def hand_made_maps() -> Tensor:
    """A rectangle that wanders, another one in every frame; uint8 (B, T, 1, S, S)."""
    maps = torch.zeros(CLIPS, FRAMES, 1, SIDE, SIDE, dtype=torch.uint8)
    for clip in range(CLIPS):
        for frame in range(FRAMES):
            top, left = 5 * frame + 3 * clip, 11 * clip + 4 * frame
            maps[clip, frame, 0, top : top + 9, left : left + 6 + 3 * frame] = 255
    return maps


class Case:
    """One variant with its reference."""

    def __init__(self, variant: str) -> None:
        torch.manual_seed(0)
        self.classify = variant == "classification"
        self.maps = hand_made_maps()
        self.features = torch.randn(CLIPS, FRAMES, CHANNELS, CELLS, CELLS, dtype=torch.float64)
        self.features.requires_grad_()
        self.head = MotionHead(CHANNELS, CELLS, variant, mid_channels=6).double()
        self.target = MotionTarget(variant, threshold=0.1 if self.classify else None)
        self.loss = MotionLoss("cross_entropy" if self.classify else "mse")
        self.wanted = recipe.target(self.maps, CELLS, self.target.threshold)
        self.error = recipe.cross_entropy if self.classify else recipe.squared_error

    def ours(self) -> Tensor:
        wanted = self.target(self.maps, CELLS)
        return self.loss(self.head(self.features), wanted, self.head.class_weights)

    def scores(self) -> Tensor:
        return recipe.scores(self.head.state_dict(), self.features, 2 if self.classify else 1)

    def gradient(self, loss: Tensor) -> Tensor:
        if not loss.requires_grad:
            return torch.zeros_like(self.features)
        return torch.autograd.grad(loss, self.features)[0]


@pytest.fixture(params=["classification", "regression"])
def case(request) -> Case:
    return Case(request.param)


def test_targets_scores_loss_and_gradient(case):
    torch.testing.assert_close(case.target(case.maps, CELLS).double(), case.wanted)
    assert 0 < float(case.wanted.mean()) < 0.5
    found = case.head(case.features)
    expected = case.scores()
    torch.testing.assert_close(found, expected if case.classify else expected[:, :, 0])
    expected_loss = case.error(expected, case.wanted)
    # The project computes the loss in float32.
    torch.testing.assert_close(case.ours().double(), expected_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(case.gradient(case.ours()), case.gradient(expected_loss), rtol=1e-4, atol=1e-7)


def places_by_reshape(case: Case) -> Tensor:
    pairs = case.scores().reshape(-1, 2)
    return torch.nn.functional.cross_entropy(pairs, case.wanted.flatten().long())


def frames_before_clips(case: Case) -> Tensor:
    return case.error(case.scores(), case.wanted.transpose(0, 1).reshape(case.wanted.shape))


def softmax_twice(case: Case) -> Tensor:
    return case.error(case.scores().softmax(dim=2), case.wanted)


def softmax_over_time(case: Case) -> Tensor:
    return case.error(case.scores().softmax(dim=1), case.wanted)


def target_like_an_image(case: Case) -> Tensor:
    return case.error(case.scores(), (case.wanted - 0.449) / 0.226)


def target_of_255(case: Case) -> Tensor:
    return case.error(case.scores(), case.wanted * 255)


def sum_over_places(case: Case) -> Tensor:
    return case.error(case.scores(), case.wanted) * CELLS**2


def rows_for_columns(case: Case) -> Tensor:
    return case.error(case.scores(), case.wanted.transpose(-1, -2))


def no_flip(case: Case) -> Tensor:
    return case.error(case.scores(), case.wanted.flip(-1))


def number_without_gradient(case: Case) -> Tensor:
    return torch.tensor(case.error(case.scores(), case.wanted).item())


BOTH = [softmax_over_time, frames_before_clips, sum_over_places, rows_for_columns, no_flip]
BOTH += [number_without_gradient]
MISTAKES = [("classification", m) for m in [*BOTH, places_by_reshape, softmax_twice]]
MISTAKES += [("regression", m) for m in [*BOTH, target_like_an_image, target_of_255]]


@pytest.mark.parametrize("variant, mistake", MISTAKES, ids=lambda value: getattr(value, "__name__", value))
def test_a_known_mistake_gives_another_gradient(variant, mistake):
    case = Case(variant)
    right, wrong = case.gradient(case.ours()), case.gradient(mistake(case))
    assert (right - wrong).abs().max() > 0.01 * right.abs().max()


def test_the_head_leaves_what_it_reads_as_it_was(case):
    before = case.features.detach().clone()
    case.head(case.features)
    assert torch.equal(case.features, before) and before.min() < 0
