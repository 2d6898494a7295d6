"""A small moving scene with truth, independent of the synthetic kitchen: textured plane, moving patches.

The plane is drawn once and seen through a camera that moves by known homographies; elliptic patches of
another texture glide over the plane at constant speed. H W pixels, N frames.
"""

from dataclasses import dataclass

import cv2
import numpy as np

MARGIN = 80  # px of plane around the first view, so that a moving camera sees no edge


@dataclass(frozen=True)
class Patch:
    """An ellipse that moves by itself: centre and speed in px of the plane, half axes in px."""

    centre: tuple[float, float]
    speed: tuple[float, float]
    axes: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    frames: list[np.ndarray]  # N of (H, W) uint8
    moving: list[np.ndarray]  # N of (H, W) bool
    cameras: list[np.ndarray]  # N of (3, 3): plane to frame
    patches: tuple[Patch, ...]

    def homography(self, k):
        """Pixels of frame k to frame k - 1."""
        return self.cameras[k - 1] @ np.linalg.inv(self.cameras[k])

    def flow(self, k):
        """Flow from frame k - 1 to k in px: all of it, and without the camera's part. Shapes: (H, W, 2)."""
        height, width = self.frames[0].shape
        pixels = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float64)
        plane = apply(np.linalg.inv(self.cameras[k - 1]), pixels)
        for patch in self.patches:
            plane[inside(patch, plane, k - 1)] += patch.speed
        whole = apply(self.cameras[k], plane) - pixels
        own = apply(self.cameras[k - 1], plane) - pixels
        return whole, own


def apply(homography, points):
    """Map points (..., 2) by a homography."""
    mapped = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ homography.T
    return mapped[..., :2] / mapped[..., 2:]


def inside(patch, plane, k):
    centre = np.add(patch.centre, np.multiply(patch.speed, k))
    return (((plane - centre) / patch.axes) ** 2).sum(axis=-1) <= 1


def texture(rng, height, width):
    """Noise at several scales, as tables and skins have it. Shape: (height, width) float32, 0 to 255."""
    levels = [cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), s) * s for s in (1, 3, 9)]
    total = sum(levels)
    return np.clip(125 + 45 * total / total.std(), 0, 255).astype(np.float32)


def camera_path(rng, num_frames, step_px, height, width):
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
        pose += [
            step_px * np.cos(heading),
            step_px * np.sin(heading),
            rng.normal(0, 0.002),
            rng.normal(0, 0.002),
        ]
    return cameras


def make_scene(seed=0, num_frames=12, height=120, width=160, camera_px=3.0, patches=(), noise=1.0):
    """Render a scene. `camera_px`: how far the camera goes in a frame; 0 leaves it still."""
    rng = np.random.default_rng(seed)
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    table, skin = texture(rng, *size), texture(rng, *size)
    if camera_px:
        cameras = camera_path(rng, num_frames, camera_px, height, width)
    else:
        cameras = [np.eye(3)] * num_frames
    grid = np.dstack(np.meshgrid(np.arange(size[1]), np.arange(size[0]))) - float(MARGIN)
    frames, moving = [], []
    for k, camera in enumerate(cameras):
        canvas, mask = table.copy(), np.zeros(size, np.uint8)
        for patch in patches:
            place = inside(patch, grid, k)
            shifted = cv2.warpAffine(
                skin, np.float32([[1, 0, k * patch.speed[0]], [0, 1, k * patch.speed[1]]]), size[::-1]
            )
            canvas[place], mask[place] = shifted[place], 1
        view = camera @ np.array([[1, 0, -MARGIN], [0, 1, -MARGIN], [0, 0, 1.0]])
        frame = cv2.warpPerspective(canvas, view, (width, height), flags=cv2.INTER_CUBIC)
        frame = frame + rng.normal(0, noise, frame.shape) if noise else frame
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
        seen = cv2.warpPerspective(mask, view, (width, height), flags=cv2.INTER_NEAREST)
        moving.append(seen.astype(bool))
    return Scene(frames, moving, cameras, tuple(patches))
