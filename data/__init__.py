"""Clips on disk: index, sampling, transforms, parts of an input, and the commands that make and check trees.

The names below are loaded when first used: torch takes seconds to import, and the worker processes of
`data.synthetic` and `data.motion` can do without it.
"""

from typing import Literal

from core.names import loading

Method = Literal["tvl1", "dis", "deepflow", "farneback"]
"""How flow is computed."""

_HOMES = {
    "Clip": "data.clips",
    "Fault": "data.clips",
    "Series": "data.clips",
    "ClipIndex": "data.index",
    "rgb_frame_numbers": "data.sampling",
    "flow_stack_starts": "data.sampling",
    "flow_centre_start": "data.sampling",
    "flow_random_start": "data.sampling",
    "Draw": "data.transforms",
    "Preprocessing": "data.transforms",
    "ClipDataset": "data.parts",
    "ClipInput": "data.parts",
    "Flow": "data.parts",
    "Frames": "data.parts",
    "Maps": "data.parts",
    "read_input": "data.parts",
    "PictureIndex": "data.pictures",
    "Pictures": "data.pictures",
    "EpochSampler": "data.epochs",
    "draws_for_epoch": "data.epochs",
    "evaluation_keys": "data.epochs",
    "check_split": "data.split",
    "hold_out": "data.split",
    "stratified_split": "data.split",
}

__all__ = list(_HOMES)
__getattr__ = loading(__name__, _HOMES)
