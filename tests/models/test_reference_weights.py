"""Published checkpoints: names, gate order, aliases, refusals."""

import pytest
import torch

from core.errors import UserError
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream, load_reference_state, reference_state
from tests.support.thin import FEATURES, thin_networks


@thin_networks()
def tiny(seed: int) -> EgoRNN:
    torch.manual_seed(seed)
    return EgoRNN(4, backbone="resnet18", hidden=3, backbone_classes=6).eval()


@thin_networks()
def tiny_flow(seed: int) -> FlowStream:
    torch.manual_seed(seed)
    return FlowStream(4, stack=2, backbone="resnet18").eval()


def tiny_joint(seed: int) -> TwoStream:
    return TwoStream(tiny(seed), tiny_flow(seed + 10), 4).eval()


@pytest.mark.parametrize("make, sizes", [(tiny_flow, ["flow"]), (tiny_joint, ["frames", "flow"])])
def test_round_trip_of_the_other_networks(make, sizes):
    source, target = make(0), make(1)
    inputs = {"frames": torch.randn(1, 2, 3, 64, 64), "flow": torch.randn(1, 4, 64, 64)}
    inputs = {key: inputs[key] for key in sizes}
    assert not torch.equal(source(**inputs).logits, target(**inputs).logits)
    load_reference_state(target, {f"module.{k}": v for k, v in reference_state(source).items()})
    assert torch.equal(source(**inputs).logits, target(**inputs).logits)
    again = target.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in source.state_dict().items())


def test_published_names_of_the_other_networks():
    flow = reference_state(tiny_flow(0))
    torchvisions = set(FrameClassifier(4, backbone="resnet18").backbone.resnet.state_dict())
    assert set(flow) == torchvisions - {"fc.weight", "fc.bias"} | {"fc_action.weight", "fc_action.bias"}
    assert flow["conv1.weight"].shape[1] == 4
    joint = reference_state(tiny_joint(0))
    expected = {f"flowModel.{key}" for key in flow} | {
        f"frameModel.{key}" for key in reference_state(tiny(0))
    }
    assert set(joint) == expected | {f"{k}.{p}" for k in ("fc2", "classifier.1") for p in ("weight", "bias")}
    assert joint["classifier.1.weight"] is joint["fc2.weight"] and joint["fc2.weight"].shape == (
        4,
        FEATURES + 3,
    )


def test_a_joint_checkpoint_fills_each_stream_with_its_own():
    joint, source = tiny_joint(1), tiny_joint(0)
    load_reference_state(joint, reference_state(source))
    alone, flow_alone = tiny(5), tiny_flow(5)
    state = reference_state(source)
    load_reference_state(alone, {k[len("frameModel.") :]: v for k, v in state.items() if "frameModel" in k})
    load_reference_state(
        flow_alone, {k[len("flowModel.") :]: v for k, v in state.items() if "flowModel" in k}
    )
    assert torch.equal(alone.temporal.cell.hidden_conv.weight, joint.rgb.temporal.cell.hidden_conv.weight)
    assert torch.equal(flow_alone.backbone.resnet.fc.weight, joint.flow.backbone.resnet.fc.weight)


def test_misfits_of_a_joint_checkpoint_name_the_first_five_and_change_nothing():
    model = tiny_joint(1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = reference_state(tiny_joint(0))
    gone = [key for key in state if key.startswith("flowModel.layer4")][:7]
    for key in gone:
        del state[key]
    with pytest.raises(UserError, match=r"\b[67] keys missing") as error:
        load_reference_state(model, state | {"extra.weight": torch.zeros(1)})
    named = [key for key in gone if repr(key) in str(error.value)]
    assert len(named) == 5 and "1 unexpected ['extra.weight']" in str(error.value)
    torn = reference_state(tiny_joint(0))
    torn["frameModel.weight_softmax"] = torn["frameModel.weight_softmax"] + 1
    with pytest.raises(UserError, match=r"frameModel\.weight_softmax"):
        load_reference_state(model, torn)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_round_trip_gives_the_same_network():
    source, target = tiny(0), tiny(1)
    frames = torch.randn(1, 2, 3, 32, 32)
    load_reference_state(target, {f"module.{k}": v for k, v in reference_state(source).items()})
    assert torch.equal(source(frames).logits, target(frames).logits)


def test_each_published_gate_lands_in_its_gate():
    """A published cell with one gate forced open or shut behaves as that gate should."""
    model = tiny(0)
    state = {key: torch.zeros_like(value) for key, value in reference_state(model).items()}
    state["lstm_cell.conv_i_xx.bias"] += 50.0  # i = 1
    state["lstm_cell.conv_c_xx.bias"] += 0.3  # c~ = tanh(0.3)
    maps = torch.randn(1, 3, FEATURES, 2, 2)
    load_reference_state(model, state)
    candidate = torch.tanh(torch.tensor(0.3))
    # f = sigmoid(0) = 1/2, so after three steps c = c~ (1 + 1/2 + 1/4).
    torch.testing.assert_close(model.temporal.cell(maps), (candidate * 1.75).expand(1, 3, 2, 2))
    state["lstm_cell.conv_f_xx.bias"] -= 50.0  # f = 0
    load_reference_state(model, state)
    torch.testing.assert_close(model.temporal.cell(maps), candidate.expand(1, 3, 2, 2))


def test_names_are_the_published_ones():
    state = reference_state(tiny(0))
    expected = {f"lstm_cell.conv_{g}_{k}" for g in "ifco" for k in ("xx.weight", "xx.bias", "hh.weight")}
    expected |= {"fc.weight", "fc.bias", "classifier.1.weight", "classifier.1.bias", "weight_softmax"}
    assert {key for key in state if not key.startswith("resNet.")} == expected
    assert "resNet.layer4.1.conv2.weight" in state


def test_old_checkpoints_without_batch_counters_and_aliases_load():
    state = reference_state(tiny(0))
    old = {k: v for k, v in state.items() if "num_batches" not in k and k != "weight_softmax"}
    load_reference_state(tiny(1), old)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "alias", "extra bias"])
def test_misfits_are_refused_by_name_and_change_nothing(change):
    model = tiny(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = reference_state(tiny(1))
    if change == "missing":
        del state["lstm_cell.conv_o_hh.weight"]
        named = "conv_o_hh"
    elif change == "unexpected":
        state["flowModel.conv1.weight"] = torch.zeros(1)
        named = "flowModel.conv1.weight"
    elif change == "shape":
        state["fc.weight"] = state["classifier.1.weight"] = torch.zeros(61, 3)
        named = "61"
    elif change == "alias":
        state["weight_softmax"] = state["weight_softmax"] + 1
        named = "weight_softmax"
    else:
        state["lstm_cell.conv_i_hh.bias"] = torch.zeros(3)
        named = "conv_i_hh.bias"
    with pytest.raises(UserError, match=named):
        load_reference_state(model, state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_models_without_a_published_form():
    with pytest.raises(UserError, match="FrameClassifier has no published form"):
        reference_state(FrameClassifier(4, backbone="resnet18"))
    with pytest.raises(UserError, match="--attention none"):
        reference_state(EgoRNN(4, backbone="resnet18", attention="none"))


def test_a_model_without_convlstm_has_no_published_form():
    with pytest.raises(UserError, match="ConvLSTM"):
        reference_state(EgoRNN(4, backbone="resnet18", temporal="avgpool"))
