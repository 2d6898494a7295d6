"""Plane geometry of moving parts: poses as 3x3 matrices, one per frame, smooth motion, and layers of sprites.

N frames, P points, K keys.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
class LayerStack:
    """Layers of a clip, back to front."""

    frames: int
    layers: list[Layer] = field(default_factory=list)
    hidden: int = 0
    """Frames at the clip's beginning that show none of them."""
    standing: int = 0
    """Layers at the back that were put there by `stand`."""

    def add(self, sprite: Sprite, poses: Array, role: Role, visible: NDArray[np.bool_] | bool = True) -> None:
        """Put a sprite in front of all others.

        Args:
            sprite: The picture to show.
            poses: Local to table coordinates. Shape: (N, 3, 3) or (1, 3, 3).
            role: What it is to the truth.
            visible: Frames that show it. Shape: (N,) or one for all.
        """
        self.layers.append(self._layer(sprite, poses, role, visible))

    def stand(self, sprite: Sprite, poses: Array, role: Role) -> None:
        """Put a sprite behind all others but those that stand there already; arguments as of `add`."""
        self.layers.insert(self.standing, self._layer(sprite, poses, role, True))
        self.standing += 1

    def _layer(self, sprite: Sprite, poses: Array, role: Role, visible: NDArray[np.bool_] | bool) -> Layer:
        shown = np.broadcast_to(np.asarray(visible, np.bool_), (self.frames,))
        if self.hidden:
            shown = shown & (np.arange(self.frames) >= self.hidden)
        return Layer(sprite, np.broadcast_to(poses, (self.frames, 3, 3)), role, shown)


def pose(xy: ArrayLike, angle: ArrayLike = 0.0, sx: ArrayLike = 1.0, sy: ArrayLike | None = None) -> Array:
    """Build poses that scale, then rotate, then shift.

    Args:
        xy: Where the origin goes. Shape: (N, 2) or (2,).
        angle: Degrees, clockwise in the picture. Shape: (N,) or a number.
        sx: Scale along x. Shape: (N,) or a number.
        sy: Scale along y; `sx` where None.

    Returns:
        Matrices. Shape: (N, 3, 3), N being 1 if every argument holds one pose.
    """
    origin = np.atleast_2d(np.asarray(xy, np.float64))
    degrees, wide, high = (
        np.atleast_1d(np.asarray(v, np.float64)) for v in (angle, sx, sx if sy is None else sy)
    )
    out = np.zeros((max(len(origin), len(degrees), len(wide), len(high)), 3, 3))
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out[:, 0, 0], out[:, 0, 1] = c * wide, -s * high
    out[:, 1, 0], out[:, 1, 1] = s * wide, c * high
    out[:, :2, 2] = origin
    out[:, 2, 2] = 1
    return out


def apply(matrices: Array, xy: ArrayLike) -> Array:
    """Map points by matrices, perspective included.

    Args:
        matrices: Shape: (..., 3, 3).
        xy: Shape: (..., 2), broadcast against the matrices.
    """
    points = np.asarray(xy, np.float64)
    x, y = points[..., 0], points[..., 1]
    rows = [matrices[..., i, 0] * x + matrices[..., i, 1] * y + matrices[..., i, 2] for i in range(3)]
    return np.stack([rows[0] / rows[2], rows[1] / rows[2]], axis=-1)


def keyed(phase: Array, times: ArrayLike, values: ArrayLike) -> Array:
    """Interpolate smoothly between keys, with zero speed at each.

    Args:
        phase: 0 to 1. Shape: (N,).
        times: Phases of the keys, rising. Shape: (K,).
        values: Shape: (K,) or (K, D).

    Returns:
        Shape: (N,) or (N, D).
    """
    at, keys = np.asarray(times, np.float64), np.asarray(values, np.float64)
    step = np.clip(np.searchsorted(at, phase, side="right") - 1, 0, len(at) - 2)
    share = np.clip((phase - at[step]) / (at[step + 1] - at[step]), 0, 1)
    share = share * share * (3 - 2 * share)
    if keys.ndim == 2:
        share = share[:, None]
    return keys[step] + share * (keys[step + 1] - keys[step])


def within(phase: Array, start: float, stop: float) -> Array:
    """Share of a stretch of the phase that has passed, 0 to 1. Shape: (N,)."""
    return np.clip((phase - start) / (stop - start), 0, 1)


def swing(phase: Array, start: float, stop: float, cycles: float) -> Array:
    """A sine that swells and fades between two phases, `cycles` periods long; 0 elsewhere. Shape: (N,)."""
    share = within(phase, start, stop)
    swell = np.minimum(1, 5 * np.minimum(share, 1 - share))
    return np.asarray(np.sin(2 * np.pi * cycles * share) * swell)
