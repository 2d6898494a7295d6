"""The truth of a clip: its homographies, masks, layers and poses on disk, and the flow they imply.

The file `truth/<user>/<action>/<n>.npz` holds, for N frames of H x W pixels in the order of the frame files:

homography: (N, 3, 3) float64. homography[k] maps pixels (x, y) of frame k to pixels of frame k-1, for all
    that stands still on the table; the identity for the first.
hand, object, moving: (N, H, W) bool. `object` is the action's first noun, with its lid, its content and the
    part of it on a spoon; `moving` is every part, without shadows, that moves by more than `MOVES_PX` against
    the table between this frame and the one before (for the first frame: the one after).
layer: (N, H, W) uint8. The rigid part that a pixel shows; 0: the table and the objects standing on it.
view: (N, 3, 3) float64. Table coordinates to pixels.
pose: (L, N, 2, 3) float64. For part l + 1: its own coordinates to table coordinates.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.synthetic.geometry import Layer, Role, apply
from data.synthetic.painter import Array
from data.synthetic.render import steps_back

MOVES_PX = 0.25
"""Motion against the table that counts as moving, pixels between frames."""

Truth = Mapping[str, NDArray[Any]]


def make_truth(layers: list[Layer], views: Array, shown: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Collect the truth of a rendered clip.

    Args:
        layers: Its parts, back to front.
        views: Table coordinates to pixels. Shape: (N, 3, 3).
        shown: The part that each pixel shows, 0 for the backdrop. Shape: (N, H, W).

    Returns:
        The arrays of the truth file by name.
    """
    roles = np.array([-1, *(layer.role for layer in layers)])
    moves = np.concatenate([np.zeros((1, len(views)), bool), [_moves(layer, views) for layer in layers]])
    return {
        "homography": steps_back(views),
        "hand": (roles == Role.HAND)[shown],
        "object": (roles == Role.OBJECT)[shown],
        "moving": np.stack([moves[:, k][frame] for k, frame in enumerate(shown)]),
        "layer": shown,
        "view": views,
        "pose": np.stack([layer.poses[:, :2] for layer in layers]),
    }


def _moves(layer: Layer, views: Array) -> NDArray[np.bool_]:
    """Tell whether a part moves against the table around each frame. Shape: (N,)."""
    if len(views) == 1:
        return np.zeros(1, np.bool_)
    before = np.maximum(np.arange(len(views)) - 1, 0)
    after = before + 1
    corners = (layer.sprite.to_local @ layer.sprite.corners)[:2].T
    was, now = (apply(layer.poses[at][:, None], corners) for at in (before, after))
    view = views[after][:, None]
    return np.asarray(np.linalg.norm(apply(view, now) - apply(view, was), axis=-1).max(axis=1) > MOVES_PX)


def true_flow(npz: Path | str | Truth, k: int) -> tuple[Array, Array, Array]:
    """Compute the flow from frame k-1 to frame k, exact for every pixel of frame k-1, even if hidden in k.

    Frame k sampled at p + flow(p) looks like frame k-1 at p.

    Args:
        npz: Path of a truth file, or its arrays by name.
        k: 1 to N-1; frames are counted from 0.

    Returns:
        Flow in pixels (x, y); the camera's part of it; the part of objects and hands themselves, so that
        flow = camera + own. Shapes: (H, W, 2) each.

    Raises:
        IndexError: There is no frame k with one before it.
    """
    if isinstance(npz, (str, Path)):
        with np.load(npz) as truth:
            return true_flow({name: truth[name] for name in ("homography", "layer", "view", "pose")}, k)
    view, pose, shown = npz["view"], npz["pose"], npz["layer"]
    if not 1 <= k < len(view):
        raise IndexError(f"this clip has flow to frames 1 to {len(view) - 1}, not to frame {k}")
    h, w = shown.shape[1:]
    points = np.stack(np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64)), axis=-1)
    camera = apply(np.linalg.inv(npz["homography"][k]), points) - points
    flow = camera.copy()
    for number in np.unique(shown[k - 1]):
        if number:
            was, now = (view[i] @ np.concatenate([pose[number - 1, i], [[0, 0, 1.0]]]) for i in (k - 1, k))
            here = shown[k - 1] == number
            flow[here] = apply(now @ np.linalg.inv(was), points[here]) - points[here]
    return flow, camera, flow - camera
