"""Models from the plain description that every checkpoint carries."""

from typing import Any

from torch import nn

from engine.errors import UserError
from models.egornn import EgoRNN
from models.frame_classifier import FrameClassifier

_CLASSES: dict[str, type[nn.Module]] = {"EgoRNN": EgoRNN, "FrameClassifier": FrameClassifier}


def build_model(architecture: dict[str, Any]) -> nn.Module:
    """Build an untrained model.

    Args:
        architecture: "name" of the class and its arguments, as a checkpoint stores them.

    Raises:
        UserError: No model of that name.
    """
    arguments = dict(architecture)
    name = arguments.pop("name", None)
    if name not in _CLASSES:
        raise UserError(f"no model is called {name!r}; there are {sorted(_CLASSES)}")
    return _CLASSES[name](**arguments)
