"""Masks of a clip's frames: true ones of the synthetic kitchen, and motion maps.

Axes: T frames, N frames of the whole clip, H W pixels, S pixels a side of what the network sees.
"""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.errors import UserError
from data.clips import Clip
from data.images import read_maps
from data.sampling import Numbers
from data.transforms import Preprocessing, transform_maps
from data.tree import truth_file

TRUE_MASKS = ("hand", "object", "moving")


def clip_masks(root: Path, clip: Clip, numbers: Numbers, pixels: Preprocessing) -> dict[str, Tensor]:
    """Read the masks that a clip has, through the centre crop of the test.

    Args:
        root: The tree.
        clip: One of its clips.
        numbers: Frame numbers, from 1. Shape: (T,).
        pixels: How the frames are scaled and cropped.

    Returns:
        "hand", "object" (the one acted on) and "moving" where the tree has truth, "motion_map" where the clip
        has motion maps. uint8, 0 or 255 (maps: their grey levels). Shapes: (T, 1, S, S).

    Raises:
        UserError: The truth or a map can't be read, or does not fit the frames.
    """
    masks: dict[str, Tensor] = {}
    truth = truth_file(root, clip.user, clip.action, clip.instance)
    if truth.is_file():
        for name, mask in _read_truth(truth, clip.num_frames).items():
            masks[name] = torch.from_numpy(mask[numbers - 1].astype(np.uint8) * 255)[:, None]
    if clip.maps is not None:
        masks["motion_map"] = read_maps(clip.maps, numbers.tolist())
    return {name: transform_maps(mask, pixels, None) for name, mask in masks.items()}


def _read_truth(path: Path, num_frames: int) -> dict[str, npt.NDArray[np.bool_]]:
    remedy = "render the kitchen again, or remove the file"
    try:
        with np.load(path) as truth:
            masks = {name: truth[name] for name in TRUE_MASKS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} holds no truth of the synthetic kitchen ({error}); {remedy}") from None
    if any(len(mask) != num_frames for mask in masks.values()):
        raise UserError(f"{path} does not fit its clip, which has {num_frames} frames; {remedy}")
    return masks
