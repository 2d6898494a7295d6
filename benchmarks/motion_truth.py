"""Clips and pairs of frames of the synthetic kitchen with the truth about their motion.

Axes: N frames, H W pixels. Flow is (x, y) in pixels per frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from core.errors import UserError
from data.clips import Clip
from data.decoding import decode_grey
from data.flow import FlowField, Grey
from data.index import ClipIndex
from data.motion.camera import Camera, pixel_grid
from data.motion.homography import transform
from data.motion.trajectories import Mask
from data.synthetic.truth import true_flow
from data.tree import truth_file


@dataclass(frozen=True)
class TruePair:
    """Two neighbouring frames and the truth about them.

    Attributes:
        prev: Grey frame. Shape: (H, W).
        cur: The frame after it.
        camera: The camera's motion between them.
        flow_px: Flow from `prev` to `cur`. Shape: (H, W, 2).
        moving: Pixels of `prev` that move by themselves, over 0.25 px. Shape: (H, W).
    """

    prev: Grey
    cur: Grey
    camera: Camera
    flow_px: FlowField
    moving: Mask

    @cached_property
    def own_px(self) -> FlowField:
        """Flow from `prev` to `cur` as the unmoved camera of `prev` would see it. Shape: (H, W, 2)."""
        grid = pixel_grid(*self.prev.shape)
        landed = transform(self.camera.homography, (grid + self.flow_px).reshape(-1, 2))
        return landed.reshape(grid.shape) - grid

    @cached_property
    def camera_px(self) -> FlowField:
        """Flow that the camera alone causes. Shape: (H, W, 2)."""
        return self.camera.flow(*self.prev.shape)


class TrueClip:
    """A clip with its truth in memory.

    Attributes:
        frames: Grey. Shapes: (H, W).
        moving: Pixels that move against the table between a frame and the one before it. Shape: (N, H, W).

    Raises:
        UserError: It has no truth.
    """

    def __init__(self, root: Path, clip: Clip) -> None:
        self.frames = [decode_grey(path) for path in clip.frames.paths]
        path = truth_file(root, clip.user, clip.action, clip.instance)
        if not path.is_file():
            raise UserError(f"{path} is missing; name trees that data.synthetic rendered")
        with np.load(path) as truth:
            self._truth = {name: truth[name] for name in truth.files}
        self.moving = np.asarray(self._truth["moving"], np.bool_)

    def pair(self, k: int) -> TruePair:
        """Return the pair of frames k - 1 and k, counted from 0."""
        whole, _, own = true_flow(self._truth, k)
        camera = Camera(self._truth["homography"][k], 0, 0, True)
        # The mask of frame k lies where things are in frame k, but a flow starts where they are in k - 1.
        moving = np.linalg.norm(own, axis=2) > 0.25
        return TruePair(self.frames[k - 1], self.frames[k], camera, whole.astype(np.float32), moving)


def draw_clips(root: Path, a_user: int, seed: int) -> Sequence[Clip]:
    """Draw `a_user` clips of each user, or all that there are, in the order of the tree."""
    index, rng = ClipIndex.from_tree(root), np.random.default_rng(seed)
    drawn: list[Clip] = []
    for user in index.users:
        clips = [clip for clip in index.clips if clip.user == user]
        places = rng.choice(len(clips), min(a_user, len(clips)), replace=False)
        drawn += [clips[place] for place in sorted(places)]
    return drawn


def draw_pairs(root: Path, clips: Sequence[Clip], a_clip: int, seed: int) -> list[TruePair]:
    """Draw `a_clip` pairs of neighbouring frames of each clip, or all that there are."""
    rng, drawn = np.random.default_rng(seed), list[TruePair]()
    for clip in clips:
        true = TrueClip(root, clip)
        steps = np.arange(1, len(true.frames))
        drawn += [true.pair(k) for k in sorted(rng.choice(steps, min(a_clip, len(steps)), replace=False))]
    return drawn
