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
from data.synthetic.scene import Backdrop, over, warp_into

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
    blur = _Blur(views, size, sensor.softness)
    finish = _Finish(size, sensor, rng)
    for k, view in enumerate(views):
        image = cv2.warpPerspective(
            backdrop.image, view @ backdrop.to_table, size, borderMode=cv2.BORDER_REFLECT
        )
        frame = np.asarray(image, np.uint8)
        shown = np.zeros(frame.shape[:2], np.uint8)
        for number, layer in enumerate(layers, start=1):
            matrix = view @ layer.poses[k] @ layer.sprite.to_local
            if layer.visible[k] and (drawn := warp_into(layer.sprite.rgba, matrix, shown.shape)):
                part, at = drawn
                over(frame[at], part)
                if layer.role is not Role.SHADOW:
                    shown[at][part[..., 3] > _OPAQUE] = number
        yield finish(blur(frame, k), k), shown


class _Blur:
    """Lens blur, wider along the camera's motion."""

    def __init__(self, views: Array, size: tuple[int, int], softness: float) -> None:
        middle = views @ np.array([size[0] / size[1] * 128, 128.0, 1.0])
        where = middle[:, :2] / middle[:, 2:]
        speed = np.abs(np.gradient(where, axis=0)) if len(where) > 1 else np.zeros_like(where)
        self.sigma = np.hypot(softness, 0.16 * speed)

    def __call__(self, frame: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
        sx, sy = self.sigma[k]
        return np.asarray(cv2.GaussianBlur(frame, (0, 0), float(sx), sigmaY=float(sy)), np.uint8)


class _Finish:
    """Vignette, light, exposure and noise."""

    def __init__(self, size: tuple[int, int], sensor: Sensor, rng: np.random.Generator) -> None:
        w, h = size
        x, y = np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32)
        gain = 1 - sensor.vignette * (x[None, :] ** 2 + y[:, None] ** 2) / 2
        self.gain = (gain[..., None] * np.asarray(sensor.light, np.float32)).astype(np.float32)
        pool = rng.standard_normal((h + _NOISE_PAD, w + _NOISE_PAD, 3), dtype=np.float32) * sensor.noise
        self.pool = pool.astype(np.float32)
        self.offsets = rng.integers(0, _NOISE_PAD, (len(sensor.exposure), 2))
        self.exposure = sensor.exposure

    def __call__(self, frame: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
        h, w = frame.shape[:2]
        top, left = self.offsets[k]
        lit = cv2.multiply(frame, self.gain, scale=float(self.exposure[k]), dtype=cv2.CV_32F)
        return np.asarray(cv2.add(lit, self.pool[top : top + h, left : left + w], dtype=cv2.CV_8U), np.uint8)
