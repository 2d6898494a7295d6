"""Dense optical flow between two frames, and the 8-bit images it is stored in.

Axes: H W pixels. A flow is float32 of shape (H, W, 2): at each pixel of the previous frame the displacement
(x right, y down), in pixels per frame, to the same point in the current frame.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from data import Method

METHODS: tuple[Method, ...] = get_args(Method)
Grey = npt.NDArray[np.uint8]
FlowField = npt.NDArray[np.float32]

SMALLEST_SIDE = 32
"""Frames with a side under this many pixels are refused: the pyramids of the methods need room."""


def compute_flow(prev: Grey, cur: Grey, method: Method = "dis") -> FlowField:
    """Compute the flow from `prev` to `cur`.

    Args:
        prev: Grey frame. Shape: (H, W), uint8.
        cur: The next frame, same shape.
        method: Algorithm; docs/motion.md compares them.

    Returns:
        Displacement in pixels per frame, (x, y) last. Shape: (H, W, 2). Always finite; zero where the frames
        are equal or have no structure.

    Raises:
        ValueError: The frames are not uint8 images of one shape, or a side is under 32 pixels.
    """
    _check_pair(prev, cur)
    solve = _solver(method, prev.shape)
    if np.array_equal(prev, cur) or _is_flat(prev) or _is_flat(cur):
        return np.zeros((*prev.shape, 2), np.float32)
    flow = solve(np.ascontiguousarray(prev), np.ascontiguousarray(cur))
    return flow if np.isfinite(flow).all() else np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0)


def encode(flow_px: npt.NDArray[np.floating[Any]], bound: float = 20) -> npt.NDArray[np.uint8]:
    """Turn displacements into grey levels: v = round(255 (clip(u, -b, b) + b) / 2b).

    Args:
        flow_px: Displacements in pixels per frame, of any shape.
        bound: Displacement b that grey level 255 stands for; larger ones are clipped.

    Returns:
        Grey levels of the same shape; no motion is 128. NaN counts as no motion.
    """
    clipped = np.clip(np.nan_to_num(flow_px, nan=0.0, posinf=bound, neginf=-bound), -bound, bound)
    return np.asarray(np.rint((clipped + bound) * (255 / (2 * bound))), np.uint8)


def decode(image: npt.NDArray[np.uint8], bound: float = 20) -> FlowField:
    """Turn the grey levels of a flow image back into displacements; the inverse of `encode` to b / 255 px.

    Args:
        image: Grey levels of any shape.
        bound: The bound the image was encoded with.

    Returns:
        Displacements in pixels per frame, in [-bound, bound]. No level stands for exactly 0: level 128 is
        0.08 px at the default bound.
    """
    return (image.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)).astype(np.float32)


def flow_colours(flow_px: FlowField, largest_px: float = 8) -> npt.NDArray[np.uint8]:
    """Draw a flow as colours: hue is the direction, saturation the speed, white is at rest.

    Args:
        flow_px: Displacements in pixels per frame. Shape: (H, W, 2).
        largest_px: Speed at which the saturation is full.

    Returns:
        RGB picture. Shape: (H, W, 3).
    """
    speed, angle = cv2.cartToPolar(flow_px[..., 0], flow_px[..., 1], angleInDegrees=True)
    strength = np.minimum(speed / largest_px, 1)
    hsv = np.dstack([angle, strength, np.ones_like(angle)]).astype(np.float32)
    return np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).astype(np.uint8)


def _check_pair(prev: Grey, cur: Grey) -> None:
    for frame in (prev, cur):
        if frame.ndim != 2 or frame.dtype != np.uint8:
            raise ValueError(f"frames should be grey (H, W) uint8, got {frame.shape} {frame.dtype}")
    if prev.shape != cur.shape:
        raise ValueError(f"both frames should have one size, got {prev.shape} and {cur.shape}")
    if min(prev.shape) < SMALLEST_SIDE:
        raise ValueError(f"frames should be at least {SMALLEST_SIDE} px a side, got {prev.shape}")


def _is_flat(frame: Grey) -> bool:
    return bool(frame.min() == frame.max())


@lru_cache(maxsize=8)
def _solver(method: Method, shape: tuple[int, int]) -> Callable[[Grey, Grey], FlowField]:
    """Make one solver for each frame size; OpenCV's objects keep their work buffers between pairs.

    One solver can't serve several sizes: TV-L1 errs by tens of pixels when the size changes, and DIS keeps
    the scales that it chose for small frames.
    """
    if method == "farneback":
        return _farneback
    if method not in METHODS:
        raise ValueError(f"flow method should be one of {', '.join(METHODS)}, got {method!r}")
    solver = {"tvl1": _tvl1, "dis": _dis, "deepflow": cv2.optflow.createOptFlow_DeepFlow}[method]()
    return lambda prev, cur: solver.calc(prev, cur, None)


def _tvl1() -> Any:
    """TV-L1 of Zach et al. (2007) with fewer iterations than OpenCV's: less error, a quarter of the cost."""
    solver = cv2.optflow.DualTVL1OpticalFlow.create(scaleStep=0.5, nscales=5, warps=3)
    solver.setOuterIterations(2)
    solver.setInnerIterations(10)
    return solver


def _dis() -> Any:
    """Dense inverse search of Kroeger et al. (2016): a preset at half its cost with no more error."""
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    solver.setPatchStride(4)
    solver.setGradientDescentIterations(16)
    solver.setVariationalRefinementIterations(1)
    return solver


def _farneback(prev: Grey, cur: Grey) -> FlowField:
    flow = np.empty((*prev.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(prev, cur, flow, 0.5, 4, 13, 5, 7, 1.5, 0), np.float32)
