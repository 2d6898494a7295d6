"""Camera motion between two frames, and the flow that remains once it is removed (warp flow).

Warp flow shows what moves by itself: the current frame is warped to the camera of the previous frame, and the
flow is computed between those two (Wang and Schmid, ICCV 2013). On plain tables and walls that flow is noise,
because any small displacement explains the picture as well as none, so it is set to zero where nothing moves.

Axes: H W pixels, n points. Points and flow are (x, y) in pixels. Lengths are given for a short side of 256 px
and scale with the frame.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from data import Method
from data.flow import FlowField, Grey, compute_flow
from data.motion.homography import Homography, Points, fit_homography, transform

CELLS = (5, 8)
"""Rows and columns of the grid over which corners are spread."""
CORNERS_PER_CELL = 8
CORNER_SPACING_PX = 9
"""Smallest distance of two corners. It scales with the frame, so that a small one has as many corners."""
MIN_STRUCTURE = 1e-4
"""Smaller eigenvalue of the structure tensor (grey levels 0 to 1) below which a corner may be noise."""
MAX_STEP_PX = 25.0
"""Longer matches are taken to be wrong."""
MIN_LIKENESS = 0.5
"""Correlation of two frames' thumbnails below which they show different scenes."""

DETAIL_PX = 13
"""Side of the local mean that is subtracted from a frame to leave its detail."""
WINDOW_PX = 5
MIN_GAIN = 0.8
"""Grey levels, mean over the window, by which the flow must explain the picture better than no motion."""
EDGE_REACH_PX = 20
EDGE_CONTRAST = 50.0
"""Squared grey levels; where the frame varies by more, the outline of what moves follows its edges."""
MIN_SHARE = 0.45


@dataclass(frozen=True)
class Camera:
    """Motion of the camera between two frames."""

    homography: Homography
    """Maps pixels of the current frame to the previous one; the identity when not accepted. Shape: (3, 3)."""
    matches: int
    inliers: int
    """Number of matches within 1 px of the fit."""
    accepted: bool
    """Whether matches and inliers were enough to trust the fit."""

    def flow(self, height: int, width: int) -> FlowField:
        """Return the flow to the current frame that the camera alone causes: (height, width, 2)."""
        grid = pixel_grid(height, width)
        return self.to_current(grid.reshape(-1, 2)).reshape(grid.shape) - grid

    def to_current(self, points: Points) -> Points:
        """Map points (n, 2) of the previous frame to where the camera motion puts them in the current one."""
        return transform(np.asarray(np.linalg.inv(self.homography), np.float64), points)


STILL = Camera(np.eye(3), matches=0, inliers=0, accepted=False)
"""Stands in where the camera motion can't be found."""


@dataclass(frozen=True)
class WarpFlow:
    """Flow without camera motion, and the camera motion that was removed."""

    flow_px: FlowField
    """Flow as seen by the previous frame's camera, pixels per frame; 0 where the current frame ends.
    Shape: (H, W, 2)."""
    camera: Camera


def warp_flow(prev: Grey, cur: Grey, method: Method = "dis") -> WarpFlow:
    """Compute the flow between two frames without the camera's part.

    Args:
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The frame after it, same shape.
        method: Flow algorithm.
    """
    camera = camera_homography(prev, cur)
    return WarpFlow(camera_free_flow(prev, cur, camera, method), camera)


def camera_free_flow(prev: Grey, cur: Grey, camera: Camera, method: Method = "dis") -> FlowField:
    """Compute the flow that remains once a known camera motion is removed. Shape: (H, W, 2)."""
    aligned = warp_back(prev, cur, camera)
    return zero_flow_where_still(compute_flow(prev, aligned, method), prev, aligned)


def camera_homography(prev: Grey, cur: Grey) -> Camera:
    """Find the camera motion between two frames from tracked corners.

    Args:
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The frame after it, same shape.

    Returns:
        The homography from `cur` to `prev`, or the identity where too few corners agree.
    """
    source, target = tracked_corners(prev, cur)
    fit = fit_homography(source, target)
    if fit is None:
        return Camera(np.eye(3), len(source), 0, False)
    return Camera(fit.homography, len(source), fit.inliers, True)


def tracked_corners(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Match corners of `prev` with `cur` by pyramidal Lucas-Kanade. Shapes: (n, 2) each."""
    source = even_corners(prev)
    if len(source) == 0:
        return source, source
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        prev, cur, source, np.empty_like(source), winSize=(15, 15), maxLevel=3, criteria=(3, 10, 0.03)
    )
    target = np.asarray(moved, np.float32).reshape(-1, 2)
    longest = MAX_STEP_PX * max(1.0, min(prev.shape) / 256)
    good = (found.ravel() == 1) & (np.linalg.norm(target - source, axis=1) <= longest)
    return source[good], target[good]


def even_corners(frame: Grey) -> Points:
    """Find corners that are spread evenly: the strongest of each cell of a grid.

    Over the whole frame, the strongest corners crowd on textured hands and leave a plain table bare: the
    homography then follows the hands. Returns positions, shape (n, 2).
    """
    structure = cv2.cornerMinEigenVal(frame, 5)
    spacing = odd_px(CORNER_SPACING_PX, frame.shape)
    highest = cv2.dilate(structure, np.ones((spacing, spacing), np.uint8))
    rows, columns = np.nonzero((structure == highest) & (structure > MIN_STRUCTURE))
    height, width = frame.shape
    cells = (rows * CELLS[0] // height) * CELLS[1] + columns * CELLS[1] // width
    order = np.lexsort((-structure[rows, columns], cells))
    rank = np.arange(len(order)) - np.searchsorted(cells[order], cells[order])  # within its cell
    kept = order[rank < CORNERS_PER_CELL]
    return np.column_stack([columns[kept], rows[kept]]).astype(np.float32)


def warp_back(prev: Grey, cur: Grey, camera: Camera) -> Grey:
    """Warp `cur` to the camera of `prev`; pixels that `cur` does not show are copied from `prev`."""
    if not camera.accepted:
        return cur
    height, width = prev.shape
    warped = cv2.warpPerspective(
        cur, camera.homography, (width, height), dst=prev.copy(), borderMode=cv2.BORDER_TRANSPARENT
    )
    return np.asarray(warped, np.uint8)


def is_cut(prev: Grey, cur: Grey) -> bool:
    """Tell whether two frames without a common homography show different scenes.

    They are compared as thumbnails, in which a motion of a few pixels hardly shows.
    """
    small = [
        cv2.resize(frame, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32) for frame in (prev, cur)
    ]
    centred = [frame - frame.mean() for frame in small]
    norms = [float(np.linalg.norm(frame)) for frame in centred]
    if min(norms) == 0:
        return norms[0] != norms[1]
    return float((centred[0] * centred[1]).sum()) < MIN_LIKENESS * norms[0] * norms[1]


def zero_flow_where_still(flow_px: FlowField, prev: Grey, cur: Grey) -> FlowField:
    """Set the flow to zero where the absence of motion explains the picture about as well.

    A pixel keeps its flow only where that explains the detail of the current frame better than no motion
    does. Detail is the grey level minus its local mean: passing shadows and changes of exposure have little
    of it and so count as still.

    Args:
        flow_px: Flow from `prev` to `cur`, in pixels per frame. Shape: (H, W, 2).
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The frame after it, without camera motion. Shape: (H, W), uint8.

    Returns:
        Shape: (H, W, 2).
    """
    shape = prev.shape
    columns, rows = cv2.split(pixel_grid(*prev.shape) + flow_px)
    predicted = cv2.remap(cur, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    size, window = odd_px(DETAIL_PX, shape), odd_px(WINDOW_PX, shape)
    details = []
    for frame in (prev, cur, predicted):
        grey = frame.astype(np.float32)
        details.append(np.asarray(grey - cv2.blur(grey, (size, size)), np.float32))
    gain = cv2.absdiff(details[0], details[1]) - cv2.absdiff(details[0], details[2])
    better = np.asarray(cv2.blur(gain, (window, window)) > MIN_GAIN, np.float32)
    # The window blurs the outline; the guided filter (He et al., 2010) draws it along the frame's edges.
    reach = max(2, round(EDGE_REACH_PX * min(shape) / 256))
    share = cv2.ximgproc.guidedFilter(prev, better, reach, EDGE_CONTRAST)
    moves = np.asarray(share > MIN_SHARE, np.float32)
    return np.asarray(flow_px * moves[..., None], np.float32)


@lru_cache(maxsize=4)
def pixel_grid(height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the (x, y) position of every pixel, read-only. Shape: (height, width, 2)."""
    grid = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    grid.flags.writeable = False
    return grid


def odd_px(length_px: float, shape: tuple[int, ...]) -> int:
    """Scale a length given for a short side of 256 px to a frame, to the nearest odd number from 3."""
    return max(3, 2 * round((length_px * min(shape) / 256 - 1) / 2) + 1)
