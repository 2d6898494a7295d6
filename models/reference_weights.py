"""Checkpoints published with Ego-RNN, under their own names, into our models and back.

An alias is a second name under which the published networks save the same tensor.
"""

import torch
from torch import Tensor, nn

from core.errors import UserError
from models.convlstm import ConvLSTM
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.two_stream import TwoStream

State = dict[str, Tensor]

# Our stacked gates in the order of models.convlstm.GATES, by the letter the published names use.
_GATE_LETTERS = ("i", "f", "c", "o")
_RGB_ALIASES = {
    "weight_softmax": "resNet.fc.weight",
    "classifier.1.weight": "fc.weight",
    "classifier.1.bias": "fc.bias",
}
_JOINT_ALIASES = {"classifier.1.weight": "fc2.weight", "classifier.1.bias": "fc2.bias"}
_RESNET, _RGB, _FLOW = "resNet.", "frameModel.", "flowModel."


def reference_state(model: nn.Module) -> State:
    """Return a model's weights under the published names, aliases included.

    Args:
        model: An EgoRNN with CAM attention and the ConvLSTM, a FlowStream, or a TwoStream of these. Motion
            heads have no published names and are left out.

    Raises:
        UserError: Published checkpoints have no place for such a model.
    """
    state = _originals(model)
    return state | {alias: state[key] for alias, key in _aliases(model).items()}


def load_reference_state(model: nn.Module, state: State) -> None:
    """Copy a published checkpoint into `model`, all of it or nothing.

    Args:
        model: Of the checkpoint's kind, backbone, hidden size, stack and number of classes.
        state: Tensors by published name; a "module." prefix from data-parallel training is accepted.

    Raises:
        UserError: Keys are missing, unexpected, of another shape, or an alias disagrees with its original;
            the message names the first five.
    """
    state = without_parallel_prefix(state)
    _check(state, reference_state(model), _aliases(model))
    _load(model, state)


def without_parallel_prefix(state: State) -> State:
    """Take off the "module." that data-parallel training puts before every name."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def _originals(model: nn.Module) -> State:
    if isinstance(model, EgoRNN):
        return _rgb_originals(model)
    if isinstance(model, FlowStream):
        resnet = model.backbone.resnet.state_dict()
        return {_published_flow_name(key): value for key, value in resnet.items()}
    if isinstance(model, TwoStream):
        streams = _prefixed(_FLOW, _originals(model.flow)) | _prefixed(_RGB, _originals(model.rgb))
        return streams | _prefixed("fc2.", model.classifier.state_dict())
    raise UserError(
        f"a {type(model).__name__} has no published form; there is one for the RGB, the flow and the "
        "two-stream network"
    )


def _aliases(model: nn.Module) -> dict[str, str]:
    """Second names by alias."""
    if isinstance(model, EgoRNN):
        return _RGB_ALIASES
    if isinstance(model, TwoStream):
        return {_RGB + alias: _RGB + key for alias, key in _RGB_ALIASES.items()} | _JOINT_ALIASES
    return {}


def _rgb_originals(model: EgoRNN) -> State:
    if model.attention != "cam":
        raise UserError(
            "published checkpoints have CAM attention; a run with --attention none has no such form"
        )
    state = _prefixed(_RESNET, model.backbone.resnet.state_dict())
    cell = _cell(model)
    assert cell.input_conv.bias is not None
    for kind, stacked in (
        ("xx.weight", cell.input_conv.weight),
        ("xx.bias", cell.input_conv.bias),
        ("hh.weight", cell.hidden_conv.weight),
    ):
        for letter, gate in zip(_GATE_LETTERS, stacked.detach().chunk(4), strict=True):
            state[f"lstm_cell.conv_{letter}_{kind}"] = gate.clone()
    return state | _prefixed("fc.", model.classifier.state_dict())


def _load(model: nn.Module, state: State) -> None:
    """Copy tensors that were checked."""
    if isinstance(model, EgoRNN):
        _load_rgb(model, state)
    elif isinstance(model, FlowStream):
        _load_over(model.backbone.resnet, {_own_flow_name(key): value for key, value in state.items()})
    elif isinstance(model, TwoStream):
        _load(model.flow, _under(_FLOW, state))
        _load(model.rgb, _under(_RGB, state))
        model.classifier.load_state_dict(_under("fc2.", state))


def _load_rgb(model: EgoRNN, state: State) -> None:
    _load_over(model.backbone.resnet, _under(_RESNET, state))
    model.classifier.load_state_dict(_under("fc.", state))
    _cell(model).load_state_dict(
        {
            "input_conv.weight": _stack(state, "xx.weight"),
            "input_conv.bias": _stack(state, "xx.bias"),
            "hidden_conv.weight": _stack(state, "hh.weight"),
        }
    )


def _load_over(module: nn.Module, state: State) -> None:
    """Load what is there; checkpoints from before batch norm counted its batches lack the counters."""
    module.load_state_dict({**module.state_dict(), **state})


def _prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def _under(prefix: str, state: State) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _published_flow_name(key: str) -> str:
    return key.replace("fc.", "fc_action.", 1) if key.startswith("fc.") else key


def _own_flow_name(key: str) -> str:
    return key.replace("fc_action.", "fc.", 1) if key.startswith("fc_action.") else key


def _cell(model: EgoRNN) -> ConvLSTM:
    cell = getattr(model.temporal, "cell", None)
    if not isinstance(cell, ConvLSTM):
        raise UserError("published checkpoints hold a ConvLSTM; build the model with temporal='convlstm'")
    return cell


def _stack(state: State, kind: str) -> Tensor:
    return torch.cat([state[f"lstm_cell.conv_{letter}_{kind}"] for letter in _GATE_LETTERS])


def _check(state: State, own: State, aliases: dict[str, str]) -> None:
    optional = set(aliases) | {key for key in own if key.endswith("num_batches_tracked")}
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
    torn = [alias for alias, key in aliases.items() if alias in state and not state[alias].equal(state[key])]
    if torn:
        raise UserError(
            f"the checkpoint contradicts itself: {torn[:5]} should equal {[aliases[a] for a in torn[:5]]}"
        )
