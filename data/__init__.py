"""Clips on disk: index, sampling, transforms, datasets, and the commands that make and check trees.

The names below are loaded when first used: torch takes seconds to import, and the worker processes of
`data.synthetic` and `data.motion` can do without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.clips import Clip, Fault, Series
    from data.datasets import FlowStacks, RgbClips, SingleFrames
    from data.epochs import EpochSampler, draws_for_epoch, evaluation_keys
    from data.image_folder import PictureIndex, Pictures
    from data.index import ClipIndex
    from data.sampling import flow_centre_start, flow_random_start, flow_stack_starts, rgb_frame_numbers
    from data.split import check_split, hold_out, stratified_split
    from data.transforms import Draw, Preprocessing

_HOMES = {
    "data.clips": ("Clip", "Fault", "Series"),
    "data.datasets": ("FlowStacks", "RgbClips", "SingleFrames"),
    "data.epochs": ("EpochSampler", "draws_for_epoch", "evaluation_keys"),
    "data.image_folder": ("PictureIndex", "Pictures"),
    "data.index": ("ClipIndex",),
    "data.sampling": ("flow_centre_start", "flow_random_start", "flow_stack_starts", "rgb_frame_numbers"),
    "data.split": ("check_split", "hold_out", "stratified_split"),
    "data.transforms": ("Draw", "Preprocessing"),
}

__all__ = [
    "Clip",
    "ClipIndex",
    "Draw",
    "EpochSampler",
    "Fault",
    "FlowStacks",
    "PictureIndex",
    "Pictures",
    "Preprocessing",
    "RgbClips",
    "Series",
    "SingleFrames",
    "check_split",
    "draws_for_epoch",
    "evaluation_keys",
    "flow_centre_start",
    "flow_random_start",
    "flow_stack_starts",
    "hold_out",
    "rgb_frame_numbers",
    "stratified_split",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'data' has no attribute {name!r}")
