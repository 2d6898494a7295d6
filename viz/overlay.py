"""Heat and motion over frames, drawn where the network's cells lie, and pictures laid out with captions.

Axes: T frames, H W pixels, h w cells of heat, n cells a side of motion, S pixels a side of what the network
sees. Pictures are RGB, uint8.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from core.fonts import lines_in_one_font
from viz import ColourMap

Picture = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating]
Layer = tuple[Picture, Heat]
"""Colours, shape (S, S, 3), and how much they cover, in [0, 1], shape (S, S)."""

Verdict = Literal["right", "wrong", ""]

GAP = 4
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
_BORDER, _MOVING = (255, 255, 255), (255, 214, 0)
_VERDICT_INKS = {"right": (0, 110, 60), "wrong": (190, 30, 20), "": _INK}
# The dark end of a map would darken what it lies on, and hide heat on dark frames.
_LOWEST = {"inferno": 0.35, "viridis": 0.3, "cividis": 0.3, "jet": 0.0}
_MOST_LINES = 6  # of a caption, for each of its own
_FEWEST_BLENDED = 7  # cells a side; fewer are drawn with their edges, since blending makes stars of them


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

    def scaled(self, zoom: float) -> "Square":
        """Find its place in a frame that is `zoom` times as large."""
        left, top = round(self.left * zoom), round(self.top * zoom)
        right, bottom = round((self.left + self.side) * zoom), round((self.top + self.side) * zoom)
        return Square(left, top, min(right - left, bottom - top))


def centre_square(height: int, width: int, share: float) -> Square:
    """Place the square that the network sees at test time, its side a share in (0, 1] of the short one."""
    side = round(share * min(height, width))
    return Square(round((width - side) / 2), round((height - side) / 2), side)


def scale_to_peak(heat: Heat) -> Heat:
    """Scale a clip's heat (T, h, w), at least 0, to [0, 1] by its highest value, if it has any.

    All frames of a clip share one scale, so that a frame without a peak looks calm next to one with a peak.
    """
    peak = float(heat.max())
    return heat / peak if peak > 0 else np.zeros_like(heat)


def colour(values: Heat, name: ColourMap = "inferno") -> Picture:
    """Colour values in [0, 1] by the lighter part of a map. Shapes: (H, W) to (H, W, 3)."""
    lowest = _LOWEST[name]
    rgba = matplotlib.colormaps[name](lowest + (1 - lowest) * np.clip(values, 0, 1), bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def heat_layer(heat: Heat, side: int, colours: ColourMap = "inferno") -> Layer:
    """Turn heat (h, w), in [0, 1], into a layer of `side` pixels.

    Grids of at least 7 x 7 cells are blended linearly between cell centres; of coarser ones the cells are
    drawn as they are. Hot places cover more than cold ones, so that the frame stays readable where there is
    no heat.
    """
    how = cv2.INTER_LINEAR if min(heat.shape) >= _FEWEST_BLENDED else cv2.INTER_NEAREST_EXACT
    drawn = np.asarray(cv2.resize(heat.astype(np.float32), (side, side), interpolation=how), np.float32)
    return colour(drawn, colours), np.clip(drawn, 0, 1) ** 0.75


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


def resized(pictures: Picture, width: int) -> Picture:
    """Scale pictures (..., H, W, 3) to a width, keeping their shape."""
    height = max(1, round(pictures.shape[-3] * width / pictures.shape[-2]))
    how = cv2.INTER_AREA if width < pictures.shape[-2] else cv2.INTER_CUBIC
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    scaled = [cv2.resize(picture, (width, height), interpolation=how) for picture in flat]
    return np.asarray(scaled, np.uint8).reshape(*pictures.shape[:-3], height, width, 3)


def caption(picture: Picture, text: str, *, size: int = 13, verdict: Verdict = "") -> Picture:
    """Put lines of text above a picture, broken where they are wider than it.

    A verdict colours them, green or red, and puts a tick or a cross before the first.
    """
    file, given = lines_in_one_font(text)
    font = ImageFont.truetype(file, size)
    line_height, ink = size + 5, _VERDICT_INKS[verdict]
    sign = size + 4 if verdict else 0
    room = picture.shape[1] - 4
    lines = [line for k, text in enumerate(given) for line in _broken(text, font, room - (0 if k else sign))]
    height = len(lines) * line_height + 4
    canvas = Image.new("RGB", (picture.shape[1], height + picture.shape[0]), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        left, top = 2, 2 + number * line_height
        if verdict and not number:
            _draw_sign(draw, verdict, left, top, size)
            left += sign
        draw.text((left, top), line, ink, font=font)
    canvas.paste(Image.fromarray(picture), (0, height))
    return np.asarray(canvas)


def _broken(line: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    """Break a line at blanks, and too long a word after its commas and underscores.

    What fills more lines than a few is shortened.
    """
    words = [word for word in re.split("(?<= )", line) if word]
    pieces = [
        piece
        for word in words
        for piece in ([word] if font.getlength(word.rstrip()) <= room else re.split("(?<=[,_])", word))
    ]
    lines = [""]
    for word in pieces:
        if not lines[-1] or len(lines) == _MOST_LINES or font.getlength((lines[-1] + word).rstrip()) <= room:
            lines[-1] += word
        else:
            lines.append(word)
    for number, text in enumerate(lines):
        while text and font.getlength(lines[number].rstrip()) > room:
            text = text[:-1]
            lines[number] = text + "…"
    return lines


def _draw_sign(draw: ImageDraw.ImageDraw, verdict: Verdict, left: int, top: int, size: int) -> None:
    """Draw a tick or a cross of `size` pixels; not every font has them."""
    strokes = {
        "right": [[(0.1, 0.6), (0.4, 0.9), (0.9, 0.2)]],
        "wrong": [[(0.15, 0.2), (0.85, 0.9)], [(0.15, 0.9), (0.85, 0.2)]],
    }[verdict]
    for stroke in strokes:
        points = [(left + x * size, top + y * size) for x, y in stroke]
        draw.line(points, _VERDICT_INKS[verdict], width=max(2, size // 6))


def colour_bar(width: int, top: float, name: ColourMap) -> Picture:
    """Draw the scale of a colour map with ticks and numbers at 0, half of `top`, and `top`."""
    length, height, size = min(width, 420), 16, 15
    font = ImageFont.truetype(lines_in_one_font("0")[0], size)
    canvas = Image.new("RGB", (width, height + 6 + size + 4), _PAPER)
    bar = colour(np.linspace(0, 1, length)[None].repeat(height, axis=0), name)
    canvas.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for share in (0.0, 0.5, 1.0):
        place, number = round(share * (length - 1)), f"{share * top:.1f}".removesuffix(".0")
        draw.line([(place, height), (place, height + 5)], _INK)
        room = font.getlength(number)
        draw.text((min(max(place - room / 2, 0), length - room), height + 5), number, _INK, font=font)
    return np.asarray(canvas)


def contact_sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Lay pictures out in rows on white; a row's pictures keep their sizes and stand on one line.

    So frames are beside each other, whatever number of lines their captions have.
    """
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    widths = [sum(picture.shape[1] + GAP for picture in row) - GAP for row in rows]
    sheet = np.full((sum(heights) + GAP * (len(rows) - 1), max(widths), 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            sheet[top + height - picture.shape[0] : top + height, left : left + picture.shape[1]] = picture
            left += picture.shape[1] + GAP
        top += height + GAP
    return sheet
