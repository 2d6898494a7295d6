"""Pictures of flow, warp flow and motion maps: `python -m benchmarks.motion_pictures`.

One PNG with a row for each pair of frames: frame, plain flow, warp flow, motion map over the frame.
`--no-frames` leaves out the frames themselves, for video that may not be copied.
"""

from pathlib import Path

import cv2
import numpy as np
from pydantic import Field, PositiveInt

from core.cli import run
from core.config import Config
from core.errors import UserError
from data.clips import Clip
from data.flow import Grey, compute_flow, flow_colours
from data.index import ClipIndex
from data.motion.camera import warp_flow
from data.motion.trajectories import DenseTracks, Mask
from viz.film import save_png
from viz.overlay import Picture


class PictureConfig(Config):
    """Draw flow, warp flow and motion map of clips, one clip below the other."""

    root: Path
    """Tree of clips."""
    out: Path
    """PNG to write."""
    clips: tuple[str, ...] = Field(min_length=1)
    """Names of clips, such as S2/open_jam/1."""
    pairs: PositiveInt = 1
    """Pairs of frames to draw of each clip, evenly spread; fewer where the clip is too short."""
    frames: bool = True
    """Show the frames themselves."""
    width: PositiveInt = 300
    """Width of each panel in pixels."""


def main(config: PictureConfig) -> None:
    """Draw the picture."""
    cv2.setNumThreads(1)
    clips = ClipIndex.from_tree(config.root).find(config.clips).clips
    picture = np.vstack([draw_clip(clip, config) for clip in clips])
    save_png(config.out, picture)


def draw_clip(clip: Clip, config: PictureConfig) -> Picture:
    """Draw some pairs of a clip, RGB."""
    if clip.num_frames < 2:
        raise UserError(f"{clip.key} has a single frame and so no motion; leave it out of --clips")
    colours = [np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1] for path in clip.frames.paths]
    greys = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8) for path in clip.frames.paths]
    tracks = DenseTracks(greys[0].shape, len(greys))
    for prev, cur in zip(greys, greys[1:], strict=False):
        warped = warp_flow(prev, cur)
        tracks.step(prev, warped.flow_px, warped.camera)
    tracks.finish()
    places = np.linspace(0, len(greys) - 1, config.pairs + 2).astype(int)[1:-1]
    rows = [
        _row(colours[k], greys[k], greys[k + 1], tracks.map(k), config) for k in places if k + 1 < len(greys)
    ]
    return np.vstack(rows)


def _row(colour: Picture, prev: Grey, cur: Grey, moving: Mask, config: PictureConfig) -> Picture:
    plain = flow_colours(compute_flow(prev, cur))
    warped = flow_colours(warp_flow(prev, cur).flow_px)
    if config.frames:
        over = colour.copy()
        over[moving] = over[moving] // 2 + np.array([127, 0, 0], np.uint8)
        panels = [colour, plain, warped, over]
    else:
        panels = [plain, warped, np.dstack([moving.astype(np.uint8) * 255] * 3)]
    height = round(config.width * prev.shape[0] / prev.shape[1])
    small = [cv2.resize(panel, (config.width, height), interpolation=cv2.INTER_AREA) for panel in panels]
    return np.hstack([np.pad(panel, ((1, 1), (1, 1), (0, 0)), constant_values=200) for panel in small])


if __name__ == "__main__":
    run(main, PictureConfig, prog="python -m benchmarks.motion_pictures")
