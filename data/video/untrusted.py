"""Windows of a video that a stranger sent.

It is bounded in bytes, length and pixels, and decoded in a contained process. Axes: T frames.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError
from data.video.contained import Bounds, OutOfBoundsError, run_contained
from data.video.reader import open_video
from data.video.windows import Part, Window, read_windows

MEGABYTE = 10**6
MAX_PIXELS = 4096 * 2304
"""Of a frame: 4K in every shape of it; larger ones are refused before one of them is decoded."""
_MEMORY, _ANSWERS = 2 << 30, 1 << 30

# Playlists and image sequences are "videos" too, and name other files and addresses for the decoder to open.
_PLAIN_FILES_ALONE = {
    "OPENCV_VIDEOIO_PRIORITY_LIST": "FFMPEG",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file|"
    "format_whitelist;mov,matroska,avi,mpegts,mpeg,ogg,flv,asf",
}


@dataclass(frozen=True)
class Limits:
    """How much of a video is taken.

    Attributes:
        megabytes: Size of the file, in 10^6 bytes.
        length_sec: Length. A file that states a longer one is refused; of one that states none, or lies, no
            more is read.
        decode_sec: How long decoding may take.
    """

    megabytes: float = 200.0
    length_sec: float = 60.0
    decode_sec: float = 120.0

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return round(self.megabytes * MEGABYTE)


Decoder = Callable[[Path, int, Part, int, Limits], Iterator[bytes]]


def decode_packed(path: Path, T: int, part: Part, short_side: int, limits: Limits) -> Iterator[bytes]:
    """Decode windows and pack them for another process; meant to be run in a contained one.

    Changes the process's folder and environment. Arguments as of `read_untrusted`.
    """
    os.environ.update(_PLAIN_FILES_ALONE)
    os.chdir(path.parent)  # messages name the file without telling strangers where it lies
    path = Path(path.name)
    _check_header(path, limits)
    stop_sec = min(limits.length_sec, part.stop_sec or limits.length_sec)
    for window in read_windows(path, T, replace(part, stop_sec=stop_sec), short_side):
        yield _pack(window)


def read_untrusted(
    path: Path, T: int, part: Part, short_side: int, limits: Limits, *, decode: Decoder = decode_packed
) -> list[Window]:
    """Slide a window over a part of a video, whatever the file is really made of.

    Args:
        path: The file. Give it a name of your own: messages mention it.
        T: Frames a window.
        part: Which part, and how long a window is.
        short_side: Pixels that the short side of larger frames is scaled to.
        limits: How much is taken.
        decode: What decodes.

    Raises:
        UserError: It is no video, or larger, longer or harder to decode than the limits allow, or the part
            has fewer than T frames.
    """
    size = path.stat().st_size
    if size > limits.bytes:
        raise UserError(
            f"{path.name} has {size / MEGABYTE:.4g} MB, and {limits.megabytes:g} MB are taken at most; "
            "cut or shrink it"
        )
    bounds = Bounds(limits.decode_sec, _MEMORY, _ANSWERS)
    try:
        packed = run_contained(bounds, decode, path, T, part, short_side, limits)
    except OutOfBoundsError as error:
        raise UserError(f"decoding {path.name} {error}; choose a shorter part or a smaller video") from None
    return [_unpack(window) for window in packed]


def _check_header(path: Path, limits: Limits) -> None:
    with open_video(path) as video:
        width, height = video.stated_size
        length_sec = video.stated_frames / video.fps
    if width * height > MAX_PIXELS:
        raise UserError(f"{path} has frames of {width} x {height} pixels; scale it to 4K or less")
    # What is a frame longer than the limit is so by rounding, and NaN is not longer than anything.
    if length_sec > limits.length_sec + 1:
        raise UserError(
            f"{path} is {length_sec:.0f} s long, and {limits.length_sec:g} s are taken at most; cut it"
        )


def _pack(window: Window) -> bytes:
    file = io.BytesIO()
    for array in (window.frames.numpy(), np.array(window.times_sec), np.array(window.times)):
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpack(packed: bytes) -> Window:
    file = io.BytesIO(packed)
    frames, times_sec, times = (np.load(file, allow_pickle=False) for _ in range(3))
    return Window(torch.from_numpy(frames), tuple(times_sec.tolist()), tuple(times.tolist()))
