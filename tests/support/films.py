"""Films whose frames tell their own number by their brightness."""

from pathlib import Path

import cv2
import numpy as np


def film(
    path: Path,
    frames: int = 40,
    fps: float = 10.0,
    size: tuple[int, int] = (96, 64),
    form: str | None = None,
) -> Path:
    """Write a film; form is the container of a file whose name doesn't end in it."""
    written = path if form is None else path.with_suffix(f".{form}")
    writer = cv2.VideoWriter(str(written), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 5 * number + 10, np.uint8))
    writer.release()
    return written.rename(path)
