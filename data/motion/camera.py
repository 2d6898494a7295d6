"""Camera motion between two frames: matches, a robust homography, and the flow that is left without it.

Warp flow is the flow of what moves by itself: the current frame is drawn as the camera of the previous frame
would have seen it, and the flow is computed between the two (Wang and Schmid, ICCV 2013). H W are pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data.flow import Flow, Grey, Method, compute_flow
from data.motion.homography import Homography, Points, fit_homography, transform
from data.motion.rest import odd_px, pixel_grid, rest_where_still

CELLS = (5, 8)
"""Rows and columns of the grid over which corners are spread."""
CORNERS_A_CELL = 8
CORNER_SPACING_PX = 9
"""Least distance of two corners. It scales with the frame, so that a small one has as many corners."""
LEAST_STRUCTURE = 1e-4
"""Smaller eigenvalue of the structure tensor (grey levels 0 to 1) under which a corner may be noise."""
LARGEST_STEP_PX = 25.0
"""A match longer than this for each 256 px of the short side is taken for a wrong one."""
LEAST_LIKENESS = 0.5


@dataclass(frozen=True)
class Camera:
    """Motion of the camera between two frames.

    Attributes:
        homography: Maps pixels of the current frame to the previous one; the identity when not accepted.
            Shape: (3, 3).
        matches: Number of matched points it was fitted to.
        inliers: Number of them within 1 px of the fit.
        accepted: Whether the fit had enough matches and inliers to be believed.
    """

    homography: Homography
    matches: int
    inliers: int
    accepted: bool

    def flow(self, height: int, width: int) -> Flow:
        """Return the flow from the previous frame to the current one that the camera alone causes.

        Returns:
            Displacement in pixels per frame. Shape: (height, width, 2).
        """
        grid = pixel_grid(height, width)
        return self.to_current(grid.reshape(-1, 2)).reshape(grid.shape) - grid

    def to_current(self, points: Points) -> Points:
        """Map points of the previous frame to where the camera motion puts them in the current one.

        Args:
            points: (x, y) in pixels. Shape: (n, 2).
        """
        return transform(np.asarray(np.linalg.inv(self.homography), np.float64), points)


@dataclass(frozen=True)
class WarpFlow:
    """Flow without camera motion, and the camera motion itself.

    Attributes:
        flow_px: Flow from the previous frame to the current one as the previous camera would have seen it, in
            pixels per frame; 0 where the current frame does not show the place. Shape: (H, W, 2).
        camera: What was taken away.
    """

    flow_px: Flow
    camera: Camera


STILL = Camera(np.eye(3), matches=0, inliers=0, accepted=False)
"""Stands in where the camera motion can't be found."""


def camera_homography(prev: Grey, cur: Grey) -> Camera:
    """Find the camera motion between two frames from tracked corners.

    Args:
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The frame after it, same shape.

    Returns:
        The homography from `cur` to `prev`, or the identity where there is nothing to hold on to.
    """
    source, target = tracked_corners(prev, cur)
    fit = fit_homography(source, target)
    if fit is None:
        return Camera(np.eye(3), len(source), 0, False)
    return Camera(fit.homography, len(source), fit.inliers, True)


def tracked_corners(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Match corners of `prev` with `cur` by pyramidal Lucas-Kanade.

    Returns:
        Places in `prev` and in `cur`, in pixels. Shapes: (n, 2) each.
    """
    source = even_corners(prev)
    if len(source) == 0:
        return source, source
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        prev, cur, source, np.empty_like(source), winSize=(15, 15), maxLevel=3, criteria=(3, 10, 0.03)
    )
    target = np.asarray(moved, np.float32).reshape(-1, 2)
    longest = LARGEST_STEP_PX * max(1.0, min(prev.shape) / 256)
    good = (found.ravel() == 1) & (np.linalg.norm(target - source, axis=1) <= longest)
    return source[good], target[good]


def even_corners(frame: Grey) -> Points:
    """Find corners that are spread evenly, the strongest of each cell of a grid.

    Taken over the whole frame, the strongest corners crowd on textured hands and leave a plain table bare:
    the homography then follows the hands.

    Returns:
        Places in pixels. Shape: (n, 2).
    """
    structure = cv2.cornerMinEigenVal(frame, 5)
    spacing = odd_px(CORNER_SPACING_PX, frame.shape)
    highest = cv2.dilate(structure, np.ones((spacing, spacing), np.uint8))
    rows, columns = np.nonzero((structure == highest) & (structure > LEAST_STRUCTURE))
    height, width = frame.shape
    cells = (rows * CELLS[0] // height) * CELLS[1] + columns * CELLS[1] // width
    order = np.lexsort((-structure[rows, columns], cells))
    rank = np.arange(len(order)) - np.searchsorted(cells[order], cells[order])
    kept = order[rank < CORNERS_A_CELL]
    return np.column_stack([columns[kept], rows[kept]]).astype(np.float32)


def warp_back(prev: Grey, cur: Grey, camera: Camera) -> Grey:
    """Draw `cur` as the camera of `prev` would have seen it; what `cur` does not show is kept from `prev`."""
    if not camera.accepted:
        return cur
    height, width = prev.shape
    warped = cv2.warpPerspective(
        cur, camera.homography, (width, height), dst=prev.copy(), borderMode=cv2.BORDER_TRANSPARENT
    )
    return np.asarray(warped, np.uint8)


def is_cut(prev: Grey, cur: Grey) -> bool:
    """Tell whether two frames without a common homography show different scenes.

    Scenes are compared as thumbnails, in which a motion of some pixels hardly shows.
    """
    small = [
        cv2.resize(frame, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32) for frame in (prev, cur)
    ]
    centred = [frame - frame.mean() for frame in small]
    norms = [float(np.linalg.norm(frame)) for frame in centred]
    if min(norms) == 0:
        return norms[0] != norms[1]
    return float((centred[0] * centred[1]).sum()) < LEAST_LIKENESS * norms[0] * norms[1]


def warp_flow(prev: Grey, cur: Grey, method: Method = "dis") -> WarpFlow:
    """Compute the flow between two frames without the camera's part.

    Args:
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The frame after it, same shape.
        method: Flow algorithm.
    """
    camera = camera_homography(prev, cur)
    return WarpFlow(camera_free_flow(prev, cur, camera, method), camera)


def camera_free_flow(prev: Grey, cur: Grey, camera: Camera, method: Method = "dis") -> Flow:
    """Compute the flow that is left when a known camera motion is taken away.

    Returns:
        In pixels per frame, 0 where rest explains the picture about as well. Shape: (H, W, 2).
    """
    seen = warp_back(prev, cur, camera)
    return rest_where_still(compute_flow(prev, seen, method), prev, seen)
