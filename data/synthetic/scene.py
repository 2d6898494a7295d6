"""The still part of a clip: table, wall and things standing about, painted once on a canvas with margins."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data.synthetic.geometry import pose
from data.synthetic.painter import Array, Painter, Sprite
from data.synthetic.people import Person

MARGIN = 60.0
"""How far the canvas reaches beyond the rest view on every side, table units."""

_LEDGE = 11.0
"""Height of the strip where the wall meets the table, table units."""

HEIGHT = 256.0
"""Height of the rest view, table units."""


@dataclass
class Backdrop:
    """A canvas in table coordinates that still things are painted on."""

    image: NDArray[np.uint8]
    """RGB. Shape: (h, w, 3)."""
    scale: float
    """Canvas pixels a table unit."""
    width: float
    """Width of the rest view, table units."""

    @property
    def to_table(self) -> Array:
        """Canvas pixels to table coordinates. Shape: (3, 3)."""
        unit = 1 / self.scale
        return np.array([[unit, 0, unit / 2 - MARGIN], [0, unit, unit / 2 - MARGIN], [0, 0, 1]])

    def stamp(self, sprite: Sprite, place: Array) -> None:
        """Paint a sprite for good. `place`: local to table coordinates, (3, 3) or (1, 3, 3)."""
        matrix = np.linalg.inv(self.to_table) @ place.reshape(3, 3) @ sprite.to_local
        blend(self.image, sprite.rgba, matrix)


def blend(image: NDArray[np.uint8], rgba: NDArray[np.uint8], matrix: Array) -> None:
    """Draw a premultiplied picture into an image, in place, where a matrix puts it.

    Args:
        image: RGB. Shape: (H, W, 3).
        rgba: Premultiplied. Shape: (h, w, 4).
        matrix: Picture pixels to image pixels. Shape: (3, 3).
    """
    drawn = warp_into(rgba, matrix, image.shape[:2])
    if drawn is not None:
        part, at = drawn
        over(image[at], part)


def warp_into(
    rgba: NDArray[np.uint8], matrix: Array, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], tuple[slice, slice]] | None:
    """Warp a picture to the smallest window of an image of the given shape that holds it."""
    h, w = rgba.shape[:2]
    corners = matrix @ np.array([[-1, w, w, -1], [-1, -1, h, h], [1, 1, 1, 1]], np.float64)
    x, y = corners[0] / corners[2], corners[1] / corners[2]
    left, right = max(0, int(np.floor(x.min()))), min(shape[1], int(np.ceil(x.max())) + 1)
    top, bottom = max(0, int(np.floor(y.min()))), min(shape[0], int(np.ceil(y.max())) + 1)
    if left >= right or top >= bottom:
        return None
    shifted = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]]) @ matrix
    part = cv2.warpPerspective(rgba, shifted, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return np.asarray(part, np.uint8), np.s_[top:bottom, left:right]


def over(image: NDArray[np.uint8], part: NDArray[np.uint8]) -> None:
    """Lay a premultiplied RGBA picture over an RGB image of the same size, in place."""
    clear = cv2.cvtColor(255 - part[..., 3], cv2.COLOR_GRAY2RGB)
    cv2.add(cv2.multiply(image, clear, scale=1 / 255), part[..., :3], dst=image)


def paint_backdrop(person: Person, rng: np.random.Generator, width: float, scale: float) -> Backdrop:
    """Paint an empty table against a wall.

    Args:
        person: Whose table it is.
        rng: Varies the view from clip to clip.
        width: Of the rest view, table units.
        scale: Canvas pixels a table unit.
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
    """A table top with grain along x. Shape: (h, w, 3)."""
    w, h = size
    fine = rng.standard_normal((h, w // 12 + 2), dtype=np.float32)
    streaks = cv2.GaussianBlur(cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR), (0, 0), 4, sigmaY=0.7)
    coarse = cv2.resize(rng.standard_normal((14, 5), dtype=np.float32), size, interpolation=cv2.INTER_CUBIC)
    grain = 1 + person.grain * (0.035 * streaks / max(1e-6, float(streaks.std())) + 0.025 * coarse)
    return np.asarray(np.asarray(person.table, np.float32) * grain[..., None], np.float32)


@lru_cache(maxsize=8)
def shadow_sprite(scale: float) -> Sprite:
    """A soft dark disc of radius 10, to be laid on the table under things."""
    painter = Painter((-20, -20, 20, 20), max(0.4, scale * 0.5))
    disc = painter.ellipse(0, 0, 10, 10)
    soft = cv2.GaussianBlur(disc, (0, 0), 3.2 * painter.fine)
    painter.fill(np.asarray(soft, np.uint8), (0, 0, 0), 1.0, 0.5)
    return painter.sprite()


def shadow_pose(xy: Array, width: Array | float, lift: Array | float = 0.0) -> Array:
    """Where the shadow of something that wide, held that high above the table, falls. Shape: (N, 3, 3)."""
    high = np.atleast_1d(np.asarray(lift, np.float64))
    shift = np.stack([4 + 0.25 * high, 0.15 * high], axis=1)
    reach = np.asarray(width) / 20 * 1.25
    return pose(np.atleast_2d(xy) + shift, 0.0, reach, reach * 0.42)
