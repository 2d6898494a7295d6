"""The still part of a clip: a person's table and wall and the objects on it, painted once on a canvas.

The canvas reaches beyond the camera's rest view on every side, so that a moving camera sees no edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data.synthetic.geometry import pose
from data.synthetic.hands import HandStyle
from data.synthetic.objects import Look, cached_object
from data.synthetic.painter import Array, Colour, Mask, Painter, Sprite

HEIGHT = 256.0
"""Height of the rest view, table units."""

MARGIN = 60.0
"""How far the canvas reaches beyond the rest view, table units."""

_LEDGE = 11.0
"""Height of the strip where the wall meets the table, table units."""


@dataclass(frozen=True)
class Person:
    """What all clips of one person share."""

    table: Colour
    grain: float
    """Strength of the wood's grain, 0 to 1."""
    wall: Colour
    wall_edge: float
    """Where wall and table meet, share of the frame's height."""
    light: Colour
    """Factors on red, green and blue."""
    hand: HandStyle
    shake: float
    """Typical camera motion, pixels per frame."""
    noise: float
    """Standard deviation of the sensor's noise, grey levels."""


# fmt: off
PEOPLE = {
    "S1": Person((206, 160, 74), 0.7, (196, 188, 172), 0.33, light=(1.02, 1.0, 0.94),
                 hand=HandStyle((206, 150, 116), None, 0), shake=2.6, noise=2.0),
    "S2": Person((196, 142, 72), 1.0, (178, 184, 186), 0.28, light=(0.96, 0.99, 1.03),
                 hand=HandStyle((188, 128, 94), (70, 92, 132), 92), shake=2.2, noise=2.4),
    "S3": Person((158, 106, 62), 0.9, (206, 196, 160), 0.36, light=(1.0, 0.97, 0.90),
                 hand=HandStyle((222, 170, 140), (60, 60, 66), 60), shake=3.0, noise=1.6),
    "S4": Person((214, 180, 122), 0.45, (168, 176, 164), 0.30, light=(0.98, 1.0, 0.98),
                 hand=HandStyle((150, 100, 72), (150, 56, 52), 120), shake=2.0, noise=2.2),
}
# fmt: on


@dataclass
class Backdrop:
    """A canvas in table coordinates for all that stands still."""

    image: NDArray[np.uint8]
    """RGB. Shape: (h, w, 3)."""
    scale: float
    """Canvas pixels per table unit."""
    width: float
    """Width of the rest view, table units."""

    @property
    def to_table(self) -> Array:
        """Canvas pixels to table coordinates. Shape: (3, 3)."""
        unit = 1 / self.scale
        return np.array([[unit, 0, unit / 2 - MARGIN], [0, unit, unit / 2 - MARGIN], [0, 0, 1]])

    def stamp(self, sprite: Sprite, place: Array) -> None:
        """Paint a sprite where `place` puts it: local to table coordinates, (3, 3) or (1, 3, 3)."""
        matrix = np.linalg.inv(self.to_table) @ place.reshape(3, 3) @ sprite.to_local
        blend(self.image, sprite.rgba, matrix)


def blend(
    image: NDArray[np.uint8], rgba: NDArray[np.uint8], matrix: Array
) -> tuple[tuple[slice, slice], Mask] | None:
    """Draw a premultiplied picture into an image, in place, where a matrix puts it.

    Args:
        image: RGB. Shape: (H, W, 3).
        rgba: Premultiplied. Shape: (h, w, 4).
        matrix: Picture pixels to image pixels. Shape: (3, 3).

    Returns:
        The window of the image that was drawn on, and the picture's opacity there; None if it lies outside.
    """
    h, w = rgba.shape[:2]
    corners = matrix @ np.array([[-1, w, w, -1], [-1, -1, h, h], [1, 1, 1, 1]], np.float64)
    x, y = corners[0] / corners[2], corners[1] / corners[2]
    left, right = max(0, int(np.floor(x.min()))), min(image.shape[1], int(np.ceil(x.max())) + 1)
    top, bottom = max(0, int(np.floor(y.min()))), min(image.shape[0], int(np.ceil(y.max())) + 1)
    if left >= right or top >= bottom:
        return None
    window = np.s_[top:bottom, left:right]
    shifted = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]]) @ matrix
    drawn = cv2.warpPerspective(rgba, shifted, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    part = np.asarray(drawn, np.uint8)
    clear = cv2.cvtColor(255 - part[..., 3], cv2.COLOR_GRAY2RGB)
    cv2.add(cv2.multiply(image[window], clear, scale=1 / 255), part[..., :3], dst=image[window])
    return window, part[..., 3]


def paint_backdrop(person: Person, rng: np.random.Generator, width: float, scale: float) -> Backdrop:
    """Paint an empty table against a wall.

    Args:
        person: Whose table it is.
        rng: Varies the view from clip to clip.
        width: Width of the rest view, table units.
        scale: Canvas pixels per table unit.
    """
    size = (round((width + 2 * MARGIN) * scale), round((HEIGHT + 2 * MARGIN) * scale))
    x = ((np.arange(size[0], dtype=np.float32) + 0.5) / np.float32(scale) - np.float32(MARGIN))[None]
    y = ((np.arange(size[1], dtype=np.float32) + 0.5) / np.float32(scale) - np.float32(MARGIN))[:, None]
    slope, bow = rng.uniform(-0.07, 0.07), rng.uniform(2, 9)
    edge = HEIGHT * (person.wall_edge + rng.uniform(-0.04, 0.04))
    below = y - (edge + slope * (x - width / 2) + bow * (2 * x / width - 1) ** 2).astype(np.float32)
    image = _wood(person, rng, size)
    image[below < 0] = np.multiply(person.wall, 1.13)
    image[below < -_LEDGE] = person.wall
    on_table = 1.06 - 0.24 * np.hypot((x - width * 0.5) / width, (y - 190) / 300)
    on_table *= 1 - 0.2 * np.exp(-np.maximum(below, 0) / 16)
    on_wall = 0.86 + 0.1 * np.clip(-below / 90, 0, 1)
    light = np.where(below < 0, 1.0, on_table)
    light = np.where(below < -_LEDGE, on_wall, light)
    light *= 1 - 0.38 * np.exp(-((below / 2.2) ** 2)) - 0.22 * np.exp(-(((below + _LEDGE) / 1.4) ** 2))
    image *= light.astype(np.float32)[..., None]
    return Backdrop(np.clip(image, 0, 255).astype(np.uint8), scale, width)


def _wood(person: Person, rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Paint a table top with grain along x. Shape: (h, w, 3)."""
    w, h = size
    fine = rng.standard_normal((h, w // 12 + 2), dtype=np.float32)
    streaks = cv2.GaussianBlur(cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR), (0, 0), 4, sigmaY=0.7)
    coarse = cv2.resize(rng.standard_normal((14, 5), dtype=np.float32), size, interpolation=cv2.INTER_CUBIC)
    grain = 1 + person.grain * (0.035 * streaks / max(1e-6, float(streaks.std())) + 0.025 * coarse)
    return np.asarray(np.asarray(person.table, np.float32) * grain[..., None], np.float32)


@lru_cache(maxsize=8)
def shadow_sprite(scale: float) -> Sprite:
    """Draw a soft dark disc of radius 10, the shadow under an object."""
    painter = Painter((-20, -20, 20, 20), max(0.4, scale * 0.5))
    disc = painter.ellipse(0, 0, 10, 10)
    soft = cv2.GaussianBlur(disc, (0, 0), 3.2 * painter.fine)
    painter.fill(np.asarray(soft, np.uint8), (0, 0, 0), 1.0, 0.5)
    return painter.sprite()


def shadow_pose(xy: Array, width: Array | float, lift: Array | float = 0.0) -> Array:
    """Poses of the shadow of something `width` wide, held `lift` above the table. Shape: (N, 3, 3)."""
    high = np.atleast_1d(np.asarray(lift, np.float64))
    shift = np.stack([4 + 0.25 * high, 0.15 * high], axis=1)
    reach = np.asarray(width) / 20 * 1.25
    return pose(np.atleast_2d(xy) + shift, 0.0, reach, reach * 0.42)


def furnish(
    backdrop: Backdrop, rng: np.random.Generator, looks: dict[str, Look], names: Sequence[str], scale: float
) -> None:
    """Stand a row of objects along the back of the table, and a few in the middle, drawn from `names`."""
    chosen = rng.permutation(list(names))
    row = int(rng.integers(6, 9))
    across = np.linspace(0.04, 0.96, row) + rng.uniform(-0.035, 0.035, row)

    def stand(name: str, x: float, y: float, size: float) -> None:
        drawn = cached_object(name, looks.get(name, Look()), scale * 1.3)
        xy = np.array([x * backdrop.width, y * HEIGHT])
        lean = (x - 0.5) * 26 + rng.uniform(-2, 2)  # a wide-angle lens leans objects outward
        backdrop.stamp(shadow_sprite(scale), shadow_pose(xy, drawn.width * size)[0])
        for part in ("body", "lid"):
            if part in drawn.parts:
                angle = rng.uniform(-40, 40) if drawn.flat else lean
                backdrop.stamp(drawn.parts[part], pose(xy, angle, size))

    for name, x in zip(chosen[:row], across, strict=True):
        stand(str(name), x, rng.uniform(0.44, 0.53), rng.uniform(0.72, 0.86))
    for name, side in zip(chosen[row : row + 2], (0.12, 0.88), strict=True):
        if rng.random() < 0.6:
            x, y = side + rng.uniform(-0.06, 0.06), rng.uniform(0.62, 0.85)
            stand(str(name), x, y, rng.uniform(0.95, 1.15))
