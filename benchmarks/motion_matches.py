"""Ways to match two frames and to fit a homography, measured against the one of data.motion.camera."""

from collections.abc import Callable

import cv2
import numpy as np

from data.flow import FlowField, Grey, compute_flow
from data.motion.camera import STILL, Camera, even_corners
from data.motion.homography import INLIER_PX, Points, fit_homography

Matcher = Callable[[Grey, Grey], tuple[Points, Points]]
Fitter = Callable[[Points, Points], Camera]

MOST_CORNERS = 1000
LARGEST_STEP_PX = 25.0


def strongest_corners(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Track the 400 strongest corners of the whole frame by pyramidal Lucas-Kanade."""
    corners = cv2.goodFeaturesToTrack(prev, 400, 0.001, 8)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        prev, cur, corners, np.empty_like(corners), winSize=(15, 15), maxLevel=3
    )
    return _short(corners.reshape(-1, 2)[found.ravel() == 1], moved.reshape(-1, 2)[found.ravel() == 1])


def flow_corners(prev: Grey, cur: Grey, flow_px: FlowField | None = None) -> tuple[Points, Points]:
    """Displace up to 1000 corners by a flow, DIS when none is given."""
    corners = np.asarray(cv2.goodFeaturesToTrack(prev, MOST_CORNERS, 0.001, 8), np.float32).reshape(-1, 2)
    return _displace(corners, compute_flow(prev, cur, "dis") if flow_px is None else flow_px)


def even_flow_corners(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Displace evenly spread corners by the DIS flow."""
    return _displace(even_corners(prev), compute_flow(prev, cur, "dis"))


def sift(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Match SIFT features, mutual nearest neighbours."""
    return _features(cv2.SIFT.create(1000), cv2.NORM_L2, prev, cur)


def orb(prev: Grey, cur: Grey) -> tuple[Points, Points]:
    """Match ORB features, mutual nearest neighbours."""
    return _features(cv2.ORB.create(1000), cv2.NORM_HAMMING, prev, cur)


def sift_and_flow(prev: Grey, cur: Grey, flow_px: FlowField | None = None) -> tuple[Points, Points]:
    """Join SIFT matches with corners displaced by a flow, as the original tool does with SURF."""
    pairs = [sift(prev, cur), flow_corners(prev, cur, flow_px)]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def ransac(source: Points, target: Points) -> Camera:
    """Fit by RANSAC with a threshold of 1 px; OpenCV refines it on the inliers."""
    return _fit(source, target, cv2.RANSAC)


def refined(source: Points, target: Points) -> Camera:
    """Fit as `data.motion.homography`: RANSAC, then Tukey's weights with a scale from the residuals."""
    fit = fit_homography(source, target)
    return STILL if fit is None else Camera(fit.homography, len(source), fit.inliers, True)


def magsac(source: Points, target: Points) -> Camera:
    """Fit by MAGSAC++."""
    return _fit(source, target, cv2.USAC_MAGSAC)


def magsac_refitted(source: Points, target: Points) -> Camera:
    """Fit by MAGSAC++, then by least squares to the matches within 1 px."""
    first = magsac(source, target)
    if not first.accepted:
        return first
    error = np.linalg.norm(first.to_current(source) - target, axis=1)
    near = error < INLIER_PX
    homography, _ = cv2.findHomography(target[near], source[near], 0)
    return STILL if homography is None else Camera(homography, len(source), int(near.sum()), True)


def _displace(corners: Points, flow_px: FlowField) -> tuple[Points, Points]:
    columns, rows = np.rint(corners).astype(int).T
    return _short(corners, corners + flow_px[rows, columns])


def _features(detector: cv2.Feature2D, norm: int, prev: Grey, cur: Grey) -> tuple[Points, Points]:
    (keys, words), (other_keys, other_words) = (
        detector.detectAndCompute(frame, None) for frame in (prev, cur)
    )
    if words is None or other_words is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    pairs = cv2.BFMatcher(norm, crossCheck=True).match(words, other_words)
    source = np.array([keys[pair.queryIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    target = np.array([other_keys[pair.trainIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    return _short(source, target)


def _short(source: Points, target: Points) -> tuple[Points, Points]:
    near = np.linalg.norm(target - source, axis=1) <= LARGEST_STEP_PX
    return source[near], target[near]


def _fit(source: Points, target: Points, how: int) -> Camera:
    if len(source) <= 50:
        return STILL
    homography, mask = cv2.findHomography(target, source, how, INLIER_PX, maxIters=2000, confidence=0.995)
    if homography is None or mask.sum() <= 25:
        return STILL
    return Camera(np.asarray(homography, np.float64), len(source), int(mask.sum()), True)
