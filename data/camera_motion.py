"""Camera motion between two frames: matches, a robust homography, and the flow that is left without it.

Warp flow is the flow of what moves by itself: the current frame is drawn as the camera of the previous frame
would have seen it, and the flow is computed between the two (Wang and Schmid, ICCV 2013). H W are pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from data.flow import Flow, Grey, Method, compute_flow

Points = npt.NDArray[np.float32]
Homography = npt.NDArray[np.float64]

MOST_CORNERS = 400
LEAST_MATCHES = 50
LEAST_INLIERS = 25
INLIER_PX = 1.0
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
        grid = _grid(height, width)
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
    return fit_homography(source, target)


def tracked_corners(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Match corners of `prev` with `cur` by pyramidal Lucas-Kanade.

    Returns:
        Places in `prev` and in `cur`, in pixels. Shapes: (n, 2) each.
    """
    corners = cv2.goodFeaturesToTrack(prev, MOST_CORNERS, qualityLevel=0.001, minDistance=8)
    if corners is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        prev, cur, corners, np.empty_like(corners), winSize=(15, 15), maxLevel=3
    )
    source = np.asarray(corners, np.float32).reshape(-1, 2)
    target = np.asarray(moved, np.float32).reshape(-1, 2)
    longest = LARGEST_STEP_PX * max(1.0, min(prev.shape) / 256)
    good = (found.ravel() == 1) & (np.linalg.norm(target - source, axis=1) <= longest)
    return source[good], target[good]


def fit_homography(source: Points, target: Points) -> Camera:
    """Fit a homography to matches, most of which lie on what does not move.

    Args:
        source: Places in the previous frame, in pixels. Shape: (n, 2).
        target: The same points in the current frame. Shape: (n, 2).

    Returns:
        The camera motion; accepted with more than 50 matches and more than 25 of them within 1 px.
    """
    if len(source) <= LEAST_MATCHES:
        return Camera(np.eye(3), len(source), 0, False)
    homography, mask = cv2.findHomography(
        target, source, cv2.RANSAC, INLIER_PX, maxIters=2000, confidence=0.995
    )
    inliers = 0 if mask is None else int(mask.sum())
    if homography is None or inliers <= LEAST_INLIERS or not np.isfinite(homography).all():
        return Camera(np.eye(3), len(source), inliers, False)
    return Camera(np.asarray(homography, np.float64), len(source), inliers, True)


def warp_back(prev: Grey, cur: Grey, camera: Camera) -> Grey:
    """Draw `cur` as the camera of `prev` would have seen it; what `cur` does not show is kept from `prev`."""
    if not camera.accepted:
        return cur
    height, width = prev.shape
    warped = cv2.warpPerspective(
        cur, camera.homography, (width, height), dst=prev.copy(), borderMode=cv2.BORDER_TRANSPARENT
    )
    return np.asarray(warped, np.uint8)


def remove_camera(flow_px: Flow, camera: Camera) -> Flow:
    """Take the camera's part out of a plain flow, without computing a flow again.

    Args:
        flow_px: Flow between two frames in pixels per frame. Shape: (H, W, 2).
        camera: Camera motion between them.
    """
    grid = _grid(*flow_px.shape[:2])
    landed = transform(camera.homography, (grid + flow_px).reshape(-1, 2))
    return landed.reshape(grid.shape) - grid


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
    return WarpFlow(compute_flow(prev, warp_back(prev, cur, camera), method), camera)


def transform(homography: Homography, points: Points) -> Points:
    """Map points by a homography. Shapes: (3, 3), (n, 2) -> (n, 2)."""
    if len(points) == 0:
        return points
    moved = cv2.perspectiveTransform(points.reshape(-1, 1, 2), homography)
    return np.asarray(moved, np.float32).reshape(-1, 2)


def _grid(height: int, width: int) -> npt.NDArray[np.float32]:
    """Place of every pixel, (x, y) last. Shape: (height, width, 2)."""
    return np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
