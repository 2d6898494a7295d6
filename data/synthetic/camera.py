"""The head-worn camera: a smooth random homography a frame that never stands still and never wanders off."""

import numpy as np

from data.synthetic.geometry import apply
from data.synthetic.painter import Array

_REACH = (10.5, 6.5, 1.45, 0.0145, 0.7e-4, 0.7e-4)
"""How far a path typically goes in x, y (table units), turn (degrees), zoom, tilt in x and in y."""

_PERIODS = (30.0, 34.0, 50.0, 60.0, 60.0, 60.0)
"""How quickly each of those comes and goes along the path."""

_FAR = 1 << 16
"""Steps of a path after which it must have gone as far as one frame's motion."""

SLOWEST, FASTEST = 1.1, 5.2
"""Bounds of the camera's motion, pixels a frame, averaged over a picture of 128 lines or more."""


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
    """A smooth unrest of about unit size."""

    def __init__(self, period: float, rng: np.random.Generator) -> None:
        self.rates = rng.uniform(0.6, 1.6, 3) * 2 * np.pi / period
        self.starts = rng.uniform(0, 2 * np.pi, 3)

    def __call__(self, at: Array) -> Array:
        waves = np.sin(at[:, None] * self.rates + self.starts)
        return np.asarray(waves.sum(axis=1) / np.sqrt(1.5))


def _next(waves: list[_Wave], at: float, step: float, view: Array, size: tuple[int, int]) -> float:
    """How far along the curve the picture has first moved by `step` pixels from a view of it at `at`."""
    ahead = np.arange(0, 3, 1 / 16)
    while len(ahead) < _FAR:
        moved = _motion(view, _views_at(waves, at + ahead, size), size)
        k = int(np.argmax(moved >= step))
        if k:
            share = (step - moved[k - 1]) / (moved[k] - moved[k - 1])
            return float(at + ahead[k - 1] + share * (ahead[k] - ahead[k - 1]))
        ahead = np.concatenate([ahead, ahead + ahead[-1] + 1 / 16])
    raise AssertionError(f"a camera path that never moves the picture by {step} pixels")


def _views_at(waves: list[_Wave], at: Array, size: tuple[int, int]) -> Array:
    """Views of the curve at so many places along it. Shape: (P, 3, 3)."""
    return _views(
        np.stack([reach * wave(at) for reach, wave in zip(_REACH, waves, strict=True)], axis=1), size
    )


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


def _motion(view: Array, others: Array, size: tuple[int, int]) -> Array:
    """Mean motion of a grid of picture points from one view to each of the others, pixels. Shape: (P,)."""
    w, h = size
    share = (np.arange(5) + 0.5) / 5
    points = np.stack(np.meshgrid(w * share - 0.5, h * share - 0.5), axis=-1).reshape(-1, 2)
    moved = apply(others[:, None], apply(np.asarray(np.linalg.inv(view), np.float64), points))
    return np.asarray(np.linalg.norm(moved - points, axis=-1).mean(axis=1))


def steps_back(views: Array) -> Array:
    """Homographies from each frame's pixels to those of the frame before; the identity first. (N, 3, 3)."""
    back = np.concatenate([np.eye(3)[None], views[:-1] @ np.linalg.inv(views[1:])])
    return np.asarray(back / back[:, 2:, 2:])
