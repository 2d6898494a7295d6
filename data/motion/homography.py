"""Robust homography between matched points: RANSAC finds it, reweighted least squares makes it exact.

Axes: n matches; points are (x, y) in pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]
Homography = npt.NDArray[np.float64]

MIN_MATCHES = 50
MIN_INLIERS = 25
INLIER_PX = 1.0
ROUNDS = 5
MIN_SCALE_PX = 0.05
PARAMETER_SCALE = np.array([1, 1, 100, 1, 1, 100, 0.01, 0.01])
"""Changes of the eight parameters that move a point about equally far; they make the system well-posed."""


@dataclass(frozen=True)
class Fit:
    """A homography from targets to sources, shape (3, 3), and the number of matches within 1 px of it."""

    homography: Homography
    inliers: int


def fit_homography(source: Points, target: Points) -> Fit | None:
    """Fit a homography to matches, most of which lie on the still background.

    RANSAC with a threshold of 1 px, as in improved dense trajectories, then a refinement with Tukey's weights
    whose scale follows the residuals. The refinement guards against hands: those of their points that move by
    less than the threshold pass RANSAC, and get no weight here.

    Args:
        source: Positions in the previous frame. Shape: (n, 2).
        target: The same points in the current frame. Shape: (n, 2).

    Returns:
        The homography from `target` to `source`, or None unless there are more than 50 matches of which more
        than 25 agree within 1 px.
    """
    if len(source) <= MIN_MATCHES:
        return None
    found, mask = cv2.findHomography(target, source, cv2.RANSAC, INLIER_PX, maxIters=2000, confidence=0.995)
    if found is None or mask is None or int(mask.sum()) <= MIN_INLIERS or not np.isfinite(found).all():
        return None
    homography = refine(np.asarray(found, np.float64), source, target)
    inliers = int((_residuals(homography, source, target) < INLIER_PX).sum())
    return Fit(homography, inliers) if inliers > MIN_INLIERS else None


def refine(homography: Homography, source: Points, target: Points) -> Homography:
    """Improve a homography by reweighted Gauss-Newton steps.

    A match at distance r has Tukey's weight (1 - (r / 2s)^2)^2, zero beyond 2s. The scale s is 1.5 times the
    median distance of the matches within 1 px: tight on clean video, loose on noisy video.

    Args:
        homography: Initial estimate, from `target` to `source`. Shape: (3, 3).
        source: Positions in the previous frame. Shape: (n, 2).
        target: The same points in the current frame.

    Returns:
        Shape: (3, 3). The initial estimate where the matches don't determine a better one.
    """
    better: Homography = homography / homography[2, 2]
    for _ in range(ROUNDS):
        residuals = _residuals(better, source, target)
        near = residuals[residuals < INLIER_PX]
        scale = max(MIN_SCALE_PX, 1.5 * float(np.median(near))) if len(near) else INLIER_PX
        weights = np.clip(1 - (residuals / (2 * scale)) ** 2, 0, None) ** 2
        step = _gauss_newton(better, source, target, weights)
        if step is None:
            return homography
        better = better + step
    return better


def transform(homography: Homography, points: Points) -> Points:
    """Map points by a homography. Shapes: (3, 3), (n, 2) -> (n, 2)."""
    if len(points) == 0:
        return points
    moved = cv2.perspectiveTransform(points.reshape(-1, 1, 2), homography)
    return np.asarray(moved, np.float32).reshape(-1, 2)


def _residuals(homography: Homography, source: Points, target: Points) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.norm(transform(homography, target) - source, axis=1), np.float64)


def _gauss_newton(
    homography: Homography, source: Points, target: Points, weights: npt.NDArray[np.float64]
) -> Homography | None:
    """Return the step that reduces the weighted sum of squared distances, h33 staying 1; None if singular."""
    ones = np.column_stack([target, np.ones(len(target))]).astype(np.float64)  # (n, 3)
    mapped = ones @ homography.T
    depth = mapped[:, 2:]
    positions = mapped[:, :2] / depth  # (n, 2)
    rows = ones / depth
    # The derivative of each projected coordinate by the eight parameters: (n, 2, 8).
    jacobian = np.zeros((len(target), 2, 8))
    jacobian[:, 0, :3] = jacobian[:, 1, 3:6] = rows
    jacobian[:, :, 6:] = -positions[:, :, None] * rows[:, None, :2]
    jacobian *= PARAMETER_SCALE
    weighted = (jacobian * weights[:, None, None]).reshape(-1, 8)
    distances = (source - positions).ravel()
    try:
        step = np.linalg.solve(weighted.T @ jacobian.reshape(-1, 8), weighted.T @ distances)
    except np.linalg.LinAlgError:
        return None
    change: Homography = np.append(step * PARAMETER_SCALE, 0.0).reshape(3, 3)
    return change if np.isfinite(change).all() else None
