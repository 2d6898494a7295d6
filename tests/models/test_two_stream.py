"""Joint training: what is joined, which modules are in train mode, which tensors change."""

import pytest
import torch

from models import EgoRNN, FlowStream, TwoStream, build_model
from tests.support.thin import FEATURES, thin_networks

RGB = {"name": "EgoRNN", "num_classes": 4, "backbone": "resnet18", "hidden": 3, "backbone_classes": 6}
FLOW = {"name": "FlowStream", "num_classes": 4, "backbone": "resnet18", "stack": 2}


@thin_networks()
def joined(**changes) -> TwoStream:
    torch.manual_seed(0)
    model = build_model({"name": "TwoStream", "rgb": RGB | changes, "flow": FLOW, "num_classes": 4})
    assert isinstance(model, TwoStream)
    return model


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(2, 2, 3, 64, 64), torch.randn(2, 4, 64, 64)


def test_features_are_those_of_the_flow_stream_and_then_of_the_rgb_stream():
    model = joined().eval()
    frames, flow = inputs()
    output, seen, moved = model(frames, flow), model.rgb(frames), model.flow(flow)
    torch.testing.assert_close(output.features, torch.cat([moved.features, seen.features], dim=1))
    torch.testing.assert_close(moved.features, moved.maps["layer4"].mean(dim=(1, 3, 4)))
    weight, bias = model.classifier.weight, model.classifier.bias
    by_hand = moved.features @ weight[:, :FEATURES].T + seen.features @ weight[:, FEATURES:].T + bias
    torch.testing.assert_close(output.logits, by_hand)
    torch.testing.assert_close(output.heat, seen.heat)
    assert output.maps["layer4"].shape == (2, 2, FEATURES, 2, 2)
    assert output.maps["flow_layer4"].shape == (2, 1, FEATURES, 2, 2)


def test_modes():
    model = joined()
    TwoStream.stage("convlstm").set_modes(model)
    training = {name for name, module in model.named_modules() if module.training}
    layer4 = {name for name, _ in model.named_modules() if name.startswith("flow.backbone.resnet.layer4")}
    assert training == {"dropout", "classifier"} | layer4


def test_what_learns_and_how_fast():
    model = joined()
    stage = TwoStream.stage("convlstm")
    optimizer = stage.build_optimizer(model)
    assert isinstance(optimizer, torch.optim.SGD)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    slow = {name for name, lr in rates.items() if lr == 1e-4}
    assert slow == {name for name in names.values() if name.startswith("flow.backbone.resnet.layer4.")}
    fast = {name for name, lr in rates.items() if lr == 1e-2}
    expected = {"classifier.weight", "classifier.bias", "rgb.backbone.resnet.fc.weight"}
    expected |= {
        f"rgb.temporal.cell.{k}" for k in ("input_conv.weight", "input_conv.bias", "hidden_conv.weight")
    }
    expected |= {f"rgb.backbone.resnet.layer4.{b}.conv{c}.weight" for b in (0, 1) for c in (1, 2)}
    assert fast == expected and slow | fast == rates.keys()
    assert all((g["momentum"], g["weight_decay"]) == (0.9, 5e-4) for g in optimizer.param_groups)
    assert stage.epochs == 250


def test_both_rates_fall_by_one_per_cent_an_epoch():
    stage = TwoStream.stage("convlstm")
    optimizer = stage.build_optimizer(joined())
    scheduler = stage.build_scheduler(optimizer)
    for epoch in range(20):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([1e-2 * 0.99**epoch, 1e-4 * 0.99**epoch])
        optimizer.step()
        scheduler.step()
    optimizer = TwoStream.stage("convlstm", flow_lr=0.5, gamma=0.5).build_optimizer(joined())
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 0.5]


def test_streams_without_a_recurrence_or_with_an_lstm():
    average = joined(temporal="avgpool")
    stage = TwoStream.stage("avgpool")
    stage.freeze(average)
    assert not any("temporal" in name for name, p in average.named_parameters() if p.requires_grad)
    assert average.classifier.in_features == 2 * FEATURES
    model = joined(temporal="lstm")
    stage = TwoStream.stage("lstm")
    stage.freeze(model)
    stage.set_modes(model)
    assert model.rgb.temporal.cell.training, "cuDNN has no backward pass of an LSTM in eval mode"
    assert not model.rgb.backbone.resnet.layer4.training and not model.rgb.dropout.training


def test_streams_are_joined_as_they_are():
    rgb, flow = EgoRNN(4, backbone="resnet18", hidden=3), FlowStream(4, stack=2, backbone="resnet18")
    model = TwoStream(rgb, flow, 9, dropout=0.1)
    assert model.rgb is rgb and model.flow is flow and model.dropout.p == 0.1
    assert model.classifier.weight.shape == (9, 515)
