"""Drawing of shaded objects: a canvas in local units, a few shapes, and bodies of revolution.

Colours are RGB, 0 to 255. Light comes from the upper left. Everything is drawn at twice the resolution of the
sprite and then averaged, so that edges are smooth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
"""0 to 255. Shape: (H, W) of a painter's canvas."""
Colour = tuple[float, float, float]
Point = tuple[float, float]
Profile = Sequence[Point]
"""Outline of a body of revolution: (height, half width) pairs from the base up, local units."""

ELLIPSE_RATIO = 0.30
"""Height over width of a horizontal circle as the camera sees it, from above and in front."""

_SUPERSAMPLE = 2
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Sprite:
    """A picture of one rigid part, and its place in the object's local coordinates."""

    rgba: NDArray[np.uint8]
    """Premultiplied RGBA. Shape: (h, w, 4)."""
    to_local: Array
    """Sprite pixels to local coordinates. Shape: (3, 3)."""

    @cached_property
    def corners(self) -> Array:
        """Corners of the area the sprite covers, in its own pixels, homogeneous. Shape: (3, 4)."""
        h, w = self.rgba.shape[:2]
        x, y = (-0.5, w - 0.5), (-0.5, h - 0.5)
        return np.array([[x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]], [1.0] * 4])


@dataclass(frozen=True)
class DrawnObject:
    """An object as sprites that share local coordinates. Lengths are in local units."""

    parts: dict[str, Sprite]
    """`body`; `lid` where it opens; `front`: the body without its mouth, to cover what dips into it."""
    height: float
    """From base to the rim of the open body; for a flat object half its depth on the table."""
    width: float
    """Where a hand holds it."""
    lid_height: float = 0.0
    """How far the lid rises above the rim."""
    flat: bool = False
    """Lies on the table, origin at its centre, instead of standing on its base."""
    content: Colour = (200.0, 200.0, 200.0)
    """Colour of the content, RGB."""
    handle: Point | None = None
    """Where it is held, if it has a handle."""

    @property
    def body(self) -> Sprite:
        """The part that every object has."""
        return self.parts["body"]

    @property
    def hold(self) -> Point:
        """Where a hand grips it: its handle, or its right side."""
        return self.handle or (0.34 * self.width, 2.0 if self.flat else -0.45 * self.height)


ObjectPainter = Callable[[float, int], DrawnObject]
"""Draws an object at a scale (sprite pixels per local unit); the seed decides what is printed on it."""


class Painter:
    """A transparent canvas over a box of local coordinates, painted back to front.

    The box is left, top, right, bottom in local units; the scale is in sprite pixels per local unit.
    """

    def __init__(self, box: tuple[float, float, float, float], scale: float) -> None:
        self.left, self.top = box[0], box[1]
        self.size = (max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale)))
        self.scale = scale
        self.fine = scale * _SUPERSAMPLE
        w, h = self.size[0] * _SUPERSAMPLE, self.size[1] * _SUPERSAMPLE
        self.rgb = np.zeros((h, w, 3), np.float32)  # premultiplied
        self.alpha = np.zeros((h, w), np.float32)

    def fill(
        self, mask: Mask, colour: Colour, shade: NDArray[np.float32] | float = 1.0, opacity: float = 1.0
    ) -> None:
        """Paint the masked pixels with `colour` times `shade`.

        The shade is 1 for the plain colour; above 1 it tends to white. Shape: (H, W) or a number.
        """
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            return
        at = np.s_[y : y + h, x : x + w]
        cover = mask[at].astype(np.float32) * (opacity / 255)
        light = shade[at] if isinstance(shade, np.ndarray) else np.full((h, w), shade, np.float32)
        paint = np.asarray(colour, np.float32) * np.minimum(light, 1)[..., None]
        paint += (255 - paint) * np.clip(light - 1, 0, 1)[..., None]
        self.rgb[at] += cover[..., None] * (paint - self.rgb[at])
        self.alpha[at] += cover * (1 - self.alpha[at])

    def polygon(self, points: ArrayLike) -> Mask:
        """Mask of a filled polygon with corners (P, 2) in local units."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        corners = np.asarray(points, np.float64).reshape(-1, 2)
        fixed = ((corners - (self.left, self.top)) * self.fine - 0.5) * (1 << _SUBPIXEL_BITS)
        cv2.fillPoly(mask, [np.round(fixed).astype(np.int32)], 255, cv2.LINE_8, _SUBPIXEL_BITS)
        return mask

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Mask:
        """Mask of a filled ellipse; the angle is in degrees, clockwise in the picture."""
        return self.polygon(ellipse_points(cx, cy, rx, ry, angle))

    def capsule(self, a: Point, b: Point, ra: float, rb: float) -> Mask:
        """Mask of a rounded stick from `a` (radius `ra`) to `b` (radius `rb`)."""
        ends = [ellipse_points(*a, ra, ra), ellipse_points(*b, rb, rb)]
        return self.polygon(cv2.convexHull(np.concatenate(ends).astype(np.float32))[:, 0])

    def pillow_shade(self, mask: Mask, depth: float) -> NDArray[np.float32]:
        """Shade of the mask inflated like a pillow and lit from the upper left. Shape: (H, W).

        The surface becomes flat `depth` local units inside the edge.
        """
        out = np.ones(mask.shape, np.float32)
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            return out
        part = cv2.copyMakeBorder(mask[y : y + h, x : x + w], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        reach = max(1.0, depth * self.fine)
        inside = np.minimum(cv2.distanceTransform(part, cv2.DIST_L2, 3) / reach, 1)
        height = np.sqrt(np.maximum(0, 1 - (1 - inside) ** 2)) * reach
        height = cv2.GaussianBlur(height, (0, 0), max(0.6, reach / 5))
        dx, dy = (cv2.Sobel(height, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
        facing = (0.45 * dx + 0.55 * dy + 0.75) / np.sqrt(dx * dx + dy * dy + 1)
        out[y : y + h, x : x + w] = (0.52 + 0.55 * np.clip(facing, 0, 1.05))[1:-1, 1:-1]
        return out

    def inflate(self, mask: Mask, colour: Colour, depth: float) -> None:
        """Paint the masked pixels shaded like a pillow, see `pillow_shade`."""
        self.fill(mask, colour, self.pillow_shade(mask, depth))

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Local x and y of the fine canvas's pixels. Shapes: (1, W) and (H, 1)."""
        h, w = self.alpha.shape
        x = self.left + (np.arange(w, dtype=np.float32) + 0.5) / np.float32(self.fine)
        y = self.top + (np.arange(h, dtype=np.float32) + 0.5) / np.float32(self.fine)
        return x[None, :], y[:, None]

    def erase(self, mask: Mask) -> None:
        """Make the masked pixels transparent again."""
        keep = 1 - mask.astype(np.float32) / 255
        self.alpha *= keep
        self.rgb *= keep[..., None]

    def sprite(self) -> Sprite:
        """The painted picture, averaged down to the sprite's scale."""
        rgba = np.dstack([self.rgb, self.alpha * 255])
        small = cv2.resize(rgba, self.size, interpolation=cv2.INTER_AREA)
        unit = 1 / self.scale
        to_local = np.array([[unit, 0, self.left + unit / 2], [0, unit, self.top + unit / 2], [0, 0, 1]])
        return Sprite(np.clip(np.round(small), 0, 255).astype(np.uint8), to_local)


def ellipse_points(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Array:
    """Outline of an ellipse; the angle is in degrees. Shape: (48, 2)."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


def rounded_box(left: float, top: float, right: float, bottom: float, radius: float) -> Array:
    """Outline of a box with round corners. Shape: (28, 2)."""
    t = np.linspace(0, np.pi / 2, 7)
    corners = []
    for quarter, (x, y, inward) in enumerate(
        ((right, bottom, (-1, -1)), (left, bottom, (1, -1)), (left, top, (1, 1)), (right, top, (-1, 1)))
    ):
        angle = t + quarter * np.pi / 2
        centre = np.array([x + inward[0] * radius, y + inward[1] * radius])
        corners.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(corners)


@dataclass(frozen=True)
class Sketch:
    """How an object of a single part is drawn."""

    paint: Callable[[Painter, int], None]
    """Paints the body; the number is the seed of what is printed on it."""
    box: tuple[float, float, float, float]
    """The canvas it needs, see `Painter`."""
    width: float
    height: float
    flat: bool = False
    content: Colour = DrawnObject.content
    handle: Point | None = None

    def __call__(self, scale: float, seed: int) -> DrawnObject:
        """Draw the object, see `ObjectPainter`."""
        painter = Painter(self.box, scale)
        self.paint(painter, seed)
        measures = self.height, self.width, 0.0, self.flat, self.content, self.handle
        return DrawnObject({"body": painter.sprite()}, *measures)


class RoundBody:
    """A body of revolution on a canvas (jar, bottle, cup), standing on y = 0 with its axis on x = 0.

    The gloss is the strength of its highlight, 0 to 1.
    """

    def __init__(self, painter: Painter, profile: Profile, gloss: float = 0.5) -> None:
        self.painter = painter
        self.heights = np.array([p[0] for p in profile], np.float64)
        self.half_widths = np.array([p[1] for p in profile], np.float64)
        x, y = painter.grid()
        half = np.interp(-y[:, 0], self.heights, self.half_widths).astype(np.float32)[:, None]
        u = np.clip(x / np.maximum(half, 1e-3), -1, 1)  # -1 to 1 from the left edge to the right one
        diffuse = 0.48 + 0.56 * np.clip(0.86 * np.sqrt(1 - u * u) - 0.5 * u, 0, 1)
        highlight = gloss * 0.55 * np.exp(-(((u + 0.45) / 0.13) ** 2))
        self.shade = (diffuse + highlight).astype(np.float32)

    def band(
        self, low: float, high: float, colour: Colour, across: Point = (-1.0, 1.0), opacity: float = 1.0
    ) -> Mask:
        """Paint the front surface between two heights above the base and return its mask.

        `across` is the left and the right end as shares of the half width, -1 to 1.
        """
        mask = self.painter.polygon(self._outline(low, high, across))
        self.painter.fill(mask, colour, self.shade, opacity)
        return mask

    def spot(self, height: float, across: float, rx: float, ry: float, colour: Colour) -> None:
        """Paint an ellipse on the front surface, centred at a height and a share of the half width."""
        half = float(np.interp(height, self.heights, self.half_widths))
        x, y = self._front(np.array(height), np.array(across)).tolist()
        squeeze = np.sqrt(max(0.05, 1 - across**2))
        self.painter.fill(self.painter.ellipse(x, y, min(rx, half) * squeeze, ry), colour, self.shade)

    def disc(self, height: float, colour: Colour, *, share: float = 1.0, shade: float = 1.0) -> Mask:
        """Paint the horizontal circle at a height (a lid's top, a mouth) and return its mask."""
        rx = float(np.interp(height, self.heights, self.half_widths)) * share
        mask = self.painter.ellipse(0, -height, rx, rx * ELLIPSE_RATIO)
        self.painter.fill(mask, colour, shade)
        return mask

    def ridges(self, low: float, high: float, count: int, colour: Colour, opacity: float = 0.35) -> None:
        """Paint upright ridges, as on a screw cap."""
        for angle in np.linspace(-1.35, 1.35, count):
            u, half = float(np.sin(angle)), 0.05 * float(np.cos(angle))
            self.band(low, high, colour, across=(u - half, u + half), opacity=opacity)

    def text(self, low: float, high: float, across: Point, colour: Colour, seed: int) -> None:
        """Paint one row of small blocks that look like letters from a distance."""
        rng = np.random.default_rng(seed)
        u = across[0]
        while u < across[1]:
            width = rng.uniform(0.05, 0.13)
            self.band(low, high, colour, across=(u, min(u + width, across[1])))
            u += width + rng.uniform(0.03, 0.06)

    def _front(self, heights: Array, across: Array) -> Array:
        """Points on the front surface. Shapes: (P,) or numbers to (P, 2)."""
        half = np.interp(heights, self.heights, self.half_widths)
        drop = ELLIPSE_RATIO * half * np.sqrt(np.maximum(0.0, 1 - across * across))
        return np.stack(np.broadcast_arrays(half * across, drop - heights), axis=-1)

    def _outline(self, low: float, high: float, across: Point) -> Array:
        """Corners of a band: along its lower edge, up the right end, back along the top, down the left."""
        u = np.sin(np.linspace(np.arcsin(max(-1.0, across[0])), np.arcsin(min(1.0, across[1])), 15))
        between = self.heights[(self.heights > low) & (self.heights < high)]
        rising = np.concatenate([[low], between, [high]])
        heights = np.concatenate([np.full(15, low), rising, np.full(15, high), rising[::-1]])
        side = np.ones(len(rising))
        return self._front(heights, np.concatenate([u, u[-1] * side, u[::-1], u[0] * side]))
