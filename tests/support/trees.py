"""Tiny trees of clips, written file by file, whose pixels tell where they come from."""

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.clips import Kind
from data.tree import CANONICAL

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 48, 32
# Two classes, two users; S1/open_jam/2 is shorter than 7 frames.
LENGTHS = {
    "S1/close_jam/1": 9,
    "S1/open_jam/1": 8,
    "S1/open_jam/2": 3,
    "S2/close_jam/1": 8,
    "S2/open_jam/1": 7,
}
_FLOW: dict[str, Kind] = {"x": "flow_x", "y": "flow_y"}


def texture(key: str, number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Pixels:
    """Smooth colours that differ from clip to clip and frame to frame; uint8 (H, W, 3), RGB."""
    rng = np.random.default_rng([*key.encode(), number])
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    waves = [
        np.sin(2 * np.pi * (rng.uniform(1, 3) * x + rng.uniform(1, 3) * y + rng.uniform())) for _ in range(3)
    ]
    return np.asarray(127.5 + 100 * np.stack(waves, axis=-1), np.uint8)


def save(path: Path, pixels: npt.ArrayLike) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(np.asarray(pixels, np.uint8), path.suffix))


def encoded(pixels: Pixels, suffix: str) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    if suffix == ".jpg":
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
    else:
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def flow_value(axis: str, number: int) -> int:
    """Grey level of flow image `number`, told apart by axis."""
    return {"x": 110, "y": 130}[axis] + number


def motion_map(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Pixels:
    """A black map with one white column, at the map's number."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, number] = 255
    return pixels


def map_folder(root: Path, user: str, action: str, instance: str) -> Path:
    """Folder of a clip's motion maps in the canonical tree."""
    return CANONICAL.places["maps"].folder(root, f"{user}/{action}/{instance}")


def map_name(number: int) -> str:
    return CANONICAL.places["maps"].pattern.name(number)


def flow_folder(root: Path, axis: str, user: str, action: str, instance: str) -> Path:
    """Folder of a clip's flow along "x" or "y" in the canonical tree."""
    return CANONICAL.places[_FLOW[axis]].folder(root, f"{user}/{action}/{instance}")


def flow_name(axis: str, number: int) -> str:
    return CANONICAL.places[_FLOW[axis]].pattern.name(number)


@cache
def frame_file(key: str, number: int, size: tuple[int, int], suffix: str) -> bytes:
    """A frame, made once for the many trees that have it."""
    return encoded(texture(key, number, size), suffix)


@cache
def map_file(number: int, size: tuple[int, int]) -> bytes:
    return encoded(motion_map(number, size), ".png")


@cache
def flow_file(axis: str, number: int, size: tuple[int, int], suffix: str) -> bytes:
    """A flow image of one value: of three equal channels as a PNG, of one as a JPEG."""
    shape = (size[1], size[0], 3) if suffix == ".png" else (size[1], size[0])
    return encoded(np.full(shape, flow_value(axis, number), np.uint8), suffix)


def new_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def png_tree(
    root: Path,
    lengths: Mapping[str, int] | None = None,
    *,
    top: str = "processed_frames2",
    maps: bool = True,
    flow: bool = True,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """The course's tree, of clips by name and length."""
    for key, length in (lengths or LENGTHS).items():
        numbers = range(1, length + 1)
        folder = new_folder(root / top / key / "rgb")
        for number in numbers:
            (folder / f"rgb{number:04}.png").write_bytes(frame_file(key, number, size, ".png"))
        if maps:
            folder = new_folder(root / top / key / "mmaps")
            for number in numbers:
                (folder / f"map{number:04}.png").write_bytes(map_file(number, size))
        for axis in "xy" if flow else "":
            folder = new_folder(root / f"flow_{axis}_processed" / key)
            for number in numbers:
                (folder / f"flow_{axis}_{number:05}.png").write_bytes(flow_file(axis, number, size, ".png"))
    return root


def jpg_tree(root: Path, lengths: Mapping[str, int] | None = None) -> Path:
    """The authors' tree."""
    size = (WIDTH, HEIGHT)
    for key, length in (lengths or LENGTHS).items():
        numbers = range(1, length + 1)
        folder = new_folder(root / "frames" / key)
        for number in numbers:
            (folder / f"image_{number:05}.jpg").write_bytes(frame_file(key, number, size, ".jpg"))
        for axis in "xy":
            folder = new_folder(root / f"flow_{axis}" / key)
            for number in numbers:
                (folder / f"flow_{axis}_{number:05}.jpg").write_bytes(flow_file(axis, number, size, ".jpg"))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Bytes of all files in a folder, by path."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
