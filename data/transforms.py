"""Preprocessing and augmentation of a clip: one draw, shared by its frames, its flow and its motion maps.

Axes: T frames, C channels, H and W pixels, S pixels a side of what the network sees.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from core.errors import UserError

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
# The means of the three RGB values, as in Ego-RNN's code.
FLOW_MEAN = (0.449,)
FLOW_STD = (0.226,)

SCALES = (1.0, 0.875, 0.75, 0.65625)
POSITIONS = ("centre", "top left", "top right", "bottom left", "bottom right")
NUM_DRAWS = len(SCALES) * len(POSITIONS) * 2


@dataclass(frozen=True, order=True)
class Draw:
    """One of the 40 ways a training clip is cropped and flipped (multi-scale corner crop, Ego-RNN section 4).

    Attributes:
        scale: Position in `SCALES`, the crop's side as a share of the short side.
        position: Position in `POSITIONS`, where the crop lies in the flipped image.
        flip: Whether left and right are swapped, before the crop.
    """

    scale: int
    position: int
    flip: bool

    def __post_init__(self) -> None:
        """Refuse positions outside the tables."""
        if not (0 <= self.scale < len(SCALES) and 0 <= self.position < len(POSITIONS)):
            raise ValueError(f"scale should be in [0, 3] and position in [0, 4], got {self}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Draw uniformly among the 40."""
        return cls.from_number(int(rng.integers(NUM_DRAWS)))

    @classmethod
    def from_number(cls, number: int) -> Self:
        """Give draw `number`, in [0, 39]."""
        rest, flip = divmod(number, 2)
        scale, position = divmod(rest, len(POSITIONS))
        return cls(scale, position, bool(flip))

    @property
    def number(self) -> int:
        """Position among the 40 draws, for caches and logs."""
        return (self.scale * len(POSITIONS) + self.position) * 2 + self.flip


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input; it is saved with the weights.

    Attributes:
        image_size: Pixels a side of the network's input, S.
        short_side: Pixels that the shorter side of a frame is scaled to before cropping.
        mean: Subtracted from values in [0, 1], one a channel or one for all.
        std: Divides them then.
    """

    image_size: int
    short_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse sizes that no network of ours can take.

        Raises:
            UserError: The image size is below 32, or the short side is below the image size.
        """
        if self.image_size < 32:
            raise UserError(f"--image-size should be at least 32 pixels, got {self.image_size}")
        if self.short_side < self.image_size:
            raise UserError(f"short side {self.short_side} is below the image size {self.image_size}")

    @classmethod
    def rgb(cls, image_size: int = 224) -> Self:
        """Preprocess frames: short side 8/7 of the image size (256 for 224), ImageNet's mean and std."""
        return cls(image_size, short_side_of(image_size), RGB_MEAN, RGB_STD)

    @classmethod
    def flow(cls, image_size: int = 224) -> Self:
        """Preprocess flow images: the same geometry as frames, one mean and std for all channels."""
        return cls(image_size, short_side_of(image_size), FLOW_MEAN, FLOW_STD)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Take back what `to_dict` gave."""
        return cls(**(dict(values) | {"mean": tuple(values["mean"]), "std": tuple(values["std"])}))

    @property
    def seen_share(self) -> float:
        """Side of the test's centre crop as a share of a frame's short side, in (0, 1]."""
        return self.image_size / self.short_side

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that any file format holds."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class Box:
    """A square of pixels, `side` a side, its first column at `left` and its first row at `top`."""

    left: int
    top: int
    side: int


def short_side_of(image_size: int) -> int:
    """Give 8/7 of the image size, rounded: 256 for 224, 128 for 112."""
    return (16 * image_size + 7) // 14


def crop_box(width: int, height: int, image_size: int, draw: Draw | None) -> Box:
    """Place the crop in an image whose short side is already scaled.

    Args:
        width: Pixels across.
        height: Pixels down.
        image_size: Side of the test's centre crop.
        draw: The training crop; None is the centre crop of the test.

    Returns:
        A box inside the image.
    """
    if draw is None:
        # As the released code: half a pixel is rounded here, and cut off in training.
        return Box(round((width - image_size) / 2), round((height - image_size) / 2), image_size)
    side = int(min(width, height) * SCALES[draw.scale])
    right, bottom = width - side, height - side
    corners = ((right // 2, bottom // 2), (0, 0), (right, 0), (0, bottom), (right, bottom))
    return Box(*corners[draw.position], side)


def scale_short_side(images: Tensor, short_side: int, interpolation: InterpolationMode) -> Tensor:
    """Scale images so that the short side has `short_side` pixels; bit for bit the same if it has already.

    Args:
        images: uint8. Shape: (T, C, H, W).
        short_side: Pixels.
        interpolation: How; bilinear is antialiased, as PIL does it.

    Returns:
        uint8. Shape: (T, C, H', W') with the long side cut to whole pixels.
    """
    if min(images.shape[-2:]) == short_side:
        return images
    scaled: Tensor = F.resize(images, [short_side], interpolation=interpolation, antialias=True)
    return scaled


def scale_frames(frames: Tensor, short_side: int) -> Tensor:
    """Scale RGB frames (T, 3, H, W), uint8, as `transform_frames` does before it crops."""
    return scale_short_side(frames, short_side, InterpolationMode.BILINEAR)


def crop_clip(
    images: Tensor,
    preprocessing: Preprocessing,
    draw: Draw | None,
    *,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
) -> Tensor:
    """Scale, flip, crop and scale all images of a clip in the same way.

    Args:
        images: uint8. Shape: (T, C, H, W).
        preprocessing: The sizes.
        draw: The training clip's draw; None is the centre crop of the test.
        interpolation: Bilinear with antialiasing unless told otherwise.

    Returns:
        uint8. Shape: (T, C, S, S).
    """
    images = scale_short_side(images, preprocessing.short_side, interpolation)
    if draw is not None and draw.flip:
        images = F.horizontal_flip(images)
    box = crop_box(images.shape[-1], images.shape[-2], preprocessing.image_size, draw)
    crop = F.crop(images, box.top, box.left, box.side, box.side)
    return scale_short_side(crop, preprocessing.image_size, interpolation)


def transform_frames(frames: Tensor, preprocessing: Preprocessing, draw: Draw | None) -> Tensor:
    """Turn the RGB frames of a clip into the network's input.

    Args:
        frames: RGB, uint8. Shape: (T, 3, H, W).
        preprocessing: Sizes, mean and std.
        draw: The training clip's draw; None is the centre crop of the test.

    Returns:
        Normalised float32. Shape: (T, 3, S, S).
    """
    return normalise(crop_clip(frames, preprocessing, draw), preprocessing)


def transform_flow(flow_x: Tensor, flow_y: Tensor, preprocessing: Preprocessing, draw: Draw | None) -> Tensor:
    """Turn flow images into the flow stream's input; on a flip, motion left becomes motion right.

    Args:
        flow_x: Horizontal flow as stored, about 128 where nothing moves, uint8. Shape: (T, 1, H, W).
        flow_y: Vertical flow likewise. Shape: (T, 1, H, W).
        preprocessing: Sizes, mean and std.
        draw: The clip's draw, the same as for its frames; None is the centre crop of the test.

    Returns:
        Normalised float32, channels x1, y1, ..., xT, yT. Shape: (2 * T, S, S).
    """
    if draw is not None and draw.flip:
        flow_x = 255 - flow_x
    pairs = torch.cat([flow_x, flow_y], dim=1)
    return normalise(crop_clip(pairs, preprocessing, draw), preprocessing).flatten(0, 1)


def transform_maps(maps: Tensor, preprocessing: Preprocessing, draw: Draw | None) -> Tensor:
    """Crop the motion maps of a clip as its frames are cropped; 0 and 255 stay 0 and 255, never normalised.

    Args:
        maps: uint8. Shape: (T, 1, H, W).
        preprocessing: The sizes; mean and std are not used.
        draw: The clip's draw, the same as for its frames; None is the centre crop of the test.

    Returns:
        uint8, each pixel the nearest of the map. Shape: (T, 1, S, S).
    """
    return crop_clip(maps, preprocessing, draw, interpolation=InterpolationMode.NEAREST_EXACT)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Scale uint8 to [0, 1], subtract the mean, divide by the std.

    Args:
        images: uint8. Shape: (T, C, H, W).
        preprocessing: Mean and std, one a channel or one for all.

    Returns:
        float32 of the same shape.
    """
    assert images.dtype == torch.uint8, f"pixels are normalised once, from uint8; these are {images.dtype}"
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    scaled: Tensor = F.to_dtype(images, torch.float32, scale=True)
    return scaled.sub_(mean).div_(std)
