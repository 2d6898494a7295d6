"""The head-worn camera: a smooth random path of homographies that never rests and never drifts away."""

import numpy as np

from data.synthetic.geometry import apply
from data.synthetic.painter import Array

_REACH = (10.5, 6.5, 1.45, 0.0145, 0.7e-4, 0.7e-4)
"""Typical extent of a path in x, y (table units), rotation (degrees), zoom, tilt in x and tilt in y."""

_PERIODS = (30.0, 34.0, 50.0, 60.0, 60.0, 60.0)
"""Typical period of each of those along the path."""

_MAX_STEPS = 1 << 16
"""Steps along a path within which it must have moved the picture by one frame's motion."""

SLOWEST, FASTEST = 1.1, 5.2
"""Bounds of the camera's motion, pixels per frame, averaged over a picture of 128 lines or more."""


def camera_path(frames: int, shake: float, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw a camera path.

    It follows a smooth curve of views at a varying pace, so that every step moves the picture by `SLOWEST` to
    `FASTEST` pixels. A path and its reverse are equally likely.

    Args:
        frames: N, at least 1.
        shake: Typical motion, pixels per frame.
        size: Width and height of the picture, pixels.
        rng: Decides the path.

    Returns:
        Table coordinates to pixels of each frame. Shape: (N, 3, 3).
    """
    swell = _Wave(9.0, rng)(np.arange(frames - 1, dtype=np.float64))
    pace = np.clip(shake * np.exp(0.3 * swell), SLOWEST, FASTEST) * min(1.0, size[1] / 128)
    waves = [_Wave(period, rng) for period in _PERIODS]
    views = [_views_at(waves, np.zeros(1), size)]
    at = 0.0
    for step in pace:
        at = _next(waves, at, float(step), views[-1], size)
        views.append(_views_at(waves, np.array([at]), size))
    return np.concatenate(views)


class _Wave:
    """A smooth random function of about unit size."""

    def __init__(self, period: float, rng: np.random.Generator) -> None:
        self.rates = rng.uniform(0.6, 1.6, 3) * 2 * np.pi / period
        self.starts = rng.uniform(0, 2 * np.pi, 3)

    def __call__(self, at: Array) -> Array:
        waves = np.sin(at[:, None] * self.rates + self.starts)
        return np.asarray(waves.sum(axis=1) / np.sqrt(1.5))


def _next(waves: list[_Wave], at: float, step: float, view: Array, size: tuple[int, int]) -> float:
    """Position beyond `at` where the picture has first moved by `step` pixels away from `view`."""
    ahead = np.arange(0, 3, 1 / 16)
    while len(ahead) < _MAX_STEPS:
        moved = _motion(view, _views_at(waves, at + ahead, size), size)
        k = int(np.argmax(moved >= step))
        if k:
            share = (step - moved[k - 1]) / (moved[k] - moved[k - 1])
            return float(at + ahead[k - 1] + share * (ahead[k] - ahead[k - 1]))
        ahead = np.concatenate([ahead, ahead + ahead[-1] + 1 / 16])
    raise AssertionError(f"a camera path that never moves the picture by {step} pixels")


def _views_at(waves: list[_Wave], at: Array, size: tuple[int, int]) -> Array:
    """Views at P positions along the curve, table coordinates to pixels. Shape: (P, 3, 3)."""
    w, h = size
    scale = h / 256
    x, y, turn, zoom, px, py = (reach * wave(at) for reach, wave in zip(_REACH, waves, strict=True))
    c, s = np.cos(np.deg2rad(turn)) * np.exp(zoom), np.sin(np.deg2rad(turn)) * np.exp(zoom)
    one = np.ones_like(x)
    view = np.stack([c, -s, x, s, c, y, px, py, one], axis=1).reshape(-1, 3, 3)
    middle = np.array([[1, 0, -w / scale / 2], [0, 1, -128.0], [0, 0, 1]])
    to_pixels = np.array([[scale, 0, w / 2 - 0.5], [0, scale, h / 2 - 0.5], [0, 0, 1]])
    return np.asarray(to_pixels @ view @ middle)


def _motion(view: Array, others: Array, size: tuple[int, int]) -> Array:
    """Mean motion of a grid of pixels from one view to each of the others, pixels. Shape: (P,)."""
    w, h = size
    share = (np.arange(5) + 0.5) / 5
    points = np.stack(np.meshgrid(w * share - 0.5, h * share - 0.5), axis=-1).reshape(-1, 2)
    moved = apply(others[:, None], apply(np.asarray(np.linalg.inv(view), np.float64), points))
    return np.asarray(np.linalg.norm(moved - points, axis=-1).mean(axis=1))


def steps_back(views: Array) -> Array:
    """Homographies from each frame's pixels to the frame before; the identity first. Shape: (N, 3, 3)."""
    back = np.concatenate([np.eye(3)[None], views[:-1] @ np.linalg.inv(views[1:])])
    return np.asarray(back / back[:, 2:, 2:])
