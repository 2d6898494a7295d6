"""A small scene with known motion, independent of the synthetic kitchen: textured plane, moving patches.

The plane is drawn once and seen through a camera that moves by known homographies; elliptic patches of
another texture glide over the plane at constant speed. N frames, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MARGIN = 80  # px of plane around the first view, so that a moving camera sees no edge


@dataclass(frozen=True)
class Patch:
    """An ellipse that moves by itself: centre and speed in px of the plane, half axes in px."""

    centre: tuple[float, float]
    speed: tuple[float, float]
    axes: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    frames: list[NDArray[np.uint8]]  # N of (H, W)
    moving: list[NDArray[np.bool_]]  # N of (H, W)
    cameras: list[Array]  # N of (3, 3): plane to frame
    patches: tuple[Patch, ...]

    def homography(self, k: int) -> Array:
        """Pixels of frame k to frame k - 1."""
        return np.asarray(self.cameras[k - 1] @ np.linalg.inv(self.cameras[k]))

    def flow(self, k: int) -> tuple[Array, Array]:
        """Flow from frame k - 1 to k in px: all of it, and without the camera's part. Shapes: (H, W, 2)."""
        height, width = self.frames[0].shape
        pixels = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float64)
        plane = apply(np.asarray(np.linalg.inv(self.cameras[k - 1]), np.float64), pixels)
        for patch in self.patches:
            plane[inside(patch, plane, k - 1)] += patch.speed
        whole = apply(self.cameras[k], plane) - pixels
        own = apply(self.cameras[k - 1], plane) - pixels
        return whole, own


def apply(homography: Array, points: Array) -> Array:
    """Map points (..., 2) by a homography."""
    mapped = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ homography.T
    return np.asarray(mapped[..., :2] / mapped[..., 2:])


def inside(patch: Patch, plane: Array, k: int) -> NDArray[np.bool_]:
    """Where the patch is in frame k. Shapes: (H, W, 2) to (H, W)."""
    centre = np.add(patch.centre, np.multiply(patch.speed, k))
    return np.asarray((((plane - centre) / patch.axes) ** 2).sum(axis=-1) <= 1)


def texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise at several scales, as tables and skins have it. Shape: (height, width), 0 to 255."""
    levels = [cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), s) * s for s in (1, 3, 9)]
    total = levels[0] + levels[1] + levels[2]
    return np.asarray(np.clip(125 + 45 * total / total.std(), 0, 255), np.float32)


def camera_path(
    rng: np.random.Generator, num_frames: int, step_px: float, height: int, width: int
) -> list[Array]:
    """Smooth random cameras, plane to frame: shift, a little rotation and zoom about the picture's middle."""
    heading = rng.uniform(0, 2 * np.pi)
    pose = np.array([0.0, 0.0, 0.0, 0.0])
    cameras = []
    for _ in range(num_frames):
        angle, zoom = pose[2], np.exp(pose[3])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
        middle = np.array([width / 2, height / 2])
        camera = np.eye(3)
        camera[:2, :2], camera[:2, 2] = turn, middle + pose[:2] - turn @ middle
        camera[2, :2] = 1e-5 * np.array([np.sin(pose[2] * 20), pose[3]])
        cameras.append(camera)
        heading += rng.normal(0, 0.3)
        shift = [step_px * np.cos(heading), step_px * np.sin(heading)]
        pose += [*shift, rng.normal(0, 0.002), rng.normal(0, 0.002)]
    return cameras


def make_scene(
    seed: int = 0,
    num_frames: int = 12,
    height: int = 120,
    width: int = 160,
    camera_px: float = 3.0,
    patches: Sequence[Patch] = (),
    noise: float = 1.0,
) -> Scene:
    """Render a scene whose camera moves by `camera_px` a frame; 0 leaves it still."""
    rng = np.random.default_rng(seed)
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    table, skin = texture(rng, *size), texture(rng, *size)
    cameras: list[Array] = [np.eye(3)] * num_frames
    if camera_px:
        cameras = camera_path(rng, num_frames, camera_px, height, width)
    grid = np.dstack(np.meshgrid(np.arange(size[1]), np.arange(size[0]))).astype(np.float64) - MARGIN
    frames, moving = [], []
    for k, camera in enumerate(cameras):
        canvas, mask = table.copy(), np.zeros(size, np.uint8)
        for patch in patches:
            place = inside(patch, grid, k)
            shift = np.array([[1, 0, k * patch.speed[0]], [0, 1, k * patch.speed[1]]], np.float32)
            canvas[place], mask[place] = cv2.warpAffine(skin, shift, size[::-1])[place], 1
        view = camera @ np.array([[1, 0, -MARGIN], [0, 1, -MARGIN], [0, 0, 1.0]])
        frame = cv2.warpPerspective(canvas, view, (width, height), flags=cv2.INTER_CUBIC)
        frame = frame + rng.normal(0, noise, frame.shape) if noise else frame
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
        seen = cv2.warpPerspective(mask, view, (width, height), flags=cv2.INTER_NEAREST)
        moving.append(seen.astype(np.bool_))
    return Scene(frames, moving, cameras, tuple(patches))
