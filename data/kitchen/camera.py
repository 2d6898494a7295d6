"""The head-worn camera: a smooth random homography a frame that never stands still and never wanders off."""

import numpy as np

from data.kitchen.geometry import apply
from data.kitchen.painter import Array

_DENSITY = 24
"""Points of the path worked out for each frame's worth of it."""

_REACH = (13.0, 8.0, 1.8, 0.018, 0.9e-4, 0.9e-4)
"""How far a path goes in x, y (table units), turn (degrees), zoom, tilt in x and in y."""

SLOWEST, FASTEST = 1.15, 5.5
"""Bounds of the motion, pixels a frame on average over the picture."""


def camera_path(frames: int, shake: float, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw a camera path.

    A smooth curve of views is walked at a pace that swells and fades, so that every step moves the picture by
    `SLOWEST` to `FASTEST` pixels. Played backwards it is as likely as forwards.

    Args:
        frames: N, at least 1.
        shake: Typical motion, pixels a frame.
        size: Width and height of the picture, pixels.
        rng: Decides the path.

    Returns:
        Table coordinates to pixels of each frame. Shape: (N, 3, 3).
    """
    pace = np.clip(
        shake * np.exp(_wave(np.arange(frames, dtype=np.float64), 9.0, rng) * 0.3), SLOWEST, FASTEST
    )
    walked = np.concatenate([[0.0], np.cumsum(pace[1:])])
    curve = _curve(float(walked[-1]), size, rng)
    views = _views(curve, size)
    along = np.concatenate([[0.0], np.cumsum(_step_lengths(views, size))])
    fine = np.interp(walked + 1e-9, along, np.arange(len(along)))
    picked = np.stack([np.interp(fine, np.arange(len(curve)), curve[:, i]) for i in range(6)], axis=1)
    return _views(picked, size)


def _wave(at: Array, period: float, rng: np.random.Generator) -> Array:
    """A smooth unrest of about unit size. Shape: as `at`."""
    rates, starts = rng.uniform(0.6, 1.6, 3) * 2 * np.pi / period, rng.uniform(0, 2 * np.pi, 3)
    return np.asarray(np.sin(np.asarray(at)[..., None] * rates + starts).sum(-1) / np.sqrt(1.5))


def _curve(length_px: float, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """View parameters along a path at least that long. Shape: (P, 6)."""
    count = 64
    while True:
        state = rng.bit_generator.state
        at = np.arange(count) / _DENSITY
        columns = [
            reach * _wave(at, period, rng)
            for reach, period in zip(_REACH, (30, 34, 50, 60, 60, 60), strict=True)
        ]
        curve = np.stack(columns, axis=1) * 0.8
        if _step_lengths(_views(curve, size), size).sum() > length_px + 1:
            return curve
        rng.bit_generator.state = state
        count *= 2


def _views(parameters: Array, size: tuple[int, int]) -> Array:
    """View parameters to matrices. Shapes: (P, 6) to (P, 3, 3)."""
    w, h = size
    scale = h / 256
    x, y, turn, zoom, px, py = parameters.T
    c, s = np.cos(np.deg2rad(turn)) * np.exp(zoom), np.sin(np.deg2rad(turn)) * np.exp(zoom)
    one = np.ones_like(x)
    view = np.stack([c, -s, x, s, c, y, px, py, one], axis=1).reshape(-1, 3, 3)
    middle = np.array([[1, 0, -w / scale / 2], [0, 1, -128.0], [0, 0, 1]])
    to_pixels = np.array([[scale, 0, w / 2 - 0.5], [0, scale, h / 2 - 0.5], [0, 0, 1]])
    return np.asarray(to_pixels @ view @ middle)


def _step_lengths(views: Array, size: tuple[int, int]) -> Array:
    """Mean motion of a grid of picture points from each view to the next, pixels. Shape: (P - 1,)."""
    w, h = size
    points = np.stack(np.meshgrid([0, w / 2, w - 1], [0, h / 2, h - 1]), axis=-1).reshape(-1, 2)
    table = apply(np.asarray(np.linalg.inv(views[:-1]), np.float64)[:, None], points)
    moved = apply(views[1:][:, None], table)
    return np.asarray(np.linalg.norm(moved - points, axis=-1).mean(axis=1))


def steps_back(views: Array) -> Array:
    """Homographies from each frame's pixels to those of the frame before; the identity first. (N, 3, 3)."""
    back = np.concatenate([np.eye(3)[None], views[:-1] @ np.linalg.inv(views[1:])])
    return np.asarray(back / back[:, 2:, 2:])
