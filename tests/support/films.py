"""Films whose frames tell their own number by their brightness."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def film(
    path: Path,
    frames: int = 40,
    fps: float = 10.0,
    size: tuple[int, int] = (96, 64),
    form: str | None = None,
    codec: str = "MJPG",
) -> Path:
    """Write a film; form is the container of a file whose name doesn't end in it."""
    written = path if form is None else path.with_suffix(f".{form}")
    writer = cv2.VideoWriter(str(written), cv2.VideoWriter.fourcc(*codec), fps, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 5 * number + 10, np.uint8))
    writer.release()
    return written.rename(path)


_WIDTH, _HEIGHT, _STEP = 96, 64, 8
_RED: dict[tuple[str, int, float], bytes] = {}
"""Red films that were written before, for the many tests that want the same one."""


def red_film(path: Path, frames: int = 24, fps: float = 10.0) -> Path:
    """Write a film whose frame n is red of level 8 * n + 20 on the left, black on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if (known := _RED.get((path.suffix, frames, fps))) is not None:
        path.write_bytes(known)
        return path
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (_WIDTH, _HEIGHT))
    for number in range(frames):
        image = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        image[:, : _WIDTH // 2, 2] = _STEP * number + 20
        writer.write(image)
    writer.release()
    _RED[path.suffix, frames, fps] = path.read_bytes()
    return path


def shown_numbers(folder: Path) -> list[int]:
    """Tell which of a red film's frames the images of a clip are."""
    images = [np.asarray(Image.open(path)) for path in sorted((folder / "rgb").iterdir())]
    assert all(image[..., 1:].max() < 12 for image in images), "red should be the first channel"
    return [round((image[:, 4:20, 0].mean() - 20) / _STEP) for image in images]


def changed_rate(path: Path, steady: int, factor: int) -> Path:
    """Show an mp4's frames from number `steady` on `factor` times as long, as a phone does in the dark."""
    _rewrite(path, {b"stts": lambda body: _times(body, steady, factor)})
    return path


def wide_pixels(path: Path, across: int, down: int) -> Path:
    """State that an mp4's pixels are `across` wide and `down` high."""
    ratio = _box(b"pasp", struct.pack(">II", across, down))

    def describe(body: bytes) -> bytes:  # a description of 78 bytes, then boxes of its own
        inner = b"".join(_box(kind, inner) for kind, inner in _boxes(body[78:]) if kind != b"pasp")
        return body[:78] + inner + ratio

    _rewrite(path, {b"mp4v": describe})
    return path


def _rewrite(path: Path, changes: dict[bytes, Callable[[bytes], bytes]]) -> None:
    """Change boxes of an mp4 whose index stands at its end."""

    def change(kind: bytes, body: bytes) -> bytes:
        if kind == b"stsd":
            return _box(kind, body[:8] + b"".join(change(*inner) for inner in _boxes(body[8:])))
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            inner = (change(*inner) for inner in _boxes(body) if inner[0] != b"edts")  # of the old length
            return _box(kind, b"".join(inner))
        return _box(kind, changes[kind](body) if kind in changes else body)

    path.write_bytes(b"".join(change(*box) for box in _boxes(path.read_bytes())))


def _times(body: bytes, steady: int, factor: int) -> bytes:
    frames, ticks = struct.unpack(">II", body[8:16])
    return body[:4] + struct.pack(">5I", 2, steady, ticks, frames - steady, factor * ticks)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + size]
        at += size


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body
