"""What each stage trains, on real optimiser steps: exactly the tensors that should change do."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from core.train_config import TrainConfig
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream

pytestmark = pytest.mark.usefixtures("thin")


def changed_by_training(
    stage_number: int, attention: str = "cam", temporal: str = "convlstm", steps: int = 2
):
    torch.manual_seed(0)
    model = EgoRNN(4, backbone="resnet18", attention=attention, temporal=temporal, hidden=4)
    stage = EgoRNN.stage(stage_number, temporal)
    stage.freeze(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = stage.build_optimizer(model)
    for _ in range(steps):
        stage.set_modes(model)
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(2, 2, 3, 64, 64)).logits, torch.tensor([1, 2])).backward()
        optimizer.step()
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


TEMPORAL = {
    f"temporal.cell.{name}" for name in ("input_conv.weight", "input_conv.bias", "hidden_conv.weight")
}
CLASSIFIER = {"classifier.weight", "classifier.bias"}
LAYER4 = {f"backbone.resnet.layer4.{block}.conv{conv}.weight" for block in (0, 1) for conv in (1, 2)}


def test_stage_1_trains_the_recurrence_and_the_classifier():
    assert changed_by_training(1) == TEMPORAL | CLASSIFIER


def test_stage_2_adds_the_convolutions_of_layer4_and_the_class_weights():
    """Batch norm's statistics and affine parameters, the downsample convolution and fc.bias stay."""
    expected = TEMPORAL | CLASSIFIER | LAYER4 | {"backbone.resnet.fc.weight"}
    assert changed_by_training(2) == expected


def test_class_weights_learn_through_the_cam_alone():
    assert "backbone.resnet.fc.weight" not in changed_by_training(2, attention="none")


def test_average_pooling_has_nothing_temporal_to_train():
    assert changed_by_training(1, temporal="avgpool") == CLASSIFIER


def test_resnet34_stage_2_trains_six_convolutions():
    model = EgoRNN(4, backbone="resnet34", hidden=4)
    EgoRNN.stage(2, "convlstm").freeze(model)
    layer4 = [n for n, p in model.named_parameters() if p.requires_grad and "layer4" in n]
    assert len(layer4) == 6
    assert all(model.get_parameter(name).shape[2:] == (3, 3) for name in layer4)


def test_modes_of_an_rgb_stage():
    model = EgoRNN(4, backbone="resnet18", hidden=4).train()
    EgoRNN.stage(2, "convlstm").set_modes(model)
    assert not any(module.training for module in model.backbone.modules())
    assert model.dropout.training and model.temporal.training


@pytest.mark.parametrize(
    "number, lr, milestones, epochs", [(1, 1e-3, (25, 75, 150), 300), (2, 1e-4, (25, 75), 150)]
)
def test_published_settings(number, lr, milestones, epochs):
    model = EgoRNN(4, backbone="resnet18", hidden=4)
    stage = EgoRNN.stage(number, "convlstm")
    optimizer = stage.build_optimizer(model)
    assert isinstance(optimizer, torch.optim.Adam)
    settings = optimizer.param_groups[0]
    assert (settings["lr"], settings["weight_decay"], settings["eps"]) == (lr, 4e-5, 1e-4)
    assert stage.epochs == epochs
    scheduler = stage.build_scheduler(optimizer)
    seen = []
    for _ in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    for epoch in range(1, epochs + 1):  # the fall comes after epoch 25, so epoch 26 is the first with less
        passed = sum(epoch > milestone for milestone in milestones)
        assert seen[epoch - 1] == pytest.approx(lr * 0.1**passed)


def test_the_readme_says_what_the_stages_are():
    stages = {
        "train_rgb.py --stage 1": EgoRNN.stage(1, "convlstm"),
        "train_rgb.py --stage 2": EgoRNN.stage(2, "convlstm"),
        "train_flow.py": FlowStream.STAGE,
        "train_twostream.py": TwoStream.stage("convlstm"),
        "train_rgb.py --stage joint": EgoRNN.stage("joint", "convlstm"),
        "train_frame.py": FrameClassifier.STAGE,
    }
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    rows = [
        re.split(r" \| ", line)
        for line in page.splitlines()
        if re.match(r"\| `train_\w+\.py[^`]*` \| \w", line)
    ]
    assert [row[0].strip("|` ") for row in rows] == list(stages)
    for (_, optimizer, lr, decay, falls, epochs, batch, _), stage in zip(rows, stages.values(), strict=True):
        assert (optimizer.lower(), float(lr.split(";")[0])) == (stage.optimizer, stage.lr)
        assert (float(decay), int(epochs)) == (stage.weight_decay, stage.epochs)
        assert int(batch) == TrainConfig.model_fields["batch_size"].default
        factor, *milestones = (float(number) for number in re.findall(r"[\d.]+", falls))
        assert (factor, tuple(milestones)) == (stage.gamma, stage.milestones or ())


def test_a_weight_decay_that_is_left_out_is_the_stages(tmp_path):
    """It stays out of the config, so that runs from before the flag, which had none, are still the same."""
    published = EgoRNN.stage(1, "lsta")
    for asked, expected in ((None, 4e-5), (0.0, 0.0), (5e-4, 5e-4)):
        config, stage = TrainConfig(out=tmp_path, weight_decay=asked).schedule(published)
        assert config.weight_decay == asked and config.lr == published.lr
        assert (
            stage.build_optimizer(EgoRNN(4, backbone="resnet18", hidden=4)).param_groups[0]["weight_decay"]
            == expected
        )
