"""A clip in the making, as the motion programs see it: its phase, its objects, and a stack of layers to fill.

Programs are written for a right-handed person. In a left-handed clip everything is placed mirrored while the
objects themselves stay unmirrored, so that their labels can be read. N: frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from data.synthetic import hands
from data.synthetic.geometry import LayerStack, Role, apply, keyed, pose
from data.synthetic.hands import HandMotion, HandSprites
from data.synthetic.objects import Look, cached_object
from data.synthetic.painter import Array, DrawnObject, Point, Sprite
from data.synthetic.scene import HEIGHT, Backdrop, shadow_pose, shadow_sprite


@dataclass(frozen=True)
class Shot:
    """One clip in the making."""

    phase: Array
    """How far the action has progressed in each frame, 0 to 1. Shape: (N,)."""
    rng: Generator
    backdrop: Backdrop
    stack: LayerStack
    hand: HandSprites
    looks: dict[str, Look]
    """How this person's objects look."""
    scale: float
    """Sprite pixels per local unit."""
    size: float
    """Size of objects in use, table units per local unit."""
    mirrored: bool

    @property
    def width(self) -> float:
        """Width of the rest view, table units."""
        return self.backdrop.width

    def object(self, name: str) -> DrawnObject:
        """The named object, as it looks on this person's table."""
        return cached_object(name, self.looks.get(name, Look()), self.scale)

    def spot(self, x: tuple[float, float], y: tuple[float, float]) -> Array:
        """Draw a position; bounds are shares of the view's width and height. Shape: (2,)."""
        return np.array([self.rng.uniform(*x) * self.width, self.rng.uniform(*y) * HEIGHT])

    def pose(
        self,
        xy: ArrayLike,
        angle: ArrayLike = 0.0,
        pivot: Point = (0.0, 0.0),
        *,
        sx: ArrayLike = 1.0,
        sy: ArrayLike | None = None,
    ) -> Array:
        """Poses of an object in use, mirrored if the clip is; see `geometry.pose`.

        Args:
            xy: Where the pivot goes, unmirrored table coordinates. Shape: (N, 2) or (2,).
            angle: Degrees clockwise. Shape: (N,) or a number.
            pivot: Point of the object that it turns about, local units.
            sx: Stretch along the object's x. Shape: (N,) or a number.
            sy: Stretch along its y; `sx` where None.
        """
        turn = np.negative(angle) if self.mirrored else angle
        wide, high = np.multiply(sx, self.size), np.multiply(sx if sy is None else sy, self.size)
        return np.asarray(pose(self.flip(xy), turn, wide, high) @ pose(np.negative(pivot)))

    def point(self, xy: ArrayLike, local: Point, angle: ArrayLike, size: ArrayLike = 1.0) -> Array:
        """Position of an object's local point while its origin is at `xy`, both unmirrored. Shape: (N, 2)."""
        return apply(pose(xy, angle, np.multiply(size, self.size)), local)

    def flip(self, xy: ArrayLike) -> Array:
        """Mirror points if the clip is mirrored. Shape: (..., 2)."""
        points = np.array(xy, np.float64)
        if self.mirrored:
            points[..., 0] = self.width - points[..., 0]
        return points

    def add(self, sprite: Sprite, poses: Array, role: Role, visible: NDArray[np.bool_] | bool = True) -> None:
        """Put a layer in front of the others."""
        self.stack.add(sprite, poses, role, visible)

    def stand(self, sprite: Sprite, place: Array) -> None:
        """Set something that is in use and stays where it is, behind the layers.

        It becomes part of the backdrop; where the clip's start is hidden, a layer, so that it is hidden too.
        """
        if self.stack.hidden:
            self.stack.stand(sprite, place, Role.OTHER)
        else:
            self.backdrop.stamp(sprite, place)

    def shadow(self, xy: Array, width: float, lift: Array | float = 0.0) -> None:
        """Lay a soft shadow `width` wide (local units) on the table under an object whose foot is at `xy`."""
        poses = shadow_pose(self.flip(xy), width * self.size, lift)
        self.stack.add(shadow_sprite(self.scale), poses, Role.SHADOW)

    def reach(
        self, grip: Array, angle: ArrayLike, *, arrive: float, leave: float | None = None, left: bool = False
    ) -> HandMotion:
        """A hand that comes from the lower edge, grips and may leave again.

        Args:
            grip: Where it grips, unmirrored table coordinates. Shape: (N, 2).
            angle: Degrees the hand is turned, clockwise. Shape: (N,) or a number.
            arrive: Phase at which it has gripped; 0: it holds from the start.
            leave: Phase at which it lets go; None: never.
            left: Whether it is the left hand of a right-handed clip.
        """
        home = np.array([self.width * (0.16 if left else 0.84), HEIGHT + 70.0])
        stay = np.ones(len(self.phase))
        if arrive > 0:
            stay = keyed(self.phase, (0.0, arrive), (0.0, 1.0))
        if leave is not None:
            stay = stay * keyed(self.phase, (leave, min(1.0, leave + 0.16)), (1.0, 0.0))
        # A hand that holds still trembles a little: two slow waves along each axis, table units.
        speed, start = self.rng.uniform(0.25, 0.7, (2, 2)), self.rng.uniform(0, 2 * np.pi, (2, 2))
        tremor = 0.8 * np.sin(np.arange(len(stay))[:, None, None] * speed + start).mean(axis=1)  # (N, 2)
        at = home + stay[:, None] * (grip - home) + tremor
        close = np.clip((stay - 0.8) / 0.2, 0, 1)
        root = np.array([self.width * (0.22 if left else 0.78), HEIGHT + 150.0])
        elbow = root + (at - (self.width / 2, HEIGHT * 0.7)) * (0.35, 0.1)
        turn = np.broadcast_to(np.asarray(angle, np.float64), len(at))
        turn = -turn if self.mirrored else turn
        size = 1.05 + 0.06 * self.size
        return HandMotion(self.flip(at), turn, close, self.flip(elbow), left != self.mirrored, size)

    def hand_shadows(self, *motions: HandMotion) -> None:
        """Lay the shadows of hands on everything below."""
        for motion in motions:
            hands.add_shadow(self.stack, self.hand, motion)

    def fingers(self, motion: HandMotion) -> None:
        """Put the fingers of a hand in front."""
        hands.add_fingers(self.stack, self.hand, motion)

    def palms(self, *motions: HandMotion) -> None:
        """Put arm, palm and thumb of hands in front."""
        for motion in motions:
            hands.add_palm(self.stack, self.hand, motion)
