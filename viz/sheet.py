"""Frames laid out for a reader: contact sheets and GIFs with captions.

Axes: T frames, H W pixels. Pictures are RGB, uint8.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from core.files import atomic_path
from viz.overlay import Picture

_GAP = 4
_PAPER = (255, 255, 255)
_INK = (20, 20, 20)


def caption(picture: Picture, text: str, *, size: int = 13) -> Picture:
    """Put lines of text above a picture, shortened where they are wider than it."""
    font = _font(size)
    lines = text.split("\n")
    height = len(lines) * (size + 5) + 4
    canvas = Image.new("RGB", (picture.shape[1], height + picture.shape[0]), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((2, 2 + number * (size + 5)), _shorten(line, font, picture.shape[1] - 4), _INK, font=font)
    canvas.paste(Image.fromarray(picture), (0, height))
    return np.asarray(canvas)


def contact_sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Lay pictures out in rows on white; a row's pictures keep their sizes and stand at the top left."""
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


def save_png(path: Path, picture: Picture) -> None:
    """Write a picture, all or nothing."""
    with atomic_path(path) as temporary:
        # Of pictures with frames in them as small as at the usual level 6, in a third of the time.
        Image.fromarray(picture).save(temporary, format="PNG", compress_level=4)


def save_gif(path: Path, pictures: Sequence[Picture], *, frames_per_second: float = 4.0) -> None:
    """Write an endless GIF, all or nothing; one palette for all frames, so that colours don't flicker."""
    images = [Image.fromarray(picture) for picture in pictures]
    # Nearer to the pictures than a median cut, in a tenth of its time; dithering would sparkle in a film.
    palette = Image.fromarray(np.concatenate(pictures)).quantize(256, method=Image.Quantize.FASTOCTREE)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    with atomic_path(path) as temporary:
        indexed[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=indexed[1:],
            duration=round(1000 / frames_per_second),
            loop=0,
            disposal=1,
        )


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
