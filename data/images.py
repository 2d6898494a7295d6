"""Reads the images of a clip as tensors. Axes: T frames, H W pixels."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.errors import UserError
from data.clips import Series
from data.decoding import BadImage, Pixels, decode_grey, decode_rgb, read_size
from data.transforms import scale_short_side


def read_rgb(path: Path) -> Tensor:
    """Decode a colour image as RGB, uint8 (3, H, W).

    Raises:
        UserError: The file is missing or can't be decoded.
    """
    return torch.from_numpy(_read(path, decode_rgb)).permute(2, 0, 1)


def read_grey(path: Path) -> Tensor:
    """Decode a flow image or a motion map as grey levels, uint8 (1, H, W).

    Raises:
        UserError: The file is missing or can't be decoded.
    """
    return torch.from_numpy(_read(path, decode_grey)).unsqueeze(0)


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


def scaled_size(path: Path, short_side: int) -> tuple[int, int]:
    """Read an image's size from its header, scaled as its frames are: (H, W).

    Raises:
        BadImage: It is missing or damaged.
    """
    width, height = read_size(path)
    long_side = short_side * max(width, height) // min(width, height)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def _stack(images: dict[int, Tensor], series: Series, numbers: Sequence[int]) -> Tensor:
    if len({image.shape for image in images.values()}) > 1:
        raise UserError(f"{series.folder}: images of different sizes; `python -m data.check` names them")
    return torch.stack([images[number] for number in numbers])


def _read(path: Path, decode: Callable[[Path], Pixels]) -> Pixels:
    try:
        return decode(path)
    except BadImage as bad:
        message = f"{path}: {bad}; copy it again (`python -m data.check` checks all images of a tree)"
        raise UserError(message) from None
