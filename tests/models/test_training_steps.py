"""Five optimiser steps of every stage equal the same steps written out from the equations, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import EgoRNN, FlowStream, TwoStream
from tests.support import plain
from tests.support.thin import thin_networks

STACK, K = 2, 3
LAYER4 = [f"layer4.{block}.conv{conv}.weight" for block in (0, 1) for conv in (1, 2)]
CELL = [f"temporal.cell.{name}" for name in ("input_conv.weight", "input_conv.bias", "hidden_conv.weight")]
CLASSIFIER = ["classifier.weight", "classifier.bias"]
LAST_STAGE = [f"backbone.resnet.{name}" for name in [*LAYER4, "fc.weight"]]
EVERYWHERE = ("stem", "layer1", "layer2", "layer3", "layer4")


@dataclass
class Reference:
    """What a stage does, from the paper's table.

    Attributes:
        forward: Weights and batch to features and logits.
        lr: Learning rate of every parameter that learns.
        optimizer: Written out.
    """

    forward: Callable[[plain.Weights, dict[str, Tensor]], tuple[Tensor, Tensor]]
    lr: dict[str, float]
    optimizer: plain.SGD | plain.Adam


def rgb_forward(w, batch):
    features = plain.rgb_features(w, "", batch["frames"])
    return features, plain.linear(w, "classifier", F.dropout(features, 0.7))


def flow_forward(w, batch):
    features = plain.flow_features(w, "", batch["flow"], EVERYWHERE)
    return features, plain.linear(w, "backbone.resnet.fc", F.dropout(features, 0.5))


def joint_forward(w, batch):
    moved = plain.flow_features(w, "flow.", batch["flow"], ("layer4",))
    features = torch.cat([moved, plain.rgb_features(w, "rgb.", batch["frames"])], dim=1)
    return features, plain.linear(w, "classifier", F.dropout(features, 0.5))


def streams() -> tuple[EgoRNN, FlowStream]:
    return EgoRNN(K, backbone="resnet18", hidden=4, backbone_classes=5), FlowStream(
        K, stack=STACK, backbone="resnet18"
    )


def setting(name: str):
    """Model, its stage, the batch's tensors it takes, and the reference."""
    rgb, flow = streams()
    adam = plain.Adam(4e-5, 1e-4)
    sgd = plain.SGD(0.9, 5e-4)
    if name == "rgb 1":
        rates = dict.fromkeys(CELL + CLASSIFIER, 1e-3)
        return rgb, EgoRNN.stage(1, "convlstm"), ("frames",), Reference(rgb_forward, rates, adam)
    if name == "rgb 2":
        rates = dict.fromkeys(CELL + CLASSIFIER + LAST_STAGE, 1e-4)
        return rgb, EgoRNN.stage(2, "convlstm"), ("frames",), Reference(rgb_forward, rates, adam)
    if name == "flow":
        rates = dict.fromkeys((key for key, _ in flow.named_parameters()), 1e-2)
        return flow, FlowStream.STAGE, ("flow",), Reference(flow_forward, rates, sgd)
    rates = dict.fromkeys(CLASSIFIER + [f"rgb.{key}" for key in CELL + LAST_STAGE], 1e-2)
    layer4 = [key for key, _ in flow.named_parameters() if ".layer4." in key]
    rates |= dict.fromkeys((f"flow.{key}" for key in layer4), 1e-4)
    stage = TwoStream.stage("convlstm")
    return TwoStream(rgb, flow, K), stage, ("frames", "flow"), Reference(joint_forward, rates, sgd)


def batch_of(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    frames = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64, generator=generator)
    flow = torch.randn(2, 2 * STACK, 64, 64, dtype=torch.float64, generator=generator)
    return {"frames": frames, "flow": flow, "label": torch.tensor([step % K, (step + 1) % K])}


def with_statistics(model: nn.Module) -> nn.Module:
    """Untrained statistics would hide a batch norm in the wrong mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.double()


@pytest.mark.parametrize("name", ["rgb 1", "rgb 2", "flow", "joint"])
def test_features_logits_gradients_and_five_steps(name):
    torch.manual_seed(0)
    with thin_networks():
        model, stage, inputs, reference = setting(name)
    with_statistics(model)
    w = {key: value.clone() for key, value in model.state_dict().items()}
    stage.freeze(model)
    optimizer = stage.build_optimizer(model)
    for step in range(5):
        batch = batch_of(step)
        stage.set_modes(model)
        torch.manual_seed(step)  # dropout is all that draws
        output = model(**{key: batch[key] for key in inputs})
        torch.manual_seed(step)
        optimizer.zero_grad()
        F.cross_entropy(output.logits, batch["label"]).backward()
        learned = {key: w[key].requires_grad_() for key in reference.lr}
        torch.manual_seed(step)
        features, logits = reference.forward(w, batch)
        gradients = torch.autograd.grad(plain.cross_entropy(logits, batch["label"]), list(learned.values()))
        close(output.features, features, "features")
        close(output.logits, logits, "logits")
        for (key, p), gradient in zip(learned.items(), gradients, strict=True):
            if step == 0:
                close(model.get_parameter(key).grad, gradient, f"gradient of {key}")
            w[key] = reference.optimizer.step(key, p.detach(), gradient, reference.lr[key])
        optimizer.step()
    for key, value in model.state_dict().items():
        close(value, w[key], f"{key} after five steps")


def close(ours: Tensor, theirs: Tensor, what: str) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8, msg=lambda message: f"{what}: {message}")
