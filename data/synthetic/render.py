"""From layers to frames: warp each part through the camera, back to front, then simulate lens and sensor.

N frames, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.synthetic.geometry import Layer, Role
from data.synthetic.painter import Array, Colour
from data.synthetic.scene import Backdrop, blend

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
