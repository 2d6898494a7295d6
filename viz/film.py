"""Pictures as an MP4 film: H.264 by ffmpeg where there is one, else the best that OpenCV can write here.

Pictures are RGB, uint8.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from core.errors import UserError
from core.files import atomic_path
from viz.overlay import Picture


class Codec(NamedTuple):
    """A way to write films.

    Attributes:
        name: Of the codec, and of what writes it.
        write: Takes the file, the pictures and the frames a second; False where it could not.
    """

    name: str
    write: Callable[[Path, Sequence[Picture], float], bool]


def save_mp4(path: Path, pictures: Sequence[Picture], *, frames_per_second: float = 4.0) -> str:
    """Write a film, all or nothing; odd sides get a line of white, which the codecs need.

    Args:
        path: The file, ending in .mp4.
        pictures: RGB, uint8, all of one size. Shapes: (H, W, 3).
        frames_per_second: How fast they follow each other.

    Returns:
        Name of the codec.

    Raises:
        UserError: Neither ffmpeg nor OpenCV can write MP4 files.
    """
    codec = best_codec()
    with atomic_path(path) as temporary:
        if not codec.write(temporary, pictures, frames_per_second):
            raise UserError(f"{path} can't be written as {codec.name}; is the disk full?")
    return codec.name


@cache
def best_codec() -> Codec:
    """Find the first codec that can be written here.

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
            for number, codec in enumerate(_codecs()):
                if codec.write(Path(folder) / f"{number}.mp4", probe, 4.0):
                    return codec
    finally:
        cv2.utils.logging.setLogLevel(level)
    raise UserError("OpenCV can't write MP4 files here; install ffmpeg, or opencv-contrib-python")


def _codecs() -> Iterator[Codec]:
    """List what may be there, the best first."""
    if program := shutil.which("ffmpeg"):
        yield Codec("H.264 (ffmpeg)", partial(_write_by_ffmpeg, program))
    # H.264 plays everywhere, VP9 in browsers, and OpenCV's own wheels can always write the last.
    for fourcc, name in (("avc1", "H.264"), ("vp09", "VP9"), ("mp4v", "MPEG-4 Part 2")):
        yield Codec(f"{name} (OpenCV)", partial(_write_by_opencv, fourcc))


def _write_by_ffmpeg(program: str, path: Path, pictures: Sequence[Picture], frames_per_second: float) -> bool:
    pages = [_even(picture) for picture in pictures]
    height, width = pages[0].shape[:2]
    given = (
        f"-f rawvideo -pix_fmt rgb24 -video_size {width}x{height} -framerate {frames_per_second} -i pipe:0"
    )
    # The matrix by which ffmpeg turns RGB to YUV is written into the file, else players of large films
    # would take another; faststart lets a browser play what it has not loaded whole.
    colour = "-pix_fmt yuv420p -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m"
    wanted = f"-c:v libx264 {colour} -movflags +faststart -f mp4 -y"
    command = [program, "-loglevel", "error", *given.split(), *wanted.split(), str(path)]
    done = subprocess.run(command, input=b"".join(page.tobytes() for page in pages), capture_output=True)
    return done.returncode == 0


def _write_by_opencv(fourcc: str, path: Path, pictures: Sequence[Picture], frames_per_second: float) -> bool:
    pages = [_even(picture) for picture in pictures]
    size, code = pages[0].shape[1::-1], cv2.VideoWriter.fourcc(*fourcc)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, frames_per_second, size)
    try:
        if not writer.isOpened():
            return False
        for page in pages:
            writer.write(cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    return path.stat().st_size > 0


def _even(picture: Picture) -> Picture:
    """Fill odd sides up with a line of white."""
    odd = [(0, side % 2) for side in picture.shape[:2]]
    return np.pad(picture, (*odd, (0, 0)), constant_values=255)
