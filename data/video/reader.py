"""Reads videos frame by frame in order, without seeking, which is off by frames in many codecs.

Axes: N frames of the video, H W pixels.
"""

import math
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from core.errors import UserError

Image = NDArray[np.uint8]
Times = NDArray[np.float64]

FORMATS = "mov,matroska,avi,mpegts,mpeg,ogg,flv,asf"
"""FFmpeg's names of formats that hold a video in one file, unlike playlists and image sequences."""
_SOUND_FORMATS = "mp3,wav,flac,aac,aiff"
_HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_TEXT = b"\t\n\r\f" + bytes(range(32, 256))  # bytes of text in any encoding; videos have others at once
_EIGHT_BITS = int.from_bytes(b"I420", "little")  # the usual pixel format, which is never HDR


class Video:
    """A video file, open at its first frame.

    Attributes:
        path: The file.
        fps: Average frames per second; NaN when the file doesn't state it.
    """

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        self.path = path
        self.fps = _positive(capture.get(cv2.CAP_PROP_FPS))
        self._capture = capture

    @property
    def stated_frames(self) -> float:
        """Number of frames that the file states; an estimate in some formats, NaN when it states none."""
        return _positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    @property
    def stated_size(self) -> tuple[int, int]:
        """Width and height of the frames in pixels, as the file states them."""
        wanted = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(which)) for which in wanted)
        return width, height

    @property
    def pixel_ratio(self) -> float:
        """Width of a pixel over its height on the screen, in [1/4, 4]; 1 where the file states nonsense."""
        across, down = (self._capture.get(which) for which in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
        ratio = across / down if across > 0 and down > 0 else 1.0
        if self._capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90:  # it is stated of the stored frame
            ratio = 1 / ratio
        return ratio if 0.25 <= ratio <= 4 and abs(ratio - 1) > 0.01 else 1.0

    @property
    def hdr(self) -> str | None:
        """Which kind of HDR the file is, "PQ" or "HLG"; None for an ordinary video."""
        if self._capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT) == _EIGHT_BITS:
            return None
        streams = _describe_streams(self.path)
        return next((kind for name, kind in _HDR.items() if name in streams), None)

    @property
    def time_sec(self) -> float:
        """Time stamp in seconds of the frame that was read or skipped last."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def skip(self) -> bool:
        """Skip a frame; False at the end, or where the file is broken."""
        return bool(self._capture.grab())

    def read(self) -> Image | None:
        """Decode the next frame.

        Returns:
            RGB, uint8 (H, W, 3); None at the end, or where the file is broken.
        """
        there, bgr = self._capture.read()
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8) if there else None


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video and close it afterwards.

    Raises:
        UserError: OpenCV can't open it; the message says what the file is, as far as that can be seen.
    """
    # FFmpeg's own messages name no file and no remedy; ours do. It reads this once, when it is loaded.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise not_decodable(path)
        yield Video(path, capture)
    finally:
        capture.release()


def frame_times(path: Path, stop_sec: float = math.inf, stop_frame: float = math.inf) -> Times:
    """Decode a video once to get the times of its frames.

    Args:
        path: The video.
        stop_sec: The first frame at this time or later is the last one that is read.
        stop_frame: Number of the last frame that is read, from 0.

    Returns:
        Increasing seconds from the first frame. Shape: (N,), N >= 1.

    Raises:
        UserError: It can't be decoded, or states neither times nor a frame rate.
    """
    stamps: list[float] = []
    with open_video(path) as video:
        while video.skip():
            stamps.append(video.time_sec)
            if stamps[-1] - stamps[0] >= stop_sec or len(stamps) > stop_frame:
                break
        fps = video.fps
    if not stamps:
        raise not_decodable(path)
    if all(before < after for before, after in pairwise(stamps)):
        return np.array(stamps) - stamps[0]
    if not np.isfinite(fps):
        raise UserError(f"{path} states neither times nor a frame rate; convert it to mp4")
    counted: Times = np.arange(len(stamps)) / fps
    return counted


def count_frames(path: Path, up_to: float = math.inf) -> int:
    """Count the frames that can be decoded, at most `up_to`, by decoding them."""
    with open_video(path) as video:
        count = 0
        while count < up_to and video.skip():
            count += 1
    return count


def scale_to_short_side(
    image: Image, short_side: int, pixel_ratio: float = 1.0, *, enlarge: bool = True
) -> Image:
    """Scale an image to square pixels so that its shorter side has `short_side` of them.

    Args:
        image: uint8 (H, W, 3).
        short_side: Pixels.
        pixel_ratio: Width of a pixel over its height.
        enlarge: Whether a smaller image grows; otherwise only its pixels become square.

    Returns:
        uint8 (H', W', 3), area averages when it shrinks, cubic when it grows.
    """
    height, width = image.shape[:2]
    scale = short_side / min(height, width * pixel_ratio)
    scale = scale if enlarge else min(scale, 1.0)
    size = (max(round(width * pixel_ratio * scale), 1), max(round(height * scale), 1))
    if size == (width, height):
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


def not_decodable(path: Path) -> UserError:
    """Make the error for a file of which no frame can be decoded, which says what the file seems to be."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
        cut_off = _mp4_is_cut_off(path)
    except OSError as error:
        return UserError(f"{path} can't be read: {error.strerror}")
    again = "copy or download it again"
    if not head:
        why = f": it is empty; {again}"
    elif not any(head):
        why = f": it begins with zeros, as a download does that never ended; {again}"
    elif not head.translate(None, _TEXT):
        begins = head.decode("utf-8", "replace").strip()[:30]
        why = f": it is text that begins with {begins!r}; {again}"
    elif cut_off:
        why = f": it breaks off before its end, as half a download does; {again}"
    elif "Audio:" in (streams := _describe_streams(path)) and "Video:" not in streams:
        why = ": it holds sound alone; choose a file with a picture"
    else:
        why = "; convert it, for example to H.264 in an mp4 file"
    return UserError(f"{path} can't be decoded{why}")


def _mp4_is_cut_off(path: Path) -> bool:
    """Whether a file is an mp4 or mov that lacks its index, or ends within one of its parts."""
    size, at, kinds = path.stat().st_size, 0, set()
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length, kind = struct.unpack(">I4s", header[:8])
            if length == 1 and len(header) == 16:  # a part of more than 4 GiB
                (length,) = struct.unpack(">Q", header[8:])
            kinds.add(kind)
            if length < 8:  # 0: it goes on to the end of the file
                break
            at += length
    return b"ftyp" in kinds and (at > size or b"moov" not in kinds)


def _describe_streams(path: Path) -> str:
    """Return FFmpeg's lines on the streams of a file; empty where there is no ffmpeg for this machine."""
    formats = f"{FORMATS},{_SOUND_FORMATS}"
    flags = ("-hide_banner", "-protocol_whitelist", "file", "-format_whitelist", formats)
    try:
        command = (get_ffmpeg_exe(), *flags, "-i", f"file:{path}")
        said = subprocess.run(command, capture_output=True, timeout=20, stdin=subprocess.DEVNULL).stderr
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return ""
    return "\n".join(line for line in said.decode("utf-8", "replace").splitlines() if "Stream #" in line)


def _positive(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else math.nan
