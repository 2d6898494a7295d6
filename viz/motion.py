"""Predicted and true motion maps, over the frames they belong to.

Axes: T frames, H W pixels, n cells a side. Pictures are RGB, uint8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from torch import nn

from data.frames import read_frames
from data.index import ClipIndex
from data.parts import ClipInput
from selfsup import MotionSegmentation, MotionSettings
from viz.overlay import Box, ColourMap, Heat, Picture, centre_box, colour, lay_over
from viz.sheet import caption, contact_sheet, save_png

Mask = npt.NDArray[np.bool_]

_FRAME = (255, 214, 0)
_CLIPS = 4


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


def draw_motion(
    path: Path, settings: MotionSettings, model: nn.Module, index: ClipIndex, inputs: ClipInput
) -> None:
    """Draw the true and the predicted motion maps of a few clips, spread evenly over the index.

    Args:
        path: The picture, ending in .png.
        settings: The run's `--ms` flags.
        model: A network with motion heads.
        index: The clips.
        inputs: The frames and the maps that the run takes of a clip.
    """
    task, clips = MotionSegmentation(model, inputs.names, settings), inputs.dataset(index)
    samples, keys = [], inputs.test_keys(index)
    for number in sorted(set(np.linspace(0, len(index) - 1, _CLIPS).round().astype(int).tolist())):
        clip, found = index.clips[number], task.look(clips[keys[number]])
        numbers = inputs.shown_numbers(clip).tolist()
        frames = read_frames(clip.frames, numbers).permute(0, 2, 3, 1).numpy()  # (T, 3, H, W) to (T, H, W, 3)
        height, width = frames.shape[1:3]
        box = centre_box(height, width, inputs.sizes.seen_share)
        for layer in settings.motion_layers:
            maps = found[f"{layer}_moves"], found[f"{layer}_predicted"]
            samples.append(
                MotionSample(f"{clip.key}, head on {layer}", frames, box, *maps, task.target.decision)
            )
    save_png(path, motion_sheet(samples))


def motion_sheet(samples: Sequence[MotionSample]) -> Picture:
    """Lay out two rows a sample: where the frames move, and where they are said to."""
    rows = []
    for sample in samples:
        drawn = {"moves": (sample.moves, 0.5), "predicted": (sample.predicted, sample.level)}
        for name, (maps, level) in drawn.items():
            cells = [tint(f, m, sample.box, level) for f, m in zip(sample.frames, maps, strict=True)]
            rows.append([caption(contact_sheet([cells]), f"{sample.title}: {name}")])
    return contact_sheet(rows)


def tint(
    frame: Picture,
    cells: Heat,
    box: Box,
    level: float,
    *,
    opacity: float = 0.6,
    colours: ColourMap = "inferno",
) -> Picture:
    """Colour the cells of the part of a frame that the network sees; each with sharp edges, as it is scored.

    Args:
        frame: Shape: (H, W, 3).
        cells: Values; below 0 is drawn as 0, above 1 as 1. Shape: (n, n).
        box: The part.
        level: Cells above it are framed.
        opacity: Of a cell of 1, in [0, 1].
        colours: Colour map.

    Returns:
        A new picture. Shape: (H, W, 3).
    """
    return lay_over(frame, *motion_layer(cells, level, *box.size, colours), box, opacity)


def motion_layer(
    cells: Heat, level: float, width: int, height: int, colours: ColourMap = "inferno"
) -> tuple[Picture, Heat]:
    """Turn cells into a layer to lay over the part of a frame that they tile evenly.

    Args:
        cells: As of `tint`. Shape: (n, n).
        level: Cells above it are framed.
        width: Of the part, pixels.
        height: Of the part, pixels.
        colours: Colour map.

    Returns:
        Colours, shape (height, width, 3), and how much they cover, in [0, 1], shape (height, width).
    """
    clipped = np.clip(cells, 0, 1).astype(np.float32)
    cover = np.asarray(cv2.resize(clipped, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
    layer = colour(cover, colours)
    lines = _outlines(cells > level, width, height)
    layer[lines], cover[lines] = _FRAME, 1
    return layer, cover


def _outlines(cells: Mask, width: int, height: int) -> Mask:
    """Mark a line along the inner edge of each cell that is set. Shape: (height, width)."""
    lines = np.zeros((height, width), np.uint8)
    across, down = width / cells.shape[1], height / cells.shape[0]
    for row, column in np.argwhere(cells).tolist():
        first = (round(column * across), round(row * down))
        last = (round((column + 1) * across) - 1, round((row + 1) * down) - 1)
        cv2.rectangle(lines, first, last, 1, 1)
    return lines.astype(bool)
