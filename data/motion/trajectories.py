"""Dense trajectories and the motion maps painted from them, after improved dense trajectories (IDT).

Points are sampled every 5 px where the picture has structure, tracked for 10 frames through median-filtered
flow with the camera motion removed, and kept when they move by themselves (Wang and Schmid, ICCV 2013). A
kept trajectory is painted as a disc in each frame into which it moves. Unlike in the original, a trajectory
that leaves the picture or reaches the end of the clip is judged by the steps it has.

Axes: N frames, n tracks, L steps of a track's life, H W pixels. Lengths are given for a short side of 256 px
and scale with the frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from data import Method
from data.flow import FlowField, Grey
from data.motion.camera import Camera, warp_flow
from data.motion.homography import Points

Mask = npt.NDArray[np.bool_]

LIFE = 10
MIN_AGE = 3
STEP_PX = 5
DISC_RADIUS_PX = 5.3
MIN_STRUCTURE = 0.0003
"""Share of the frame's strongest corner (smaller eigenvalue) above which a point is worth tracking."""
MIN_PATH_PX = 4.0
MIN_MOTION_PX = 0.5
MAX_SHARE_OF_PATH = 0.8


def motion_maps(frames: Sequence[Grey], method: Method = "dis") -> Mask:
    """Compute the motion map of every frame of a clip.

    Args:
        frames: Grey frames in order. Each of shape (H, W), uint8.
        method: Flow algorithm.

    Returns:
        Where something moves against the scene. Shape: (N, H, W).
    """
    tracks = DenseTracks(frames[0].shape, num_frames=len(frames))
    for prev, cur in zip(frames, frames[1:], strict=False):
        warped = warp_flow(prev, cur, method)
        tracks.step(prev, warped.flow_px, warped.camera)
    tracks.finish()
    return np.stack([tracks.map(number) for number in range(len(frames))])


class DenseTracks:
    """Tracks points through a clip, pair by pair, and paints those that move by themselves.

    Args:
        shape: Height and width of the frames in pixels.
        num_frames: Length of the clip.
    """

    def __init__(self, shape: tuple[int, ...], num_frames: int) -> None:
        self._height, self._width = shape
        self._scale = min(shape) / 256
        self._spacing = max(2, round(STEP_PX * self._scale))
        self._frame = 0
        self._kept: list[list[Points]] = [[] for _ in range(num_frames)]
        self._path = np.empty((0, LIFE + 1, 2), np.float32)
        self._own = np.empty((0, LIFE, 2), np.float32)
        self._age = np.empty(0, np.intp)

    def step(self, prev: Grey, flow_px: FlowField, camera: Camera) -> None:
        """Track from the current frame to the next one.

        Args:
            prev: The frame the pair starts at. Shape: (H, W).
            flow_px: Flow to the next frame without the camera's part, in pixels per frame. Shape: (H, W, 2).
            camera: The camera's part. If it was not accepted, no motion can be attributed to the points
                themselves and all tracks end.
        """
        if camera.accepted:
            self._sample(prev)
            self._advance(flow_px, camera)
            self._frame += 1
            self._end(self._age == LIFE)
        else:
            self.finish()
            self._frame += 1

    def finish(self) -> None:
        """End all tracks, keeping those that moved by themselves."""
        self._end(self._age >= 0)

    def map(self, frame: int) -> Mask:
        """Paint the kept trajectories that pass a frame.

        Args:
            frame: Frame number from 0. The last ten are not final before `finish`.

        Returns:
            Shape: (H, W).
        """
        return paint_discs(self._kept[frame], (self._height, self._width))

    def _sample(self, frame: Grey) -> None:
        """Start tracks in the cells of the grid that hold structure and no track."""
        structure = cv2.cornerMinEigenVal(frame, 3)
        rows = np.arange(self._spacing // 2, self._height, self._spacing)
        columns = np.arange(self._spacing // 2, self._width, self._spacing)
        free = structure[np.ix_(rows, columns)] > MIN_STRUCTURE * structure.max()
        taken = (self._heads() / self._spacing).astype(np.intp)  # cells, x first
        free[np.minimum(taken[:, 1], len(rows) - 1), np.minimum(taken[:, 0], len(columns) - 1)] = False
        starts = np.argwhere(free)[:, ::-1] * self._spacing + self._spacing // 2
        path = np.zeros((len(starts), LIFE + 1, 2), np.float32)
        path[:, 0] = starts
        self._path = np.concatenate([self._path, path])
        self._own = np.concatenate([self._own, np.zeros((len(starts), LIFE, 2), np.float32)])
        self._age = np.concatenate([self._age, np.zeros(len(starts), np.intp)])

    def _heads(self) -> Points:
        """Where every track is now. Shape: (n, 2)."""
        return self._path[np.arange(len(self._age)), self._age]

    def _advance(self, flow_px: FlowField, camera: Camera) -> None:
        """Move every track one frame on; those that would leave the picture end where they are."""
        smooth = [cv2.medianBlur(np.ascontiguousarray(flow_px[..., axis]), 5) for axis in (0, 1)]
        heads = self._heads()
        columns, rows = np.rint(heads).astype(np.intp).T
        own = np.column_stack([channel[rows, columns] for channel in smooth])
        landed = camera.to_current(heads + own)
        inside = np.all((landed >= 0) & (landed <= (self._width - 1, self._height - 1)), axis=1)
        self._end(~inside)
        tracks = np.arange(len(self._age))
        self._own[tracks, self._age] = own[inside]
        self._age += 1
        self._path[tracks, self._age] = landed[inside]

    def _end(self, which: Mask) -> None:
        """Remove tracks, and record where those that move by themselves did so."""
        path, own, age = self._path[which], self._own[which], self._age[which]
        judged = moves_by_itself(own, age, self._scale)
        moved = np.linalg.norm(own, axis=2) >= MIN_MOTION_PX * self._scale
        # No step leads into a track's first frame; it is painted there when it moves on at once.
        painted = np.column_stack([moved[:, :1], moved]) & judged[:, None]  # (n, L + 1)
        frames = self._frame - age[:, None] + np.arange(LIFE + 1)
        for frame in np.unique(frames[painted]):
            self._kept[frame].append(path[painted & (frames == frame)])
        self._path, self._own, self._age = self._path[~which], self._own[~which], self._age[~which]


def moves_by_itself(own: npt.NDArray[np.float32], age: npt.NDArray[np.intp], scale: float = 1.0) -> Mask:
    """Select the trajectories that move against the scene: not short, not static, not erratic.

    Args:
        own: Displacements without the camera's part, in pixels; zero after a track's last step.
            Shape: (n, L, 2).
        age: Number of steps of each track. Shape: (n,).
        scale: Short side of the frames over 256.

    Returns:
        Shape: (n,).
    """
    lengths = np.linalg.norm(own, axis=2)
    total = lengths.sum(axis=1)
    erratic = lengths.max(axis=1, initial=0) > MAX_SHARE_OF_PATH * total
    return np.asarray((age >= MIN_AGE) & (total >= MIN_PATH_PX * scale) & ~erratic, np.bool_)


def paint_discs(tracks: Sequence[Points], shape: tuple[int, int]) -> Mask:
    """Paint a disc around every point.

    Args:
        tracks: Groups of points inside the picture, (x, y) in pixels. Each of shape (n, 2).
        shape: Height and width of the picture.

    Returns:
        Shape: (H, W).
    """
    canvas = np.zeros(shape, np.uint8)
    for points in tracks:
        columns, rows = np.rint(points).astype(np.intp).T
        canvas[rows, columns] = 1
    radius = DISC_RADIUS_PX * min(shape) / 256
    y, x = np.mgrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]
    return cv2.dilate(canvas, (x**2 + y**2 <= radius**2).astype(np.uint8)).astype(bool)
