"""Reads videos frame by frame in order, without seeking, which is off by frames in many codecs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

Image = NDArray[np.uint8]


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
        UserError: OpenCV can't open it.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UserError(f"{path} can't be decoded; convert it, for example to H.264 in an mp4 file")
        yield Video(path, capture)
    finally:
        capture.release()


def count_frames(path: Path, up_to: int) -> int:
    """Count the frames that can be decoded, at most `up_to`, by decoding them."""
    with open_video(path) as video:
        count = 0
        while count < up_to and video.skip():
            count += 1
    return count


def scale_to_short_side(image: Image, short_side: int) -> Image:
    """Scale an image so that its shorter side has `short_side` pixels.

    Args:
        image: uint8 (H, W, 3).
        short_side: Pixels.

    Returns:
        uint8 (H', W', 3), area averages when it shrinks, cubic when it grows.
    """
    height, width = image.shape[:2]
    if min(height, width) == short_side:
        return image
    scale = short_side / min(height, width)
    size = (round(width * scale), round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


def _positive(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else math.nan
