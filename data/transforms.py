"""Preprocessing and augmentation of clips: a draw for each clip, shared by its frames, flow and motion maps.

The `transform_` functions take one clip (T, C, H, W) with its draw, or a batch (B, T, C, H, W) with a list of
draws; each clip of a batch gets the same bits as alone.

Axes: B clips, T frames, C channels, H and W pixels, S pixels a side of what the network sees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
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

    Raises:
        ValueError: A position lies outside its table.
    """

    scale: int
    position: int
    flip: bool

    def __post_init__(self) -> None:
        if not (0 <= self.scale < len(SCALES) and 0 <= self.position < len(POSITIONS)):
            raise ValueError(f"scale should be in [0, 3] and position in [0, 4], got {self}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Choose one of the 40 at random, each with the same probability."""
        return cls.from_number(int(rng.integers(NUM_DRAWS)))

    @classmethod
    def from_number(cls, number: int) -> Self:
        """Return the draw with a number in [0, 39]."""
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
        mean: Subtracted from values in [0, 1]; one for each channel, or one for all.
        std: What the difference is divided by.

    Raises:
        UserError: The image size is below 32, or the short side is below the image size.
    """

    image_size: int
    short_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.image_size < 32:
            raise UserError(f"--image-size should be at least 32 pixels, got {self.image_size}")
        if self.short_side < self.image_size:
            raise UserError(f"short side {self.short_side} is below the image size {self.image_size}")

    @classmethod
    def rgb(cls, image_size: int = 224) -> Self:
        """Preprocess frames: short side 8/7 of the image size (256 for 224), mean and std of ImageNet."""
        return cls(image_size, short_side_of(image_size), RGB_MEAN, RGB_STD)

    @classmethod
    def flow(cls, image_size: int = 224) -> Self:
        """Preprocess flow images: the same geometry as frames, one mean and std for all channels."""
        return cls(image_size, short_side_of(image_size), FLOW_MEAN, FLOW_STD)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restore from what `to_dict` returned."""
        return cls(**(dict(values) | {"mean": tuple(values["mean"]), "std": tuple(values["std"])}))

    @property
    def seen_share(self) -> float:
        """Side of the test's centre crop as a share of a frame's short side, in (0, 1]."""
        return self.image_size / self.short_side

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values that any file format holds."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


Orientation = tuple[tuple[int, ...], tuple[int, ...]]
"""Planes of an image in the order that is shown, and for each 255 where levels v become 255 - v, else 0."""

Draws = Draw | None | Sequence[Draw | None]
"""The draw of a clip (None is the centre crop of the test), or one for each clip of a batch."""


@dataclass(frozen=True)
class Crop:
    """A square of pixels with sides of `side`, its first column at `left` and its first row at `top`."""

    left: int
    top: int
    side: int


def short_side_of(image_size: int) -> int:
    """Compute 8/7 of the image size, rounded: 256 for 224, 128 for 112."""
    return (16 * image_size + 7) // 14


def place_crop(width: int, height: int, image_size: int, draw: Draw | None) -> Crop:
    """Place the crop in an image whose short side is already scaled.

    Args:
        width: Pixels across.
        height: Pixels down.
        image_size: Side of the test's centre crop.
        draw: The training crop; None is the centre crop of the test.

    Returns:
        A square inside the image.
    """
    if draw is None:
        # As in the released code: half a pixel is rounded here, and cut off in training.
        return Crop(round((width - image_size) / 2), round((height - image_size) / 2), image_size)
    side = int(min(width, height) * SCALES[draw.scale])
    right, bottom = width - side, height - side
    corners = ((right // 2, bottom // 2), (0, 0), (right, 0), (0, bottom), (right, bottom))
    return Crop(*corners[draw.position], side)


def place_in_file(width: int, height: int, image_size: int, draw: Draw | None) -> tuple[Crop, bool]:
    """Place the crop in an image as it is before the flip; arguments as of `place_crop`.

    Returns:
        The square that is cut out, and whether it is flipped then: the same pixels as the crop of the flipped
        image, of which the rest needn't be flipped.
    """
    place = place_crop(width, height, image_size, draw)
    if draw is None or not draw.flip:
        return place, False
    return Crop(width - place.left - place.side, place.top, place.side), True


def orient(images: Tensor, orientation: Orientation) -> Tensor:
    """Show planes of images (N, P, H, W) as an orientation says: (N, C, H, W)."""
    planes, turned = orientation
    if planes != tuple(range(images.shape[1])):
        images = images[:, list(planes)]
    if any(turned):
        images = images ^ torch.tensor(turned, dtype=torch.uint8).view(-1, 1, 1)  # 255 - v
    return images


def scale_short_side(
    images: Tensor, short_side: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR
) -> Tensor:
    """Scale images so that the short side has `short_side` pixels; bit for bit the same if it has already.

    Args:
        images: uint8. Shape: (..., C, H, W).
        short_side: Pixels.
        interpolation: Bilinear is antialiased, as PIL does it.

    Returns:
        uint8. Shape: (..., C, H', W') with the long side cut to whole pixels.
    """
    if min(images.shape[-2:]) == short_side:
        return images
    scaled: Tensor = F.resize(images, [short_side], interpolation=interpolation, antialias=True)
    return scaled


def crop(
    images: Tensor,
    preprocessing: Preprocessing,
    draws: Draws,
    *,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
) -> Tensor:
    """Scale, flip, crop and scale again, all images of a clip in the same way.

    Args:
        images: uint8. Shape: (T, C, H, W), or (B, T, C, H, W) with a list of draws.
        preprocessing: The sizes.
        draws: The draw of the clip, or of each clip.
        interpolation: Bilinear with antialiasing by default.

    Returns:
        uint8. Shape: (T, C, S, S) or (B, T, C, S, S).
    """

    def crop_clip(clip: Tensor, draw: Draw | None) -> Tensor:
        return scale_short_side(cut(clip, preprocessing, draw), preprocessing.image_size, interpolation)

    return _each_clip(crop_clip, scale_short_side(images, preprocessing.short_side, interpolation), draws)


def cut(images: Tensor, preprocessing: Preprocessing, draw: Draw | None) -> Tensor:
    """Cut a clip's crop out of images whose short side is scaled already, flipped where the draw says so.

    Args:
        images: Shape: (..., H, W).
        preprocessing: The sizes.
        draw: The draw of the clip.

    Returns:
        A view where nothing is flipped. Shape: (..., side of the crop, side of the crop).
    """
    place, flip = place_in_file(images.shape[-1], images.shape[-2], preprocessing.image_size, draw)
    cropped = images[..., place.top : place.top + place.side, place.left : place.left + place.side]
    return cropped.flip(-1) if flip else cropped


def transform_frames(frames: Tensor, preprocessing: Preprocessing, draws: Draws) -> Tensor:
    """Turn RGB frames into the network's input.

    Args:
        frames: RGB, uint8. Shape: (T, 3, H, W), or (B, T, 3, H, W) with a list of draws.
        preprocessing: Sizes, mean and std.
        draws: The draw of the clip, or of each clip.

    Returns:
        Normalised float32. Shape: (T, 3, S, S) or (B, T, 3, S, S).
    """
    return normalise(crop(frames, preprocessing, draws), preprocessing)


def transform_flow(flow_x: Tensor, flow_y: Tensor, preprocessing: Preprocessing, draws: Draws) -> Tensor:
    """Turn flow images into the flow stream's input; a flip also turns motion to the left into motion right.

    Args:
        flow_x: Horizontal flow as stored, about 128 where nothing moves, uint8. Shape: (T, 1, H, W), or
            (B, T, 1, H, W) with a list of draws.
        flow_y: Vertical flow likewise.
        preprocessing: Sizes, mean and std.
        draws: The draw of the clip, or of each clip: the same as for its frames.

    Returns:
        Normalised float32, channels x1, y1, ..., xT, yT. Shape: (2 * T, S, S) or (B, 2 * T, S, S).
    """
    flow_x = _each_clip(lambda x, draw: 255 - x if draw is not None and draw.flip else x, flow_x, draws)
    pairs = torch.cat([flow_x, flow_y], dim=-3)  # (..., T, 2, H, W)
    return normalise(crop(pairs, preprocessing, draws), preprocessing).flatten(-4, -3)


def transform_maps(maps: Tensor, preprocessing: Preprocessing, draws: Draws) -> Tensor:
    """Crop motion maps as their frames are cropped; 0 and 255 stay 0 and 255, nothing is normalised.

    Args:
        maps: uint8. Shape: (T, 1, H, W), or (B, T, 1, H, W) with a list of draws.
        preprocessing: The sizes; mean and std are not used.
        draws: The draw of the clip, or of each clip: the same as for its frames.

    Returns:
        uint8, each pixel the nearest of the map. Shape: (T, 1, S, S) or (B, T, 1, S, S).
    """
    return crop(maps, preprocessing, draws, interpolation=InterpolationMode.NEAREST_EXACT)


def normalise(images: Tensor, preprocessing: Preprocessing, out: Tensor | None = None) -> Tensor:
    """Scale uint8 to [0, 1], subtract the mean, divide by the std.

    Args:
        images: uint8. Shape: (..., C, H, W).
        preprocessing: Mean and std, one for each channel or one for all.
        out: Where the result goes.

    Returns:
        float32 of the same shape.
    """
    assert images.dtype == torch.uint8, f"pixels are normalised once, from uint8; these are {images.dtype}"
    if out is None:  # the layout of a clip's images is kept
        layout = torch.preserve_format if images.dim() <= 4 else torch.contiguous_format
        out = torch.empty_like(images, dtype=torch.float32, memory_format=layout)
    mean, std = (
        torch.tensor(values, device=images.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    if images.is_cuda:
        return out.copy_(images).mul_(1 / 255).sub_(mean).div_(std)
    # The same arithmetic image by image, which stays in the processor's cache. NumPy has no threads of its
    # own, which would disturb those that train where several threads crop.
    shape = images.shape[-3:]
    for image, result in zip(images.reshape(-1, *shape).numpy(), out.view(-1, *shape).numpy(), strict=True):
        np.multiply(image, np.float32(1 / 255), out=result, dtype=np.float32)
        np.subtract(result, mean.numpy(), out=result)
        np.divide(result, std.numpy(), out=result)
    return out


def crop_together(
    images: Tensor,
    which: Sequence[Sequence[int]],
    preprocessing: Preprocessing,
    draws: Sequence[Draw | None],
    orientations: Sequence[Orientation],
    *,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
) -> Tensor:
    """Crop a batch where its images lie, in a few kernels for each side that its crops have.

    Made for a GPU, where a kernel for every clip would take longer than the pixels. There is no bilinear
    kernel for whole grey levels there: the one in float32, rounded, differs from the CPU's by one level at
    most. Crops of maps, the nearest pixels, are the same everywhere.

    Args:
        images: All images of one size, their short side scaled already, uint8. Shape: (M, P, H, W).
        which: For each clip, the positions of its N images among them.
        preprocessing: The sizes.
        draws: The draw of each clip.
        orientations: Which of the P planes each clip shows, C of them.
        interpolation: Bilinear with antialiasing, or the nearest pixel.

    Returns:
        uint8. Shape: (B, N, C, S, S).
    """
    size, device = preprocessing.image_size, images.device
    places = [place_in_file(images.shape[-1], images.shape[-2], size, draw) for draw in draws]
    by_side = sorted(range(len(which)), key=lambda number: places[number][0].side)
    back = sorted(range(len(which)), key=by_side.__getitem__)  # from there to the order of the batch
    rows = []  # what tells the clips apart, and goes to the device at once
    for number, position in zip(by_side, back, strict=True):
        (place, flip), orientation = places[number], orientations[number]
        rows.append([place.top, place.left, int(flip), position, *sum(orientation, ()), *which[number]])
    told = torch.tensor(rows)
    told = (told.pin_memory() if device.type == "cuda" else told).to(device, non_blocking=True)
    shown = len(orientations[0][0])
    made, start = list[Tensor](), 0
    for side, members in groupby(places[number][0].side for number in by_side):
        part = told[start : (start := start + len(list(members)))]
        steps = torch.arange(side, device=device)
        if interpolation is not InterpolationMode.BILINEAR:
            steps = _nearest(side, size).to(device, non_blocking=True)
        top, left, flipped = part[:, 0:1], part[:, 1:2], part[:, 2:3]
        down, across = top + steps, left + (side - 1) * flipped + (1 - 2 * flipped) * steps
        plane, turned = part[:, 4 : 4 + shown], part[:, 4 + shown : 4 + 2 * shown]
        crops = images[  # (n, N, C, side, side)
            part[:, 4 + 2 * shown :, None, None, None],
            plane[:, None, :, None, None],
            down[:, None, None, :, None],
            across[:, None, None, None, :],
        ]
        crops ^= turned.to(torch.uint8)[:, None, :, None, None]
        if crops.shape[-1] != size:
            levels = interpolate(crops.flatten(0, 1).float(), (size, size), mode="bilinear", antialias=True)
            crops = levels.round_().to(torch.uint8).view(*crops.shape[:3], size, size)
        made.append(crops)
    return torch.cat(made)[told[:, 3]]


@cache
def _nearest(side: int, size: int) -> Tensor:
    """List the `size` of `side` pixels in a row that the CPU's kernel takes as the nearest ones."""
    row = torch.arange(side, dtype=torch.float32).view(1, 1, 1, side)
    return interpolate(row, (1, size), mode="nearest-exact").flatten().long()


def _each_clip(change: Callable[[Tensor, Draw | None], Tensor], images: Tensor, draws: Draws) -> Tensor:
    """Change one clip under its draw, or every clip of a batch under its own."""
    if draws is None or isinstance(draws, Draw):
        return change(images, draws)
    return torch.stack([change(clip, draw) for clip, draw in zip(images, draws, strict=True)])
