"""Predicted beside true motion maps, over the frames they belong to.

Axes: T frames, H W pixels, n cells a side. Pictures are RGB, uint8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from viz.overlay import Box, Heat, Picture, colour
from viz.sheet import caption, contact_sheet

_BORDER = (255, 255, 255)
_FRAME = (255, 214, 0)
_OPACITY = 0.6


@dataclass(frozen=True)
class MotionSample:
    """One clip under one head.

    Attributes:
        title: Stands above its rows.
        frames: Whole frames. Shape: (T, H, W, 3).
        box: The part of a frame that the network sees, which the cells tile.
        moves: Truth, 0 or 1. Shape: (T, n, n).
        predicted: What the head says, 1 meaning that the place moves; drawn clipped to [0, 1]. Shape:
            (T, n, n).
        level: Value of `predicted` above which a place is said to move; such places are framed.
    """

    title: str
    frames: Picture
    box: Box
    moves: Heat
    predicted: Heat
    level: float


def motion_sheet(samples: Sequence[MotionSample]) -> Picture:
    """Lay out two rows a sample: where the frames move, and where they are said to."""
    rows = []
    for sample in samples:
        drawn = {"moves": (sample.moves, 0.5), "predicted": (sample.predicted, sample.level)}
        for name, (maps, level) in drawn.items():
            cells = [tint(f, m, sample.box, level) for f, m in zip(sample.frames, maps, strict=True)]
            rows.append([caption(contact_sheet([cells]), f"{sample.title}: {name}")])
    return contact_sheet(rows)


def tint(frame: Picture, cells: Heat, box: Box, level: float) -> Picture:
    """Colour the cells of the part of a frame that the network sees; each with sharp edges, as it is scored.

    Args:
        frame: Shape: (H, W, 3).
        cells: Values; below 0 is drawn as 0, above 1 as 1. Shape: (n, n).
        box: The part.
        level: Cells above it are framed.

    Returns:
        A new picture. Shape: (H, W, 3).
    """
    size = (box.right - box.left, box.bottom - box.top)
    clipped = np.clip(cells, 0, 1).astype(np.float32)
    values = np.asarray(cv2.resize(clipped, size, interpolation=cv2.INTER_NEAREST), np.float32)
    picture = frame.copy()
    seen = picture[box.top : box.bottom, box.left : box.right]
    weight = _OPACITY * values[..., None]
    seen[:] = np.round((1 - weight) * seen + weight * colour(values)).astype(np.uint8)
    _frame(seen, cells > level)
    cv2.rectangle(picture, (box.left, box.top), (box.right - 1, box.bottom - 1), _BORDER, 1)
    return picture


def _frame(seen: Picture, cells: npt.NDArray[np.bool_]) -> None:
    """Draw a line along the inner edge of each cell that is set, in place."""
    height, width = seen.shape[0] / cells.shape[0], seen.shape[1] / cells.shape[1]
    for row, column in np.argwhere(cells).tolist():
        first = (round(column * width), round(row * height))
        last = (round((column + 1) * width) - 1, round((row + 1) * height) - 1)
        cv2.rectangle(seen, first, last, _FRAME, 1)
