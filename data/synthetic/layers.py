"""The moving parts of a clip: sprites with one pose a frame, in the order they are painted."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from data.synthetic.painter import Array, Sprite


class Role(IntEnum):
    """What a layer is to the truth."""

    SHADOW = 0
    """Darkens the table; belongs to no mask."""
    HAND = 1
    OBJECT = 2
    """The first noun of the action."""
    OTHER = 3
    """Anything else that may move or hide what moves."""


@dataclass(frozen=True)
class Layer:
    """One rigid sprite over the frames of a clip."""

    sprite: Sprite
    poses: Array
    """Local to table coordinates, affine. Shape: (N, 3, 3)."""
    role: Role
    visible: NDArray[np.bool_]
    """Shape: (N,)."""


@dataclass
class Stack:
    """Layers of a clip, back to front."""

    frames: int
    layers: list[Layer] = field(default_factory=list)

    def add(self, sprite: Sprite, poses: Array, role: Role, visible: NDArray[np.bool_] | bool = True) -> None:
        """Put a sprite in front of all that is there.

        Args:
            sprite: What to show.
            poses: Local to table coordinates. Shape: (N, 3, 3) or (1, 3, 3).
            role: What it is to the truth.
            visible: Frames it shows in. Shape: (N,) or one for all.
        """
        shown = np.broadcast_to(np.asarray(visible, np.bool_), (self.frames,))
        self.layers.append(Layer(sprite, np.broadcast_to(poses, (self.frames, 3, 3)), role, shown))
