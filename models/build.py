"""Models from the plain description that every checkpoint carries.

The motion heads come from `selfsup`, which knows nothing of the networks that carry them.
"""

from typing import Any

from torch import nn

from engine.errors import UserError
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
