"""Small plane geometry: poses as 3x3 matrices, one a frame, and smooth motion between key points."""

import numpy as np
from numpy.typing import ArrayLike

from data.synthetic.painter import Array


def pose(xy: ArrayLike, angle: ArrayLike = 0.0, sx: ArrayLike = 1.0, sy: ArrayLike | None = None) -> Array:
    """Poses that scale, then rotate, then shift.

    Args:
        xy: Where the origin goes. Shape: (N, 2) or (2,).
        angle: Degrees, clockwise as seen. Shape: (N,) or a number.
        sx: Scale along x. Shape: (N,) or a number.
        sy: Scale along y; `sx` where None.

    Returns:
        Matrices. Shape: (N, 3, 3), N being 1 where every argument is of one pose.
    """
    at = np.atleast_2d(np.asarray(xy, np.float64))
    turn, wide, high = (
        np.atleast_1d(np.asarray(v, np.float64)) for v in (angle, sx, sx if sy is None else sy)
    )
    count = max(len(at), len(turn), len(wide), len(high))
    out = np.zeros((count, 3, 3))
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    out[:, 0, 0], out[:, 0, 1] = c * wide, -s * high
    out[:, 1, 0], out[:, 1, 1] = s * wide, c * high
    out[:, :2, 2] = at
    out[:, 2, 2] = 1
    return out


def about(centre: tuple[float, float], angle: ArrayLike) -> Array:
    """Rotations about a fixed point. Shape: (N, 3, 3)."""
    shift = pose(np.negative(centre))
    return np.asarray(pose(centre, angle) @ shift)


def apply(matrices: Array, xy: ArrayLike) -> Array:
    """Points through matrices, perspective included.

    Args:
        matrices: Shape: (..., 3, 3).
        xy: Shape: (..., 2), broadcast against the matrices.
    """
    points = np.asarray(xy, np.float64)
    x, y = points[..., 0], points[..., 1]
    rows = [matrices[..., i, 0] * x + matrices[..., i, 1] * y + matrices[..., i, 2] for i in range(3)]
    return np.stack([rows[0] / rows[2], rows[1] / rows[2]], axis=-1)


def keyed(phase: Array, times: ArrayLike, values: ArrayLike) -> Array:
    """Values that pass through key points, at rest at each.

    Args:
        phase: Shape: (N,), 0 to 1.
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
    """A sine of so many cycles between two phases that swells and dies away; 0 elsewhere. Shape: (N,)."""
    share = within(phase, start, stop)
    swell = np.minimum(1, 5 * np.minimum(share, 1 - share))
    return np.asarray(np.sin(2 * np.pi * cycles * share) * swell)
