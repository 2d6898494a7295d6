"""Hands with arms: skin-shaded rigid parts on a simple skeleton, positioned by their grip.

Local coordinates of a hand: the wrist at the origin, the fingers towards -y, a right hand seen from its back,
so the thumb is on the left. A left hand is its mirror image. N: frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data.synthetic.geometry import LayerStack, Role, apply, pose
from data.synthetic.painter import Array, Colour, Mask, Painter, Sprite

GRIP_POINT = (-9.0, -54.0)
"""Between thumb and fingers, local units."""

_KNUCKLES = ((-13.0, -35.0), (-4.5, -38.0), (4.5, -37.5), (12.5, -33.5))
_LENGTHS = (27.0, 31.0, 29.0, 22.0)
_SPREAD = (-10.0, -3.0, 4.0, 12.0)
_THUMB = (-15.0, -12.0)
_ARM_LENGTH = 300.0


@dataclass(frozen=True)
class HandStyle:
    """How one person's hands look."""

    skin: Colour
    sleeve: Colour | None
    sleeve_from: float
    """Where the sleeve begins, local units from the wrist."""


@dataclass(frozen=True)
class HandSprites:
    """The parts of one right hand."""

    arm: Sprite
    palm: Sprite
    fingers: tuple[Sprite, ...]
    thumb: Sprite
    shadow: Sprite


@dataclass(frozen=True)
class HandMotion:
    """Position, rotation and closure of a hand in every frame."""

    grip: Array
    """Position of the grip point, table coordinates. Shape: (N, 2)."""
    angle: Array
    """Degrees the hand is turned from pointing up, clockwise. Shape: (N,)."""
    close: Array
    """0 open to 1 closed. Shape: (N,)."""
    elbow: Array
    """Where the arm comes from, table coordinates. Shape: (N, 2)."""
    left: bool = False
    size: float = 1.0

    def frames(self) -> tuple[Array, Array]:
        """Poses of the hand and of its arm, local to table. Shapes: (N, 3, 3) each."""
        flip = -self.size if self.left else self.size
        turned = pose((0, 0), self.angle, flip, self.size)
        wrist = self.grip - apply(turned, GRIP_POINT)
        away = self.elbow - wrist
        arm_angle = np.rad2deg(np.arctan2(-away[:, 0], away[:, 1]))
        return pose(wrist, self.angle, flip, self.size), pose(wrist, arm_angle, flip, self.size)


@lru_cache(maxsize=64)
def draw_hand(style: HandStyle, scale: float) -> HandSprites:
    """Draw the parts of a hand; `scale` is sprite pixels per local unit."""
    return HandSprites(
        _arm(style, scale),
        _palm(style, scale),
        tuple(_finger(style.skin, length, 5.4, scale) for length in _LENGTHS),
        _finger(style.skin, 27.0, 6.2, scale),
        _shadow(scale),
    )


def add_shadow(stack: LayerStack, hand: HandSprites, motion: HandMotion) -> None:
    """Put the shadow of a hand and its arm on the table."""
    _, arm = motion.frames()
    stack.add(hand.shadow, pose((12, 14)) @ arm, Role.SHADOW)


def add_fingers(stack: LayerStack, hand: HandSprites, motion: HandMotion) -> None:
    """Put the four fingers in front."""
    palm, _ = motion.frames()
    for finger, knuckle, spread in zip(hand.fingers, _KNUCKLES, _SPREAD, strict=True):
        bend = spread * (1 - 0.7 * motion.close) - 38 * motion.close
        length = 1 - 0.22 * motion.close
        stack.add(finger, palm @ pose(knuckle, bend, 1.0, length), Role.HAND)


def add_palm(stack: LayerStack, hand: HandSprites, motion: HandMotion) -> None:
    """Put arm, back of the hand and thumb in front."""
    palm, arm = motion.frames()
    stack.add(hand.arm, arm, Role.HAND)
    stack.add(hand.palm, palm, Role.HAND)
    bend = -42 + 40 * motion.close
    stack.add(hand.thumb, palm @ pose(_THUMB, bend), Role.HAND)


def _arm(style: HandStyle, scale: float) -> Sprite:
    painter = Painter((-36, -14, 36, _ARM_LENGTH), scale * 0.8)
    skin = painter.polygon(
        [(-14, -9), (14, -9), (15, 20), (23, 130), (27, 300), (-27, 300), (-22, 130), (-15, 20)]
    )
    skin |= painter.ellipse(0, -8, 14, 5)
    painter.inflate(skin, style.skin, 20)
    if style.sleeve is not None:
        top = style.sleeve_from
        wide = float(np.interp(top, [20, 130, 300], [15, 23, 27])) + 5
        cloth = painter.polygon([(-wide, top), (wide, top), (34, 300), (-34, 300)])
        cloth |= painter.ellipse(0, top, wide, 5)
        painter.inflate(cloth, style.sleeve, 22)
        cuff = painter.polygon([(-wide, top), (wide, top), (wide + 1, top + 9), (-wide - 1, top + 9)])
        painter.fill(cuff, style.sleeve, painter.pillow_shade(cloth, 22) * 0.82)
    return painter.sprite()


def _palm(style: HandStyle, scale: float) -> Sprite:
    painter = Painter((-28, -58, 26, 16), scale)
    right = [(-14, 10), (14, 10), (16, -6), (19, -28), (15, -38)]
    left = [(0, -43), (-16, -40), (-20, -22), (-18, -8)]
    mask = painter.polygon(_rounded([*right, *left]))
    shade = painter.pillow_shade(mask, 12)
    shade = np.maximum(shade, np.float32(0.86) - 0.02 * np.abs(painter.grid()[0]))
    _fade_bottom(painter, mask, -4.0, 10.0)
    painter.fill(mask, style.skin, shade)
    for (x, y), spread in zip(_KNUCKLES, _SPREAD, strict=True):
        lean = np.deg2rad(0.3 * spread - 14)
        segment = painter.capsule((x, y), (x + 9 * np.sin(lean), y - 9 * np.cos(lean)), 5.4, 5.0)
        painter.inflate(segment, style.skin, 5)
    for x, y in _KNUCKLES:
        painter.fill(painter.ellipse(x, y + 3, 4, 2.6), style.skin, 0.80, 0.5)
        painter.fill(painter.ellipse(x - 1, y + 2, 2.4, 1.4), style.skin, 1.08, 0.5)
    for x in (-9, -2, 5):
        line = painter.capsule((x, -26), (x * 0.6, -8), 1.0, 0.6)
        painter.fill(line, style.skin, 0.84, 0.4)
    return painter.sprite()


def _finger(skin: Colour, length: float, radius: float, scale: float) -> Sprite:
    painter = Painter((-radius - 3, -length - radius - 2, radius + 3, radius + 5), scale)
    mask = painter.capsule((0, 0), (0, -length), radius, radius * 0.82)
    shade = painter.pillow_shade(mask, radius)
    _fade_bottom(painter, mask, -2.0, radius)
    painter.fill(mask, skin, shade)
    for share in (0.42, 0.72):
        crease = painter.capsule((-radius * 0.5, -length * share), (radius * 0.5, -length * share), 0.8, 0.8)
        painter.fill(crease, skin, 0.76, 0.5)
    nail = painter.ellipse(0, -length - radius * 0.1, radius * 0.52, radius * 0.62)
    painter.fill(nail, (skin[0] * 0.6 + 100, skin[1] * 0.6 + 82, skin[2] * 0.6 + 80), 1.0, 0.75)
    return painter.sprite()


def _fade_bottom(painter: Painter, mask: Mask, start: float, stop: float) -> None:
    """Fade the mask between two local y, so that the part blends into the one below it."""
    _, y = painter.grid()
    keep = np.clip((stop - y) / (stop - start), 0, 1)
    mask[:] = np.round(mask * keep).astype(np.uint8)


def _shadow(scale: float) -> Sprite:
    painter = Painter((-60, -100, 60, _ARM_LENGTH), scale * 0.35)
    mask = painter.polygon(
        [(-13, -42), (13, -42), (20, -12), (27, 130), (31, 300), (-31, 300), (-26, 130), (-20, -12)]
    )
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.5, 7 * painter.fine))
    painter.fill(np.asarray(soft, np.uint8), (0, 0, 0), 1.0, 0.34)
    return painter.sprite()


def _rounded(points: Sequence[tuple[float, float]]) -> Array:
    """Closed curve through the middles of a polygon's edges (quadratic B-spline). Shape: (P, 2)."""
    corners = np.asarray(points, np.float64)
    before, after = np.roll(corners, 1, 0), np.roll(corners, -1, 0)
    t = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
    start, stop = (before + corners)[:, None] / 2, (corners + after)[:, None] / 2
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * corners[:, None] + t**2 * stop
    return np.asarray(curve.reshape(-1, 2))
