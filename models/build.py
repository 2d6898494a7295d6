"""Models from the plain description that every checkpoint carries.

The motion heads come from `selfsup`, which knows nothing of the networks that carry them.
"""

from typing import Any

import torch
from torch import nn

from core.errors import UserError
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.frame_classifier import FrameClassifier
from models.two_stream import TwoStream
from selfsup.head import MotionHead, MotionHeads

_CLASSES: dict[str, type[nn.Module]] = {
    model.__name__: model
    for model in (EgoRNN, FlowStream, FrameClassifier, MotionHead, MotionHeads, TwoStream)
}


def build_model(architecture: dict[str, Any]) -> nn.Module:
    """Build an untrained model.

    Args:
        architecture: "name" of the class and its arguments, as a checkpoint stores them; an argument that is
            a model itself (a stream of the two-stream network, a motion head) is described in the same way.

    Raises:
        UserError: No model of that name.
    """
    arguments = {k: build_model(v) if isinstance(v, dict) else v for k, v in architecture.items()}
    name = arguments.pop("name", None)
    if name not in _CLASSES:
        raise UserError(f"no model is called {name!r}; there are {sorted(_CLASSES)}")
    return _CLASSES[name](**arguments)


def build_trained(architecture: dict[str, Any], weights: dict[str, Any], where: str) -> nn.Module:
    """Build a model as a checkpoint describes it, with the checkpoint's weights.

    Args:
        architecture: As for `build_model`.
        weights: Tensors by name.
        where: Names the checkpoint in messages.

    Raises:
        UserError: There is no such model, or the weights are not those of it. A description of a size that
            the weights don't have is met before such a model takes memory.
    """
    try:
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in build_model(architecture).state_dict().items()}
        found = {name: getattr(value, "shape", None) for name, value in weights.items()}
        wrong = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
        if wrong:
            raise ValueError(f"it has other weights than such a network ({len(wrong)}, such as {wrong[0]})")
        model = build_model(architecture)
        model.load_state_dict(weights)
    except Exception as error:  # what a stranger describes may be wrong in any way
        raise UserError(f"{where} holds no network that can be built: {error}") from None
    return model
