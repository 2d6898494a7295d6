"""From layers to frames: the head-worn camera, parts warped through it back to front, then lens and sensor.

The camera is a smooth random path of homographies that never rests or drifts away. N frames, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.synthetic.geometry import Layer, Role, apply
from data.synthetic.painter import Array, Colour
from data.synthetic.scene import Backdrop, blend

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


_NOISE_PAD = 64
_OPAQUE = 127


@dataclass(frozen=True)
class Sensor:
    """Effect of light, lens and sensor on the pictures of one clip."""

    exposure: Array
    """Factor on the brightness of each frame. Shape: (N,)."""
    light: Colour
    """Factors on red, green and blue."""
    vignette: float
    """Loss of brightness in the corners, 0 to 1."""
    softness: float
    """Blur of the lens, pixels."""
    noise: float
    """Standard deviation, grey levels."""


def render(
    backdrop: Backdrop,
    layers: list[Layer],
    views: Array,
    size: tuple[int, int],
    sensor: Sensor,
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Render a clip.

    Args:
        backdrop: The still part.
        layers: The parts that may move, back to front, at most 255.
        views: Table coordinates to pixels of each frame. Shape: (N, 3, 3).
        size: Width and height of the frames, pixels.
        sensor: Effect of light, lens and sensor.
        rng: Decides the noise.

    Yields:
        Frame, RGB, shape (H, W, 3), and the layer that each pixel shows, shape (H, W): 0 for the backdrop,
        else 1 + its index in `layers`.
    """
    w, h = size
    blur = _blur_widths(views, size, sensor.softness)
    x, y = np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32)
    vignette = 1 - sensor.vignette * (x[None, :] ** 2 + y[:, None] ** 2) / 2  # (H, W)
    gain = (vignette[..., None] * np.asarray(sensor.light, np.float32)).astype(np.float32)
    # Every frame takes its noise from another place of one larger picture of noise, which is faster.
    pool = rng.standard_normal((h + _NOISE_PAD, w + _NOISE_PAD, 3), dtype=np.float32) * sensor.noise
    noise = pool.astype(np.float32)
    offsets = rng.integers(0, _NOISE_PAD, (len(views), 2))
    for k, view in enumerate(views):
        frame, shown = _paint(backdrop, layers, k, view, size)
        sx, sy = blur[k].tolist()
        blurred = cv2.GaussianBlur(frame, (0, 0), sx, sigmaY=sy)
        lit = cv2.multiply(blurred, gain, scale=float(sensor.exposure[k]), dtype=cv2.CV_32F)
        top, left = offsets[k]
        noisy = cv2.add(lit, noise[top : top + h, left : left + w], dtype=cv2.CV_8U)
        yield np.asarray(noisy, np.uint8), shown


def _blur_widths(views: Array, size: tuple[int, int], softness: float) -> Array:
    """Standard deviations of the blur in x and y, wider along the camera's motion. Shape: (N, 2), pixels."""
    middle = views @ np.array([size[0] / size[1] * 128, 128.0, 1.0])
    where = middle[:, :2] / middle[:, 2:]
    speed = np.abs(np.gradient(where, axis=0)) if len(where) > 1 else np.zeros_like(where)
    return np.asarray(np.hypot(softness, 0.16 * speed))


def _paint(
    backdrop: Backdrop, layers: list[Layer], k: int, view: Array, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint frame k as an ideal camera sees it; returns the frame and the layer that each pixel shows."""
    image = cv2.warpPerspective(backdrop.image, view @ backdrop.to_table, size, borderMode=cv2.BORDER_REFLECT)
    frame = np.asarray(image, np.uint8)
    shown = np.zeros(frame.shape[:2], np.uint8)
    for number, layer in enumerate(layers, start=1):
        matrix = view @ layer.poses[k] @ layer.sprite.to_local
        drawn = blend(frame, layer.sprite.rgba, matrix) if layer.visible[k] else None
        if drawn and layer.role is not Role.SHADOW:
            window, opacity = drawn
            shown[window][opacity > _OPAQUE] = number
    return frame, shown
