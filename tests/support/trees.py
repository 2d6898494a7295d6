"""Tiny trees of clips, written file by file, whose pixels tell where they come from."""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
# Two classes, two users; S1/open_jam/2 is shorter than 7 frames.
LENGTHS = {
    "S1/close_jam/1": 9,
    "S1/open_jam/1": 8,
    "S1/open_jam/2": 3,
    "S2/close_jam/1": 8,
    "S2/open_jam/1": 7,
}


def texture(key, number, size=(WIDTH, HEIGHT)):
    """Smooth colours that differ from clip to clip and frame to frame; uint8 (H, W, 3), RGB."""
    rng = np.random.default_rng([*key.encode(), number])
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    waves = [
        np.sin(2 * np.pi * (rng.uniform(1, 3) * x + rng.uniform(1, 3) * y + rng.uniform())) for _ in range(3)
    ]
    return np.uint8(127.5 + 100 * np.stack(waves, axis=-1))


def save(path: Path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {"quality": 90} if path.suffix == ".jpg" else {}
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **quality)


def flow_value(axis, number):
    """Grey level of flow image `number`, told apart by axis."""
    return {"x": 10, "y": 130}[axis] + number


def motion_map(number, size=(WIDTH, HEIGHT)):
    """A black map with one white column, at the map's number."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, number] = 255
    return pixels


def png_tree(root, lengths=None, *, top="processed_frames2", maps=True, flow=True, size=(WIDTH, HEIGHT)):
    """The course's tree."""
    for key, length in (lengths or LENGTHS).items():
        for number in range(1, length + 1):
            save(root / top / key / "rgb" / f"rgb{number:04}.png", texture(key, number, size))
            if maps:
                save(root / top / key / "mmaps" / f"map{number:04}.png", motion_map(number, size))
            for axis in "xy" if flow else "":
                grey = np.full((size[1], size[0], 3), flow_value(axis, number))
                save(root / f"flow_{axis}_processed" / key / f"flow_{axis}_{number:05}.png", grey)
    return root


def jpg_tree(root, lengths=None):
    """The authors' tree."""
    for key, length in (lengths or LENGTHS).items():
        for number in range(1, length + 1):
            save(root / "frames" / key / f"image_{number:05}.jpg", texture(key, number))
            for axis in "xy":
                grey = np.full((HEIGHT, WIDTH), flow_value(axis, number))
                save(root / f"flow_{axis}" / key / f"flow_{axis}_{number:05}.jpg", grey)
    return root
