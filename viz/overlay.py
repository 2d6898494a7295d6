"""Heat over a frame, drawn where the network's cells really lie.

Axes: H W pixels, h w cells. Pictures are RGB, uint8.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating]
ColourMap = Literal["inferno", "viridis", "cividis", "jet"]

_BORDER = (255, 255, 255)


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels, right and lower edge excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.right - self.left, self.bottom - self.top


def centre_box(height: int, width: int, share: float) -> Box:
    """The centred square that the network sees of a frame at test time.

    Args:
        height: Frame height in pixels.
        width: Frame width in pixels.
        share: Side of the square as a share of the short side, in (0, 1].
    """
    side = round(share * min(height, width))
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def normalise(heat: Heat) -> Heat:
    """Scale a clip's heat to [0, 1] by its highest value; a clip without any heat stays 0.

    One scale for all frames of a clip, so that a frame without a peak looks calm beside one with a peak.

    Args:
        heat: Non-negative heat. Shape: (T, h, w).
    """
    peak = float(heat.max())
    return heat / peak if peak > 0 else np.zeros_like(heat)


def colour(heat: Heat, name: ColourMap = "inferno") -> Picture:
    """Colour values in [0, 1]; all maps but "jet" are safe for colour-blind readers. (H, W) to (H, W, 3)."""
    rgba = matplotlib.colormaps[name](np.clip(heat, 0, 1), bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def heat_layer(heat: Heat, width: int, height: int, colours: ColourMap = "inferno") -> tuple[Picture, Heat]:
    """Turn cells into a layer to lay over the part of a frame that they tile evenly.

    They are blended linearly between their centres. Hot places cover more than cold ones, so that the frame
    stays readable where nothing is looked at.

    Args:
        heat: Values in [0, 1]. Shape: (h, w).
        width: Of the part, pixels.
        height: Of the part, pixels.
        colours: Colour map.

    Returns:
        Colours, shape (height, width, 3), and how much they cover, in [0, 1], shape (height, width).
    """
    cells = heat.astype(np.float32)
    smooth = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return colour(smooth, colours), np.clip(smooth, 0, 1) ** 0.5


def overlay(
    frame: Picture, heat: Heat, box: Box, *, opacity: float = 0.6, colours: ColourMap = "inferno"
) -> Picture:
    """Draw heat over the part of a frame that the network saw; the frame stays whole, the part is framed.

    Args:
        frame: The frame. Shape: (H, W, 3).
        heat: Values in [0, 1]. Shape: (h, w).
        box: The part of the frame the cells tile.
        opacity: Of the hottest place, in [0, 1].
        colours: Colour map.

    Returns:
        A new picture. Shape: (H, W, 3).
    """
    return lay_over(frame, *heat_layer(heat, *box.size, colours), box, opacity)


def lay_over(frame: Picture, layer: Picture, cover: Heat, box: Box, opacity: float) -> Picture:
    """Lay colours over the part of a frame that the network sees, and mark the part.

    Args:
        frame: Shape: (H, W, 3).
        layer: Colours. Shape: (height, width, 3) of the box.
        cover: How much they cover, in [0, 1]. Shape: (height, width).
        box: The part.
        opacity: Of what covers fully, in [0, 1].

    Returns:
        A new picture. Shape: (H, W, 3).
    """
    picture = frame.copy()
    seen = picture[box.top : box.bottom, box.left : box.right]
    weight = opacity * cover[..., None]
    seen[:] = np.round((1 - weight) * seen + weight * layer).astype(np.uint8)
    cv2.rectangle(picture, (box.left, box.top), (box.right - 1, box.bottom - 1), _BORDER, 1)
    return picture
