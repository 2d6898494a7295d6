"""Dense trajectories and the motion maps painted from them, after improved dense trajectories (IDT).

Points are sampled every 5 px where the picture has structure, tracked for 10 frames through median-filtered
flow with the camera motion removed, and kept when they move by themselves (Wang and Schmid, ICCV 2013). A
kept trajectory is painted as a disc in each frame into which it moves. Unlike the original, one that leaves
the picture or meets the end of the clip is judged by what there is of it. Axes: n tracks, L steps of life,
H W pixels. Lengths are given for a short side of 256 px and scale with the frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from data.flow import Flow, Grey, Method
from data.motion.camera import Camera, warp_flow
from data.motion.homography import Points

Mask = npt.NDArray[np.bool_]

LIFE = 10
LEAST_AGE = 3
STEP_PX = 5
DISC_RADIUS_PX = 5.3
LEAST_STRUCTURE = 0.0003
"""Share of the frame's strongest corner (smaller eigenvalue) from which a point is worth tracking."""
LEAST_PATH_PX = 4.0
LEAST_MOTION_PX = 0.5
LARGEST_SHARE_OF_PATH = 0.8


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
    """Tracks points through a clip, pair by pair, and paints those that move by themselves."""

    def __init__(self, shape: tuple[int, ...], num_frames: int) -> None:
        """Start before the first pair.

        Args:
            shape: Height and width of the frames in pixels.
            num_frames: Length of the clip.
        """
        self._height, self._width = shape
        self._scale = min(shape) / 256
        self._spacing = max(2, round(STEP_PX * self._scale))
        self._frame = 0
        self._kept: list[list[Points]] = [[] for _ in range(num_frames)]
        self._path = np.empty((0, LIFE + 1, 2), np.float32)
        self._own = np.empty((0, LIFE, 2), np.float32)
        self._age = np.empty(0, np.intp)

    def step(self, prev: Grey, flow_px: Flow, camera: Camera) -> None:
        """Track from the current frame to the next one.

        Args:
            prev: The frame the pair starts at. Shape: (H, W).
            flow_px: Flow to the next frame without the camera's part, in pixels per frame. Shape: (H, W, 2).
            camera: The camera's part. Without one that is accepted, nothing can be said to move by itself and
                all tracks end.
        """
        if camera.accepted:
            self._sample(prev)
            self._advance(flow_px, camera)
            self._frame += 1
            self._end(self._age == LIFE)
        else:
            self._end(self._age >= 0)
            self._frame += 1

    def finish(self) -> None:
        """Judge the tracks that are alive at the end of the clip."""
        self._end(self._age >= 0)

    def map(self, frame: int) -> Mask:
        """Paint the kept trajectories that pass a frame.

        Args:
            frame: Frame number from 0. The last ten are not final before `finish`.

        Returns:
            Shape: (H, W).
        """
        canvas = np.zeros((self._height, self._width), np.uint8)
        for points in self._kept[frame]:
            columns, rows = np.rint(points).astype(np.intp).T
            canvas[rows, columns] = 1
        return cv2.dilate(canvas, _disc(DISC_RADIUS_PX * self._scale)).astype(bool)

    def _sample(self, frame: Grey) -> None:
        """Start tracks in the cells of the grid that hold structure and no track."""
        structure = cv2.cornerMinEigenVal(frame, 3)
        rows = np.arange(self._spacing // 2, self._height, self._spacing)
        columns = np.arange(self._spacing // 2, self._width, self._spacing)
        free = structure[np.ix_(rows, columns)] > LEAST_STRUCTURE * structure.max()
        taken = (self._heads() / self._spacing).astype(np.intp)
        free[np.minimum(taken[:, 1], len(rows) - 1), np.minimum(taken[:, 0], len(columns) - 1)] = False
        places = np.argwhere(free)[:, ::-1] * self._spacing + self._spacing // 2
        path = np.zeros((len(places), LIFE + 1, 2), np.float32)
        path[:, 0] = places
        self._path = np.concatenate([self._path, path])
        self._own = np.concatenate([self._own, np.zeros((len(places), LIFE, 2), np.float32)])
        self._age = np.concatenate([self._age, np.zeros(len(places), np.intp)])

    def _heads(self) -> Points:
        return self._path[np.arange(len(self._age)), self._age]

    def _advance(self, flow_px: Flow, camera: Camera) -> None:
        """Move every track one frame on; those that would leave the picture end where they are."""
        smooth = [cv2.medianBlur(np.ascontiguousarray(flow_px[..., axis]), 5) for axis in (0, 1)]
        heads = self._heads()
        columns, rows = np.rint(heads).astype(np.intp).T
        own = np.column_stack([channel[rows, columns] for channel in smooth])
        landed = camera.to_current(heads + own)
        inside = np.all((landed >= 0) & (landed <= (self._width - 1, self._height - 1)), axis=1)
        self._end(~inside)
        everyone = np.arange(len(self._age))
        self._own[everyone, self._age] = own[inside]
        self._age += 1
        self._path[everyone, self._age] = landed[inside]

    def _end(self, which: Mask) -> None:
        """Take tracks out, and remember where those that move by themselves did so."""
        path, own, age = self._path[which], self._own[which], self._age[which]
        judged = moves_by_itself(own, age, self._scale)
        moved = np.linalg.norm(own, axis=2) >= LEAST_MOTION_PX * self._scale
        # Into its first frame a track has no step; it is painted there when it moves on at once.
        painted = np.column_stack([moved[:, :1], moved]) & judged[:, None]
        steps = np.arange(LIFE + 1)
        frames = self._frame - age[:, None] + steps
        for frame in np.unique(frames[painted]):
            self._kept[frame].append(path[painted & (frames == frame)])
        self._path, self._own, self._age = self._path[~which], self._own[~which], self._age[~which]


def moves_by_itself(own: npt.NDArray[np.float32], age: npt.NDArray[np.intp], scale: float = 1.0) -> Mask:
    """Tell trajectories that move against the scene from short, static and erratic ones.

    Args:
        own: Displacements without the camera's part, in pixels; zero from the age on. Shape: (n, L, 2).
        age: Number of steps of each. Shape: (n,).
        scale: Short side of the frames over 256.

    Returns:
        Shape: (n,).
    """
    lengths = np.linalg.norm(own, axis=2)
    total = lengths.sum(axis=1)
    erratic = lengths.max(axis=1, initial=0) > LARGEST_SHARE_OF_PATH * total
    return np.asarray((age >= LEAST_AGE) & (total >= LEAST_PATH_PX * scale) & ~erratic, np.bool_)


def _disc(radius: float) -> npt.NDArray[np.uint8]:
    """Return a disc of ones in a square of zeros; its centre is the centre pixel."""
    reach = int(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(rows**2 + columns**2 <= radius**2, np.uint8)
