"""Targets, losses, prior and settings by closed forms and properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, jaccard_score

from core.errors import UserError
from selfsup import MotionHead, MotionHeads, MotionLoss, MotionSegmentation, MotionSettings, MotionTarget
from selfsup.head import describe_heads
from selfsup.prior import learn_prior
from selfsup.targets import pool_maps, truth
from selfsup.task import measure_cells

EQUAL = torch.ones(2)


def one_block(value: int = 255) -> torch.Tensor:
    """8x8 pixels; the lower right quarter but for its upper left pixel has `value`."""
    maps = torch.zeros(1, 1, 1, 8, 8, dtype=torch.uint8)
    maps[..., 4:, 4:] = value
    maps[..., 4, 4] = 0
    return maps


def test_the_three_poolings():
    for pooling, expected in {"area": 15 / 16, "nearest": 0, "centre": 1}.items():
        places = pool_maps(one_block(), 2, pooling)[0, 0]
        assert places.tolist() == [[0, 0], [0, pytest.approx(expected)]]


def test_threshold_counts_what_is_above_it():
    for threshold, expected in {0.9: 1, 15 / 16: 0}.items():
        assert MotionTarget("regression", threshold=threshold)(one_block(), 2)[0, 0, 1, 1] == expected


def test_grey_levels_are_kept_in_regression_and_cut_in_classification():
    for level, expected in {100: 0, 127: 0, 128: 1, 200: 1}.items():
        maps = one_block(level)
        assert MotionTarget("classification", threshold=0.1)(maps, 2)[0, 0, 1, 1] == expected
        shares = MotionTarget("regression")(maps, 2)[0, 0, 1, 1]
        assert shares == pytest.approx(level / 255 * 15 / 16)
        assert truth(maps, 2).sum() == expected


@given(st.integers(0, 64))
def test_a_place_moves_when_more_than_a_tenth_of_it_does(pixels):
    maps = torch.zeros(1, 1, 1, 8, 8, dtype=torch.uint8)
    maps.view(-1)[:pixels] = 255
    assert truth(maps, 1).item() == (pixels / 64 > 0.1)


def test_losses_of_one_place():
    target = torch.tensor([0.25]).view(1, 1, 1, 1)
    score = torch.tensor([0.75]).view(1, 1, 1, 1)
    q = 1 / (1 + math.exp(-0.75))
    divergence = 0.25 * math.log(0.25 / q) + 0.75 * math.log(0.75 / (1 - q))
    expected = {
        ("mse", "linear"): 0.25,
        ("l1", "linear"): 0.5,
        ("smooth_l1", "linear"): 0.125,
        ("mse", "sigmoid"): (q - 0.25) ** 2,
        ("kl", "sigmoid"): divergence,
    }
    for (name, activation), value in expected.items():
        assert MotionLoss(name, activation)(score, target, EQUAL).item() == pytest.approx(value, rel=1e-5)
    assert MotionLoss("mse", "relu")(-score, target, EQUAL).item() == pytest.approx(0.25**2)


@given(st.floats(0, 1, width=32), st.floats(-8, 8, width=32))
def test_kl_is_lowest_at_the_share_and_its_gradient_is_the_difference(share, score):
    target = torch.full((1, 1, 1, 1), share)
    scores = torch.full((1, 1, 1, 1), score, requires_grad=True)
    loss = MotionLoss("kl", "sigmoid")(scores, target, EQUAL)
    loss.backward()
    assert loss.item() >= -1e-6
    assert scores.grad.item() == pytest.approx(scores.sigmoid().item() - share, abs=1e-6)


def test_equal_scores_cost_ln_2_and_a_sum_is_49_times_the_mean():
    target = torch.zeros(2, 3, 7, 7)
    target[..., 2:4, 3] = 1
    scores = torch.zeros(2, 3, 2, 7, 7)
    mean = MotionLoss("cross_entropy")(scores, target, EQUAL).item()
    joined = MotionLoss("cross_entropy", reduction="sum")(scores, target, EQUAL).item()
    assert mean == pytest.approx(math.log(2)) and joined == pytest.approx(49 * math.log(2))
    assert MotionLoss("cross_entropy").moving(scores).unique().tolist() == [0.5]


def test_of_the_two_scores_the_second_says_that_a_cell_moves():
    scores = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 1, 2)
    loss = MotionLoss("cross_entropy")
    assert loss.moving(scores).flatten().tolist() == pytest.approx([1 / (1 + math.exp(-2))] * 2)
    for target, expected in {(1, 1): math.log(1 + math.exp(-2)), (0, 0): math.log(1 + math.exp(2))}.items():
        assert loss(scores, torch.tensor(target).view(1, 1, 1, 2), EQUAL).item() == pytest.approx(expected)


def test_class_weights_multiply_each_place():
    target = torch.tensor([[0.0, 1.0], [0.5, 0.0]]).view(1, 1, 2, 2)
    loss = MotionLoss("l1")(torch.full((1, 1, 2, 2), 2.0), target, torch.tensor([0.5, 4.0]))
    assert loss.item() == pytest.approx((2 * 0.5 + 1 * 4 + 1.5 * 2.25 + 2 * 0.5) / 4)


def filled(balanced: bool, variant: str = "classification") -> tuple[MotionHead, bool]:
    head = MotionHead(4, 2, variant)
    target = MotionTarget(variant, threshold=0.1 if variant == "classification" else None)
    maps = torch.cat([one_block(), torch.zeros_like(one_block()), one_block(200)], dim=1)
    grey = learn_prior(MotionHeads(layer4=head), target, [{"maps": maps}], balanced=balanced)
    return head, grey


def test_the_prior_takes_maps_that_are_held_on_a_gpu():
    class Held:
        """Maps elsewhere: nothing can be done with them before they are brought to the CPU."""

        def cpu(self):
            return torch.full((1, 2, 1, 8, 8), 255, dtype=torch.uint8) * torch.eye(8, dtype=torch.uint8)

    head, target = MotionHead(4, 8), MotionTarget("classification", threshold=0.1)
    learn_prior(MotionHeads(layer4=head), target, [{"maps": Held()}], balanced=False)
    assert head.frequency.equal(torch.eye(8))


def test_the_prior_is_how_often_places_move_and_weights_undo_the_imbalance():
    head, grey = filled(balanced=True)
    torch.testing.assert_close(head.frequency, torch.tensor([[0, 0], [0, 2 / 3]]))
    torch.testing.assert_close(head.class_weights, torch.tensor([0.5 * 12 / 10, 0.5 * 12 / 2]))
    assert grey
    assert filled(balanced=False)[0].class_weights.tolist() == [1, 1]
    share = (255 + 200) / 255 * 15 / 16 / 12
    weights = filled(balanced=True, variant="regression")[0].class_weights
    torch.testing.assert_close(weights, torch.tensor([0.5 / (1 - share), 0.5 / share]))
    regression = filled(balanced=True, variant="regression")[0]
    assert regression.frequency.equal(head.frequency), "of the truth, not of the shares that are learned"


def test_maps_of_any_size_have_as_many_cells_as_the_networks_strides_give():
    """Five halvings, each rounded up: 7 -> 4, 14 -> 7 and so on."""
    for image_size, cells in {224: (14, 7), 112: (7, 4), 100: (7, 4), 64: (4, 2)}.items():
        heads = describe_heads(("layer3", "layer4"), "regression", channels=8, image_size=image_size)
        assert (heads["layer3"]["size"], heads["layer4"]["size"]) == cells


@pytest.mark.parametrize("threshold, share", [(None, 0.2), (0.3, 0.6)])
def test_predicted_shares_count_as_motion_above_a_tenth_and_predicted_classes_above_a_half(threshold, share):
    heads = MotionHeads(layer4=MotionHead(4, 2, "regression"))
    settings = MotionSettings(ms="regression", ms_threshold=threshold)
    model = torch.nn.Module()
    model.motion = heads
    task = MotionSegmentation(model, ("frames",), settings)
    moves = np.array([[[[1, 0], [0, 0]]]])
    found = task.measure({"layer4_predicted": np.where(moves, share, share / 4), "layer4_target": moves})
    assert found["motion_layer4_accuracy"] == found["motion_layer4_iou"] == 100


def test_maps_in_which_nothing_moves_are_refused():
    heads = MotionHeads(layer4=MotionHead(4, 2))
    for level, word in ((0, "none"), (255, "all")):
        maps = torch.full((1, 1, 1, 8, 8), level, dtype=torch.uint8)
        with pytest.raises(UserError, match=f"{word} of the cells"):
            learn_prior(heads, MotionTarget("classification", threshold=0.1), [{"maps": maps}], balanced=True)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_measures_are_those_of_scikit_learn(places):
    predicted = np.array([score / 4 for score, _ in places])
    moves = np.array([moving for _, moving in places])
    measures = measure_cells(predicted, moves, 0.5)
    said = predicted > 0.5
    assert measures["accuracy"] == pytest.approx(100 * np.mean(said == moves))
    if not moves.any():
        assert set(measures) == {"accuracy"}
        return
    if not moves.all():
        assert measures["balanced_accuracy"] == pytest.approx(100 * balanced_accuracy_score(moves, said))
    assert measures["iou"] == pytest.approx(100 * jaccard_score(moves, said))
    expected = 100 * average_precision_score(moves, predicted)
    assert measures["average_precision"] == pytest.approx(expected)


def test_left_out_flags_mean_what_the_help_says():
    values = MotionSettings(ms="classification").motion_values()
    assert (values["ms_loss"], values["ms_threshold"], values["ms_activation"]) == (
        "cross_entropy",
        0.1,
        None,
    )
    assert (values["ms_weight"], values["ms_layer"], values["ms_join"]) == (1.0, "layer4", "mean")
    values = MotionSettings(ms="regression", ms_loss="kl").motion_values()
    assert (values["ms_activation"], values["ms_threshold"]) == ("sigmoid", None)
    assert MotionSettings(**values).motion_values() == values
    assert set(MotionSettings().motion_values().values()) == {"none", None}


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"ms": "classification", "ms_weight": -1}, "--ms-weight"),
        ({"ms": "classification", "ms_weight": math.inf}, "--ms-weight"),
        ({"ms": "classification", "ms_loss": "mse"}, "--ms-loss mse is for --ms regression"),
        ({"ms": "classification", "ms_activation": "relu"}, "--ms-activation is for --ms regression"),
        ({"ms": "regression", "ms_loss": "cross_entropy"}, "is for --ms classification"),
        ({"ms": "regression", "ms_loss": "kl", "ms_activation": "linear"}, "kl needs"),
        ({"ms": "regression", "ms_threshold": 1}, "--ms-threshold"),
        ({"ms": "regression", "ms_layer": "layer2"}, "--ms-layer"),
        ({"ms_weight": 1}, "--ms-weight needs --ms"),
    ],
)
def test_flags_that_do_not_fit_together(flags, message):
    with pytest.raises(UserError, match=message):
        MotionSettings(**flags)


@pytest.mark.parametrize(
    "variant, shape", [("classification", (2, 3, 2, 2, 2)), ("regression", (2, 3, 2, 2))]
)
def test_a_head_is_a_relu_a_product_in_each_cell_and_one_over_all(variant, shape):
    torch.manual_seed(0)
    head, maps = MotionHead(4, 2, variant, mid_channels=5), torch.randn(2, 3, 4, 2, 2)
    reduced = torch.einsum("mc,btchw->btmhw", head.reduce.weight[..., 0, 0], maps.clamp(min=0))
    reduced = reduced + head.reduce.bias[:, None, None]
    expected = reduced.flatten(2) @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(maps), expected.view(shape))


def test_fourteen_cells_asked_of_layer4():
    head = MotionHead(4, size=14)
    with pytest.raises(UserError, match=r"14x14 cells .* 7x7; .*layer3 14x14"):
        head(torch.zeros(1, 1, 4, 7, 7))
