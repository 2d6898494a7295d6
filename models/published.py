"""Reads a published Ego-RNN checkpoint without being told what is in it: its names and shapes say it."""

from typing import Any

from torch import Tensor, nn

from core.errors import UserError
from models.build import build_model
from models.reference_weights import State, load_reference_state, without_parallel_prefix


def read_published(content: dict[str, Any]) -> tuple[dict[str, Any], nn.Module]:
    """Build the network that a checkpoint was saved from, with its weights.

    Args:
        content: What the file holds: tensors by published name, alone or under "state_dict".

    Returns:
        The architecture, as `models.build_model` takes it, and the network.

    Raises:
        UserError: It is no published RGB, flow or two-stream network, or keys are missing, unexpected or of
            another shape; the message names the first five.
    """
    inner = content.get("state_dict")
    tensors = inner if isinstance(inner, dict) else content
    if odd := [str(key) for key, value in tensors.items() if not isinstance(value, Tensor)]:
        raise UserError(f"the checkpoint should hold tensors by name; {odd[:5]} are none")
    state = without_parallel_prefix(tensors)
    architecture = published_architecture(state)
    model = build_model(architecture)
    load_reference_state(model, state)
    return architecture, model


def published_architecture(state: State) -> dict[str, Any]:
    """Tell a network's architecture from the names and shapes of its published weights.

    Sizes that can't be told, since their tensor is missing, are the published ones.

    Raises:
        UserError: The names are of none of the three networks.
    """
    if any(key.startswith(("flowModel.", "frameModel.")) for key in state):
        streams = {"rgb": _rgb(state, "frameModel."), "flow": _flow(state, "flowModel.")}
        return {"name": "TwoStream", **streams, "num_classes": _size(state, "fc2.weight", 0, 61)}
    if any(key.startswith("resNet.") for key in state):
        return _rgb(state, "")
    if any(key.startswith("fc_action.") for key in state):
        return _flow(state, "")
    raise UserError(
        "no published Ego-RNN network: looked for resNet.* (RGB), fc_action.* (flow), flowModel.* and "
        f"frameModel.* (two-stream), found {list(state)[:5]}"
    )


def _rgb(state: State, prefix: str) -> dict[str, Any]:
    return {
        "name": "EgoRNN",
        "num_classes": _size(state, f"{prefix}fc.weight", 0, 61),
        "backbone": _backbone(state, f"{prefix}resNet."),
        "attention": "cam",
        "temporal": "convlstm",
        "hidden": _size(state, f"{prefix}lstm_cell.conv_i_xx.weight", 0, 512),
        "backbone_classes": _size(state, f"{prefix}resNet.fc.weight", 0, 1000),
    }


def _flow(state: State, prefix: str) -> dict[str, Any]:
    return {
        "name": "FlowStream",
        "num_classes": _size(state, f"{prefix}fc_action.weight", 0, 61),
        "backbone": _backbone(state, prefix),
        "stack": _size(state, f"{prefix}conv1.weight", 1, 10) // 2,
    }


def _size(state: State, key: str, axis: int, published: int) -> int:
    tensor = state.get(key)
    return published if tensor is None or tensor.ndim <= axis else int(tensor.shape[axis])


def _backbone(state: State, prefix: str) -> str:
    """Tell a ResNet by its blocks: bottlenecks have a third convolution, the 34 has six blocks in layer3."""
    if f"{prefix}layer1.0.conv3.weight" in state:
        return "resnet50"
    deep = any(key.startswith(f"{prefix}layer3.{block}.") for block in (2, 3, 4, 5) for key in state)
    return "resnet34" if deep else "resnet18"
