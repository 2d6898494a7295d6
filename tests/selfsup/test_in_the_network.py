"""Motion heads in Ego-RNN: where their loss reaches, and what they leave as it was."""

import math

import pytest
import torch
import torch.nn.functional as F

from models import EgoRNN, build_model
from selfsup import MotionHead, MotionLoss, MotionSegmentation, MotionSettings
from selfsup.head import describe_heads

K, SIZE = 3, 64
CONVOLUTIONS = {
    layer: {f"backbone.resnet.{layer}.{block}.conv{conv}.weight" for block in (0, 1) for conv in (1, 2)}
    for layer in ("layer3", "layer4")
}
ACTION = {f"temporal.cell.{name}" for name in ("input_conv.weight", "input_conv.bias", "hidden_conv.weight")}
ACTION |= {"classifier.weight", "classifier.bias"}


def network(*layers: str, attention: str = "cam") -> EgoRNN:
    torch.manual_seed(0)
    model = EgoRNN(K, backbone="resnet18", attention=attention, hidden=4, backbone_classes=5)
    if layers:
        model.motion = build_model(describe_heads(layers, "regression", channels=512, image_size=SIZE))
    return model


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = torch.zeros(2, 2, 1, SIZE, SIZE, dtype=torch.uint8)
    maps[..., 10:30, 20:50] = 255
    frames = torch.randn(2, 2, 3, SIZE, SIZE, generator=generator)
    return {"frames": frames, "maps": maps, "label": torch.tensor([0, 2])}


def task(model: EgoRNN, layer: str, weight: float = 1.0) -> MotionSegmentation:
    return MotionSegmentation(
        model, ("frames",), MotionSettings(ms="regression", ms_layer=layer, ms_weight=weight)
    )


def heads_of(model: EgoRNN) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith("motion.")}


@pytest.mark.parametrize("layer", ["layer4", "layer3", "both"])
def test_the_motion_loss_reaches_the_backbone_below_its_head_and_not_the_recurrence(layer):
    layers = ("layer3", "layer4") if layer == "both" else (layer,)
    model = network(*layers)
    stage = EgoRNN.stage(2, "convlstm", motion_layers=layers)
    stage.freeze(model)
    stage.set_modes(model)
    output = task(model, layer)(batch())
    sum(output.parts[f"motion_{name}"] for name in layers).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == heads_of(model).union(*(CONVOLUTIONS[name] for name in layers))


@pytest.mark.parametrize("attention", ["cam", "none"])
def test_heads_change_nothing_the_network_says_of_the_action(attention):
    plain, headed = network(attention=attention), network("layer3", "layer4", attention=attention)
    frames = batch()["frames"]
    ours, theirs = (model.eval()(frames) for model in (headed, plain))
    assert torch.equal(ours.logits, theirs.logits)
    assert all(torch.equal(ours.maps[name], theirs.maps[name]) for name in theirs.maps)
    assert ours.maps["pre_activation"].min() < 0
    shapes = {layer: tuple(scores.shape) for layer, scores in ours.motion.items()}
    assert shapes == {"layer3": (2, 2, 4, 4), "layer4": (2, 2, 2, 2)} and theirs.motion == {}


def test_the_loss_is_the_sum_of_its_parts():
    model = network("layer3", "layer4").eval()
    output = task(model, "both", weight=3.0)(batch())
    action, *motion = (output.parts[name] for name in ("action", "motion_layer3", "motion_layer4"))
    torch.testing.assert_close(output.loss, action + 3 * sum(motion))
    torch.testing.assert_close(action, F.cross_entropy(output.logits, output.labels))
    # Cells of 32 pixels, of which the rectangle covers 20 x 12, 20 x 18, none and none.
    moving = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).expand(2, 2, 2, 2)
    assert output.details["layer4_target"].equal(moving), "the truth, though shares are learned"


def trained(model: EgoRNN, stage_name, layers: tuple[str, ...]) -> set[str]:
    stage = EgoRNN.stage(stage_name, "convlstm", motion_layers=layers)
    stage.freeze(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = stage.build_optimizer(model)
    stage.set_modes(model)
    task(model, layers[0])(batch()).loss.backward()
    optimizer.step()
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


def test_stage_2_with_a_head_on_layer3_trains_its_convolutions_too():
    model = network("layer3")
    expected = ACTION | CONVOLUTIONS["layer3"] | CONVOLUTIONS["layer4"] | heads_of(model)
    assert trained(model, 2, ("layer3",)) == expected | {"backbone.resnet.fc.weight"}


def test_the_joint_stage_trains_everything():
    model = network("layer4", attention="none")
    unused = {"backbone.resnet.fc.weight", "backbone.resnet.fc.bias"}  # without the CAM nothing asks them
    data_alone = {"motion.layer4.frequency", "motion.layer4.class_weights"}
    assert trained(model, "joint", ("layer4",)) == set(model.state_dict()) - unused - data_alone


def test_a_head_learns_where_things_move():
    """Features that hold the answer: the loss falls well below that of knowing only how often places move."""
    torch.manual_seed(2)
    moves = torch.rand(40, 2, 2, 2) < 0.3
    features = torch.randn(40, 2, 512, 2, 2) + 0.5 * moves[:, :, None]
    head, loss = MotionHead(512, 2), MotionLoss("cross_entropy")
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(loss(head(features), moves.float(), head.class_weights))
        losses[-1].backward()
        optimizer.step()
    share = float(moves.float().mean())
    knowing_the_share = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert losses[-1] < 0.5 * knowing_the_share < losses[0]
