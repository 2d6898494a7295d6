"""Decodes the images of a clip, PNG and JPEG by one decoder, so that equal pixels train to equal numbers."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from data.clips import Series
from data.transforms import scale_short_side

# Orientation tags of cameras are ignored: the header's size is then the decoded size, as the checks assume.
_RGB = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION


def read_rgb(path: Path) -> Tensor:
    """Decode a colour image.

    Returns:
        RGB, uint8. Shape: (3, H, W).

    Raises:
        UserError: The file is missing or can't be decoded.
    """
    bgr = _decode(path, _RGB)
    return torch.from_numpy(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)


def read_grey(path: Path) -> Tensor:
    """Decode a flow image or a motion map; of three equal channels one is kept.

    Returns:
        Grey levels, uint8. Shape: (1, H, W).

    Raises:
        UserError: The file is missing or can't be decoded.
    """
    return torch.from_numpy(_decode(path, _GREY)).unsqueeze(0)


def read_frames(series: Series, numbers: Sequence[int]) -> Tensor:
    """Decode the frames of a clip; a number that is asked for twice is decoded once.

    Args:
        series: The clip's frames.
        numbers: Frame numbers, from 1. Length: T.

    Returns:
        RGB, uint8. Shape: (T, 3, H, W).

    Raises:
        UserError: A frame is missing, can't be decoded or has another size than the others.
    """
    images = {number: read_rgb(series.path(number)) for number in sorted(set(numbers))}
    return _stack(images, series, numbers)


def read_maps(series: Series, numbers: Sequence[int]) -> Tensor:
    """Decode motion maps or flow images, the nearest one where a number is missing.

    Args:
        series: The clip's maps, or its flow along one axis.
        numbers: Image numbers, from 1. Length: T.

    Returns:
        Grey levels, uint8. Shape: (T, 1, H, W).

    Raises:
        UserError: An image can't be decoded or has another size than the others.
    """
    return _stack(
        {number: read_grey(series.nearest(number)) for number in sorted(set(numbers))}, series, numbers
    )


class FrameReader:
    """Decodes and scales frames whenever they are asked for."""

    def read(self, series: Series, numbers: Sequence[int], short_side: int) -> Tensor:
        """Read frames of a clip.

        Args:
            series: The clip's frames.
            numbers: Frame numbers, from 1. Length: T.
            short_side: Pixels that the shorter side is scaled to.

        Returns:
            RGB, uint8. Shape: (T, 3, H, W).

        Raises:
            UserError: A frame is missing, can't be decoded or has another size than the others.
        """
        return scale_short_side(read_frames(series, numbers), short_side)


def _stack(images: dict[int, Tensor], series: Series, numbers: Sequence[int]) -> Tensor:
    if len({image.shape for image in images.values()}) > 1:
        raise UserError(f"{series.folder}: images of different sizes; `python -m data.check` names them")
    return torch.stack([images[number] for number in numbers])


def _decode(path: Path, flags: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imread(str(path), flags) if path.is_file() else None
    if image is None:
        problem = "can't be decoded" if path.is_file() else "is missing"
        raise UserError(f"{path} {problem}; copy it again and run `python -m data.check` on the tree")
    return np.asarray(image, dtype=np.uint8)
