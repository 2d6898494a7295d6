"""Heat and motion over frames, drawn where the network's cells lie, and pictures laid out with captions.

Axes: T frames, H W pixels, h w cells of heat, n cells a side of motion, S pixels a side of what the network
sees. Pictures are RGB, uint8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from core.fonts import lines_in_one_font

Picture = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating]
Layer = tuple[Picture, Heat]
"""Colours, shape (S, S, 3), and how much they cover, in [0, 1], shape (S, S)."""
ColourMap = Literal["inferno", "viridis", "cividis", "jet"]

_GAP = 4
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
_BORDER, _MOVING = (255, 255, 255), (255, 214, 0)


@dataclass(frozen=True)
class Style:
    """How heat and motion are drawn.

    Attributes:
        opacity: Of the hottest place, in [0, 1].
        colours: Colour map; all but "jet" are safe for colour-blind readers.
    """

    opacity: float = 0.6
    colours: ColourMap = "inferno"


@dataclass(frozen=True)
class Square:
    """The part of a frame that the network sees, in whole pixels: `side` from column `left` and row `top`."""

    left: int
    top: int
    side: int


def centre_square(height: int, width: int, share: float) -> Square:
    """Place the square that the network sees at test time, its side a share in (0, 1] of the short one."""
    side = round(share * min(height, width))
    return Square((width - side) // 2, (height - side) // 2, side)


def scale_to_peak(heat: Heat) -> Heat:
    """Scale a clip's heat (T, h, w), at least 0, to [0, 1] by its highest value, if it has any.

    All frames of a clip share one scale, so that a frame without a peak looks calm next to one with a peak.
    """
    peak = float(heat.max())
    return heat / peak if peak > 0 else np.zeros_like(heat)


def colour(values: Heat, name: ColourMap = "inferno") -> Picture:
    """Colour values in [0, 1]. Shapes: (H, W) to (H, W, 3)."""
    rgba = matplotlib.colormaps[name](np.clip(values, 0, 1), bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def heat_layer(heat: Heat, side: int, colours: ColourMap = "inferno") -> Layer:
    """Turn heat (h, w), in [0, 1], into a layer of `side` pixels, blended linearly between cell centres.

    Hot places cover more than cold ones, so that the frame stays readable where there is no heat.
    """
    cells = heat.astype(np.float32)
    smooth = np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    return colour(smooth, colours), np.clip(smooth, 0, 1) ** 0.5


def motion_layer(cells: Heat, threshold: float, side: int, colours: ColourMap = "inferno") -> Layer:
    """Turn motion (n, n) into a layer of `side` pixels whose cells have sharp edges, as they are scored.

    Values are clipped to [0, 1]; cells above the threshold count as moving and are framed.
    """
    clipped = np.clip(cells, 0, 1).astype(np.float32)
    cover = np.asarray(cv2.resize(clipped, (side, side), interpolation=cv2.INTER_NEAREST), np.float32)
    layer = colour(cover, colours)
    frames = np.zeros((side, side), np.uint8)
    size = side / len(cells)
    for row, column in np.argwhere(cells > threshold).tolist():
        first = (round(column * size), round(row * size))
        last = (round((column + 1) * size) - 1, round((row + 1) * size) - 1)
        cv2.rectangle(frames, first, last, 1, 1)
    layer[frames == 1], cover[frames == 1] = _MOVING, 1
    return layer, cover


def overlay(frame: Picture, layer: Layer, square: Square, opacity: float) -> Picture:
    """Blend a layer over its square in a copy of a frame (H, W, 3), and outline the square."""
    colours, cover = layer
    right, bottom = square.left + square.side, square.top + square.side
    picture = frame.copy()
    part = picture[square.top : bottom, square.left : right]
    weight = opacity * cover[..., None]
    part[:] = np.round((1 - weight) * part + weight * colours).astype(np.uint8)
    cv2.rectangle(picture, (square.left, square.top), (right - 1, bottom - 1), _BORDER, 1)
    return picture


def caption(picture: Picture, text: str, *, size: int = 13) -> Picture:
    """Put lines of text above a picture, shortened where they are wider than it."""
    file, lines = lines_in_one_font(text)
    font = ImageFont.truetype(file, size)
    height = len(lines) * (size + 5) + 4
    canvas = Image.new("RGB", (picture.shape[1], height + picture.shape[0]), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        shown = line
        while line and font.getlength(shown) > picture.shape[1] - 4:
            line = line[:-1]
            shown = line + "…"
        draw.text((2, 2 + number * (size + 5)), shown, _INK, font=font)
    canvas.paste(Image.fromarray(picture), (0, height))
    return np.asarray(canvas)


def contact_sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Lay pictures out in rows on white; a row's pictures keep their sizes, aligned at the top left."""
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    widths = [sum(picture.shape[1] + _GAP for picture in row) - _GAP for row in rows]
    sheet = np.full((sum(heights) + _GAP * (len(rows) - 1), max(widths), 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + _GAP
        top += height + _GAP
    return sheet
