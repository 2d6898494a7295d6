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
from data.decoding import decode_grey, decode_rgb
from data.flow import compute_flow, flow_colours
from data.index import ClipIndex
from data.motion.camera import warp_flow
from data.motion.trajectories import DenseTracks
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
    save_png(config.out, np.vstack([draw_clip(clip, config) for clip in clips]))


def draw_clip(clip: Clip, config: PictureConfig) -> Picture:
    """Draw some pairs of a clip, one below the other."""
    if clip.num_frames < 2:
        raise UserError(f"{clip.key} has a single frame and so no motion; leave it out of --clips")
    colours = [decode_rgb(path) for path in clip.frames.paths]
    greys = [decode_grey(path) for path in clip.frames.paths]
    flows = [warp_flow(prev, cur) for prev, cur in zip(greys, greys[1:], strict=False)]
    tracks = DenseTracks(greys[0].shape, len(greys))
    for grey, flow in zip(greys, flows, strict=False):
        tracks.step(grey, flow.flow_px, flow.camera)
    tracks.finish()
    height = round(config.width * greys[0].shape[0] / greys[0].shape[1])
    rows = []
    for k in np.unique(np.linspace(0, len(greys) - 1, config.pairs + 2).astype(int)[1:-1]):
        moving, frame = tracks.map(k), colours[k]
        panels = [flow_colours(compute_flow(greys[k], greys[k + 1])), flow_colours(flows[k].flow_px)]
        if config.frames:
            over = np.where(moving[..., None], frame // 2 + np.array([127, 0, 0], np.uint8), frame)
            panels = [frame, *panels, over]
        else:
            panels.append(np.dstack([moving.astype(np.uint8) * 255] * 3))
        small = [cv2.resize(panel, (config.width, height), interpolation=cv2.INTER_AREA) for panel in panels]
        rows.append(
            np.hstack([np.pad(each, ((1, 1), (1, 1), (0, 0)), constant_values=200) for each in small])
        )
    return np.vstack(rows)


if __name__ == "__main__":
    run(main, PictureConfig, prog="python -m benchmarks.motion_pictures")
