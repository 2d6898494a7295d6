"""Pictures as an MP4 film, in the best codec that OpenCV can write here. Pictures are RGB, uint8."""

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from engine.errors import UserError
from engine.files import atomic_path
from viz.overlay import Picture

# H.264 plays everywhere, VP9 in browsers, and OpenCV's own wheels can always write the last.
_CODECS = (("avc1", "H.264"), ("vp09", "VP9"), ("mp4v", "MPEG-4 Part 2"))


def save_mp4(path: Path, pictures: Sequence[Picture], *, frames_per_second: float = 4.0) -> str:
    """Write a film, all or nothing; odd sides get a line of white, which the codecs need.

    Args:
        path: The file, ending in .mp4.
        pictures: RGB, uint8, all of one size. Shapes: (H, W, 3).
        frames_per_second: How fast they follow each other.

    Returns:
        Name of the codec.

    Raises:
        UserError: OpenCV can't write MP4 files.
    """
    fourcc, name = best_codec()
    with atomic_path(path) as temporary:
        if not _write(temporary, pictures, fourcc, frames_per_second):
            raise UserError(f"{path} can't be written as {name}; is the disk full?")
    return name


@cache
def best_codec() -> tuple[str, str]:
    """Find the first codec that can be written here; gives its four characters and its name.

    OpenCV is quiet about the others only where no video was opened before.

    Raises:
        UserError: There is none.
    """
    # Codecs that are not there are what this asks about, so nobody needs to read of them.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    probe = [np.zeros((64, 64, 3), np.uint8)]
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for fourcc, name in _CODECS:
                if _write(Path(folder) / f"{fourcc}.mp4", probe, fourcc, 4.0):
                    return fourcc, name
    finally:
        cv2.utils.logging.setLogLevel(level)
    raise UserError("OpenCV can't write MP4 files here; install opencv-contrib-python")


def _write(path: Path, pictures: Sequence[Picture], fourcc: str, frames_per_second: float) -> bool:
    height, width = (side + side % 2 for side in pictures[0].shape[:2])
    code = cv2.VideoWriter.fourcc(*fourcc)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, frames_per_second, (width, height))
    try:
        if not writer.isOpened():
            return False
        for picture in pictures:
            page = np.full((height, width, 3), 255, np.uint8)
            page[: picture.shape[0], : picture.shape[1]] = picture
            writer.write(cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    return path.stat().st_size > 0
