"""True and predicted motion maps of a run's motion heads, over the frames they belong to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from data.images import read_frames
from data.index import ClipIndex
from data.parts import ClipInput
from selfsup.settings import MotionSettings
from selfsup.task import MotionSegmentation
from viz.film import save_png
from viz.overlay import Picture, Style, caption, centre_square, contact_sheet, resized
from viz.scene import Motion
from viz.storyboard import fit, motion_pictures


def draw_motion(
    path: Path, settings: MotionSettings, model: nn.Module, index: ClipIndex, inputs: ClipInput
) -> None:
    """Draw the true and the predicted motion maps of four clips, spread evenly over the index, as a PNG.

    Args:
        path: The picture.
        settings: The run's `--ms` flags.
        model: A network with motion heads.
        index: The clips.
        inputs: The frames and the maps that the run takes of a clip.
    """
    task, clips = MotionSegmentation(model, inputs.names, settings), inputs.dataset(index)
    rows: list[tuple[Picture, Motion]] = []
    keys = inputs.test_keys(index)
    for number in sorted(set(np.linspace(0, len(index) - 1, 4).round().astype(int).tolist())):
        clip, found = index.clips[number], task.look(clips[keys[number]])
        numbers = inputs.shown_numbers(clip).tolist()
        frames = read_frames(clip.frames, numbers).permute(0, 2, 3, 1).numpy()  # (T, 3, H, W) to (T, H, W, 3)
        height, width = frames.shape[1:3]
        square = centre_square(height, width, inputs.sizes.seen_share)
        for layer in settings.motion_layers:
            name = f"{clip.key}, head on {layer}"
            true, predicted = found[f"{layer}_target"], found[f"{layer}_predicted"]
            rows.append((frames, Motion(f"{name}: moves", true, 0.5, square)))
            rows.append((frames, Motion(f"{name}: predicted", predicted, task.target.decision, square)))
    save_png(path, motion_sheet(rows))


def motion_sheet(rows: Sequence[tuple[Picture, Motion]]) -> Picture:
    """Lay out a row for each motion, over its frames (T, H, W, 3), at a width that fits a page."""
    sheet: list[list[Picture]] = []
    for frames, motion in rows:
        columns, width = fit(len(frames))
        square = motion.square.scaled(width / frames.shape[2])
        pictures = motion_pictures(resized(frames, width), replace(motion, square=square), Style())
        strip = contact_sheet([pictures[k : k + columns] for k in range(0, len(pictures), columns)])
        sheet.append([caption(strip, motion.name, size=16)])
    return contact_sheet(sheet)
