"""Drawing of shaded things: a canvas in nominal units and the few shapes that kitchens are made of.

Colours are RGB, 0 to 255. Light comes from the upper left. Everything is drawn several times finer than it is
shown and then averaged, so that edges are smooth.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
Points = ArrayLike

ELLIPSE_RATIO = 0.30
"""Height over width of a horizontal circle as the camera sees it, from above and in front."""

_SUPERSAMPLE = 2
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Sprite:
    """A picture of one rigid part, and where it lies in its thing's local coordinates."""

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


class Painter:
    """A transparent canvas over a box of local coordinates, painted back to front."""

    def __init__(self, box: tuple[float, float, float, float], scale: float) -> None:
        """Make an empty canvas.

        Args:
            box: Left, top, right, bottom in local units.
            scale: Sprite pixels a local unit.
        """
        self.left, self.top = box[0], box[1]
        self.size = (max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale)))
        self.scale = scale
        self.fine = scale * _SUPERSAMPLE
        w, h = self.size[0] * _SUPERSAMPLE, self.size[1] * _SUPERSAMPLE
        self.rgb = np.zeros((h, w, 3), np.float32)  # premultiplied
        self.alpha = np.zeros((h, w), np.float32)

    def fill(
        self,
        mask: NDArray[np.uint8],
        colour: Colour,
        shade: NDArray[np.float32] | float = 1.0,
        opacity: float = 1.0,
    ) -> None:
        """Paint the masked places with `colour` times `shade`.

        Args:
            mask: 0 to 255. Shape: (H, W) of the fine canvas.
            colour: RGB.
            shade: Brightness, 1 for the colour as it is; above 1 tends to white. Shape: (H, W) or a number.
            opacity: 0 to 1.
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

    def polygon(self, points: Points) -> NDArray[np.uint8]:
        """Mask of a filled polygon. Shape of points: (P, 2), local units."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        fixed = self._fine_pixels(points) * (1 << _SUBPIXEL_BITS)
        cv2.fillPoly(mask, [np.round(fixed).astype(np.int32)], 255, cv2.LINE_8, _SUBPIXEL_BITS)
        return mask

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> NDArray[np.uint8]:
        """Mask of a filled ellipse; the angle is in degrees, clockwise as seen."""
        return self.polygon(ellipse_points(cx, cy, rx, ry, angle))

    def capsule(
        self, a: tuple[float, float], b: tuple[float, float], ra: float, rb: float
    ) -> NDArray[np.uint8]:
        """Mask of a rounded stick from `a` (radius `ra`) to `b` (radius `rb`)."""
        (ax, ay), (bx, by) = a, b
        ends = [ellipse_points(ax, ay, ra, ra), ellipse_points(bx, by, rb, rb)]
        return self.polygon(cv2.convexHull(np.concatenate(ends).astype(np.float32))[:, 0])

    def puff(self, mask: NDArray[np.uint8], depth: float) -> NDArray[np.float32]:
        """Shade of the mask blown up like a pillow and lit from the upper left. Shape: (H, W).

        Args:
            mask: Shape to blow up.
            depth: How far inside the edge the surface becomes flat, local units.
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
        dx, dy = (
            cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8),
            cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8),
        )
        facing = (0.45 * dx + 0.55 * dy + 0.75) / np.sqrt(dx * dx + dy * dy + 1)
        out[y : y + h, x : x + w] = (0.52 + 0.55 * np.clip(facing, 0, 1.05))[1:-1, 1:-1]
        return out

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Local x and y of the fine canvas's pixels. Shapes: (1, W) and (H, 1)."""
        h, w = self.alpha.shape
        x = self.left + (np.arange(w, dtype=np.float32) + 0.5) / np.float32(self.fine)
        y = self.top + (np.arange(h, dtype=np.float32) + 0.5) / np.float32(self.fine)
        return x[None, :], y[:, None]

    def erase(self, mask: NDArray[np.uint8]) -> None:
        """Make the masked places transparent again."""
        keep = 1 - mask.astype(np.float32) / 255
        self.alpha *= keep
        self.rgb *= keep[..., None]

    def sprite(self) -> Sprite:
        """What was painted, at the scale asked for."""
        rgba = np.dstack([self.rgb, self.alpha * 255])
        small = cv2.resize(rgba, self.size, interpolation=cv2.INTER_AREA)
        unit = 1 / self.scale
        to_local = np.array([[unit, 0, self.left + unit / 2], [0, unit, self.top + unit / 2], [0, 0, 1]])
        return Sprite(np.clip(np.round(small), 0, 255).astype(np.uint8), to_local)

    def _fine_pixels(self, points: Points) -> Array:
        flat = np.asarray(points, np.float64).reshape(-1, 2)
        return (flat - (self.left, self.top)) * self.fine - 0.5


def ellipse_points(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Array:
    """Outline of an ellipse as 48 points; the angle is in degrees. Shape: (48, 2)."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


def rounded_box(left: float, top: float, right: float, bottom: float, radius: float) -> Array:
    """Outline of a box with round corners. Shape: (P, 2)."""
    t = np.linspace(0, np.pi / 2, 7)
    corners = [(right, bottom, 0), (left, bottom, 1), (left, top, 2), (right, top, 3)]
    inset = {0: (-1, -1), 1: (1, -1), 2: (1, 1), 3: (-1, 1)}
    parts = []
    for x, y, quarter in corners:
        angle = t + quarter * np.pi / 2
        centre = np.array([x + inset[quarter][0] * radius, y + inset[quarter][1] * radius])
        parts.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(parts)
