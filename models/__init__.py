"""The networks of Ego-RNN, each part in a file named after it.

The names below are loaded when first used, so that a command loads the networks that it needs.
"""

from typing import Literal

from core.names import loading

StageName = Literal[1, 2, "joint"]
AttentionName = Literal["cam", "none"]
HeatName = Literal["attention", "cam", "gradcam"]

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
__getattr__ = loading(__name__, _HOMES)
