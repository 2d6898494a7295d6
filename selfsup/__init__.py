"""Motion segmentation as a self-supervised task; the names below are loaded when first used."""

from core.names import loading

_HOMES = {
    "MotionHead": "selfsup.head",
    "MotionHeads": "selfsup.head",
    "MotionLoss": "selfsup.losses",
    "MotionSegmentation": "selfsup.task",
    "MotionSettings": "selfsup.settings",
    "MotionTarget": "selfsup.targets",
}

__all__ = list(_HOMES)
__getattr__ = loading(__name__, _HOMES)
