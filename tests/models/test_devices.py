"""On a GPU every tensor of a step lies on it: tried with tensors that have a device and no content.

The backward pass and bfloat16 need a real GPU; operations that mix devices fail in the forward pass already.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from core.task import Classification, Task
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream, build_model
from models.backbones.resnet import RESNETS
from selfsup import MotionSegmentation, MotionSettings
from selfsup.head import describe_heads

K, B, T, SIZE = 3, 2, 2, 64
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Of a ResNet's blocks that are alike, one: each costs as much as the first and says no more."""

    def short_resnet18(weights: None = None, num_classes: int = 1000) -> ResNet:
        return ResNet(BasicBlock, [1, 1, 1, 2], num_classes=num_classes)

    monkeypatch.setitem(RESNETS, "resnet18", short_resnet18)


def stream(attention: str = "cam", temporal: str = "convlstm") -> EgoRNN:
    return EgoRNN(
        K, backbone="resnet18", attention=attention, temporal=temporal, hidden=4, backbone_classes=5
    )


def with_heads(ms: str, loss: str | None = None) -> Task:
    model = stream()
    model.motion = build_model(describe_heads(("layer3", "layer4"), ms, channels=512, image_size=SIZE))
    return MotionSegmentation(model, ("frames",), MotionSettings(ms=ms, ms_layer="both", ms_loss=loss))


def both() -> Task:
    flow = FlowStream(K, backbone="resnet18")
    return Classification(TwoStream(stream(), flow, K), ("frames", "flow"))


TASKS = {
    "stage 1": (EgoRNN.stage(1, "convlstm"), lambda: Classification(stream(), ("frames",), ("heat",))),
    "stage 2": (EgoRNN.stage(2, "convlstm"), lambda: Classification(stream("none"), ("frames",))),
    "average": (EgoRNN.stage(1, "avgpool"), lambda: Classification(stream(temporal="avgpool"), ("frames",))),
    "classified motion": (
        EgoRNN.stage(2, "convlstm", motion_layers=("layer3", "layer4")),
        lambda: with_heads("classification"),
    ),
    "motion by MSE": (
        EgoRNN.stage("joint", "convlstm", motion_layers=("layer3", "layer4")),
        lambda: with_heads("regression"),
    ),
    "motion by KL": (
        EgoRNN.stage(2, "convlstm", motion_layers=("layer3", "layer4")),
        lambda: with_heads("regression", "kl"),
    ),
    "flow": (FlowStream.STAGE, lambda: Classification(FlowStream(K, backbone="resnet18"), ("flow",))),
    "two streams": (TwoStream.stage("convlstm"), both),
    "frames": (
        FrameClassifier.STAGE,
        lambda: Classification(FrameClassifier(K, backbone="resnet18"), ("frames",)),
    ),
}


def move(model: nn.Module) -> None:
    """What model.to(GPU) does, which can't swap tensors without content."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach().to(GPU)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(GPU))


def batch() -> dict[str, torch.Tensor]:
    """What a loader gives, moved as the loop moves it."""
    given = {
        "frames": torch.empty(B, T, 3, SIZE, SIZE),
        "flow": torch.empty(B, 10, SIZE, SIZE),
        "maps": torch.empty(B, T, 1, SIZE, SIZE, dtype=torch.uint8),
        "label": torch.zeros(B, dtype=torch.long),
        "clip": torch.zeros(B, dtype=torch.long),
    }
    return {name: tensor.to(GPU) for name, tensor in given.items()}


@pytest.mark.parametrize("name", TASKS)
def test_a_step_stays_on_its_device(name):
    stage, make = TASKS[name]
    with FakeTensorMode():
        task = make()
        move(task.model)
        stage.freeze(task.model)
        stage.set_modes(task.model)
        output = task(batch())
        optimizer = stage.build_optimizer(task.model)
    assert {tensor.device for tensor in tree_leaves(tuple(output))} == {GPU}
    assert output.logits.shape == (B, K) and output.loss.dtype == torch.float32
    held = {p.device for group in optimizer.param_groups for p in group["params"]}
    assert held == {GPU}


def test_mixed_devices_would_be_noticed():
    with FakeTensorMode(), pytest.raises(RuntimeError, match="same device|two different devices"):
        Classification(stream(), ("frames",))(batch())
