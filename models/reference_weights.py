"""Checkpoints published with Ego-RNN, under their own names, into our models and back."""

import torch
from torch import Tensor

from engine.errors import UserError
from models.convlstm import ConvLSTM
from models.egornn import EgoRNN

# Our stacked gates in the order of models.convlstm.GATES, by the letter the published names use.
_GATE_LETTERS = ("i", "f", "c", "o")
_ALIASES = {
    "weight_softmax": "resNet.fc.weight",
    "classifier.1.weight": "fc.weight",
    "classifier.1.bias": "fc.bias",
}


def reference_state(model: EgoRNN) -> dict[str, Tensor]:
    """Return the weights under the published names, aliases included.

    Args:
        model: An RGB stream with the ConvLSTM.

    Raises:
        UserError: The model has no ConvLSTM, which published checkpoints always have.
    """
    state = {f"resNet.{key}": value for key, value in model.backbone.resnet.state_dict().items()}
    cell = _cell(model)
    assert cell.input_conv.bias is not None
    for kind, stacked in (
        ("xx.weight", cell.input_conv.weight),
        ("xx.bias", cell.input_conv.bias),
        ("hh.weight", cell.hidden_conv.weight),
    ):
        for letter, gate in zip(_GATE_LETTERS, stacked.detach().chunk(4), strict=True):
            state[f"lstm_cell.conv_{letter}_{kind}"] = gate.clone()
    state |= {f"fc.{key}": value for key, value in model.classifier.state_dict().items()}
    return state | {alias: state[key] for alias, key in _ALIASES.items()}


def load_reference_state(model: EgoRNN, state: dict[str, Tensor]) -> None:
    """Copy a published RGB checkpoint into `model`, all of it or nothing.

    Args:
        model: An RGB stream of the checkpoint's backbone, hidden size and number of classes.
        state: Tensors by published name; a "module." prefix from data-parallel training is accepted.

    Raises:
        UserError: Keys are missing, unexpected, of another shape, or an alias disagrees with its original;
            the message names the first five.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    _check(state, reference_state(model))
    resnet = {k.removeprefix("resNet."): v for k, v in state.items() if k.startswith("resNet.")}
    model.backbone.resnet.load_state_dict({**model.backbone.resnet.state_dict(), **resnet})
    model.classifier.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    _cell(model).load_state_dict(
        {
            "input_conv.weight": _stack(state, "xx.weight"),
            "input_conv.bias": _stack(state, "xx.bias"),
            "hidden_conv.weight": _stack(state, "hh.weight"),
        }
    )


def _cell(model: EgoRNN) -> ConvLSTM:
    cell = getattr(model.temporal, "cell", None)
    if not isinstance(cell, ConvLSTM):
        raise UserError("published checkpoints hold a ConvLSTM; build the model with temporal='convlstm'")
    return cell


def _stack(state: dict[str, Tensor], kind: str) -> Tensor:
    return torch.cat([state[f"lstm_cell.conv_{letter}_{kind}"] for letter in _GATE_LETTERS])


def _check(state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    optional = set(_ALIASES) | {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional]
    unexpected = [key for key in state if key not in own]
    if missing or unexpected:
        raise UserError(
            f"the checkpoint does not fit: {len(missing)} keys missing {missing[:5]}, "
            f"{len(unexpected)} unexpected {unexpected[:5]}"
        )
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if value.shape != own[key].shape
    ]
    if shapes:
        raise UserError(f"the checkpoint does not fit, {len(shapes)} shapes differ: {shapes[:5]}")
    torn = [alias for alias, key in _ALIASES.items() if alias in state and not state[alias].equal(state[key])]
    if torn:
        raise UserError(
            f"the checkpoint contradicts itself: {torn} should equal {[_ALIASES[a] for a in torn]}"
        )
