"""The networks of Ego-RNN, each part in a file named after it.

The names below are loaded when first used, so that a command loads the networks that it needs.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ClipModel": "models.base",
    "ClipOutput": "models.base",
    "EgoRNN": "models.egornn",
    "FlowStream": "models.flow_stream",
    "FrameClassifier": "models.frame_classifier",
    "TwoStream": "models.two_stream",
    "build_model": "models.build",
    "load_reference_state": "models.published",
    "reference_state": "models.published",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
