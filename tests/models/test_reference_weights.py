"""Published checkpoints: names, gate order, aliases, refusals."""

import pytest
import torch

from engine.errors import UserError
from models import EgoRNN, load_reference_state, reference_state


def tiny(seed: int) -> EgoRNN:
    torch.manual_seed(seed)
    return EgoRNN(4, backbone="resnet18", hidden=3, backbone_classes=6).eval()


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
    maps = torch.randn(1, 3, 512, 2, 2)
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


def test_a_model_without_convlstm_has_no_published_form():
    with pytest.raises(UserError, match="ConvLSTM"):
        reference_state(EgoRNN(4, backbone="resnet18", temporal="avgpool"))
