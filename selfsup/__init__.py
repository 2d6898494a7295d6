"""Motion segmentation as a self-supervised task; the names below are loaded when first used."""

from importlib import import_module
from typing import Any

_HOMES = {
    "MotionHead": "selfsup.head",
    "MotionHeads": "selfsup.head",
    "MotionLoss": "selfsup.losses",
    "MotionSegmentation": "selfsup.task",
    "MotionSettings": "selfsup.settings",
    "MotionTarget": "selfsup.targets",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'selfsup' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
