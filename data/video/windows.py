"""Windows that slide over any video, each with evenly spread frames, as networks see clips.

Windows go by the time stamps of frames, so that a varying or absurd frame rate does no harm.
Axes: T frames, N frames of the video, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from data.sampling import Numbers, rgb_frame_numbers
from data.video.reader import Image, Times, frame_times, open_video, scale_to_short_side

_ROUNDING_SEC = 1e-6


@dataclass(frozen=True)
class TimeSpan:
    """Which part of a video to use, and the length of windows over it.

    Attributes:
        start_sec: Start, in seconds from the first frame.
        stop_sec: End; None is the end of the video.
        window_sec: Length of a window; the next one starts half a window later.
    """

    start_sec: float = 0.0
    stop_sec: float | None = None
    window_sec: float = 2.0


@dataclass(frozen=True)
class Window:
    """The frames of one window.

    Attributes:
        frames: RGB, uint8. Shape: (T, 3, H, W).
        times_sec: When each is shown, seconds from the video's first frame. Length: T.
        times: The same as shares of the span, in [0, 1]. Length: T.
    """

    frames: Tensor
    times_sec: tuple[float, ...]
    times: tuple[float, ...]


def read_windows(path: Path, T: int, span: TimeSpan, short_side: int) -> Iterator[Window]:
    """Slide a window over a span of a video.

    Args:
        path: The video.
        T: Frames in each window.
        span: Which part, and the length of a window. A window grows where it would hold fewer than T frames,
            and the last one ends with the span.
        short_side: Pixels that the short side of larger frames is scaled to.

    Yields:
        The windows in order; only frames of overlapping windows are held in memory.

    Raises:
        UserError: The video can't be decoded, or the span has fewer than T frames.
    """
    if not path.is_file():
        raise UserError(f"--video {path}: no such file")
    stop_sec = np.inf if span.stop_sec is None else span.stop_sec
    times = frame_times(path, stop_sec)
    times = times[times < stop_sec]
    inside = np.flatnonzero(times >= span.start_sec)
    if len(inside) < T:
        raise UserError(_too_short(path, times, len(inside), T, span))
    chosen = [inside[0] + window for window in window_numbers(times[inside], T, span.window_sec)]
    first, last = times[inside[0]], times[inside[-1]]
    for numbers, frames in _read(path, chosen, short_side):
        at = times[numbers]
        shares = (at - first) / max(last - first, 1e-9)
        yield Window(frames, tuple(at.tolist()), tuple(shares.tolist()))


def window_numbers(times: Times, T: int, window_sec: float) -> list[Numbers]:
    """Choose the frames of each window, spread evenly as over a clip.

    Args:
        times: Increasing seconds, at least T of them. Shape: (N,).
        T: Frames in each window.
        window_sec: Its length.

    Returns:
        The frame numbers of each window, from 0. Shapes: (T,).
    """
    final = max(times[-1] - window_sec, times[0])
    starts = [*np.arange(times[0], final, window_sec / 2), final]
    spans: dict[int, int] = {}
    for start in starts:
        # A frame on the edge of a window belongs to it, whichever way the edge is rounded.
        begin = min(int(np.searchsorted(times, start - _ROUNDING_SEC)), len(times) - T)
        end = int(np.searchsorted(times, start + window_sec + _ROUNDING_SEC))
        spans[begin] = max(end, begin + T)
    return [begin + rgb_frame_numbers(end - begin, T) - 1 for begin, end in spans.items()]


def _read(path: Path, chosen: list[Numbers], short_side: int) -> Iterator[tuple[Numbers, Tensor]]:
    wanted = {int(number) for numbers in chosen for number in numbers}
    kept: dict[int, Image] = {}
    reached = 0
    with open_video(path) as video:
        for numbers in chosen:
            kept = {number: image for number, image in kept.items() if number >= numbers[0]}
            while reached <= numbers[-1]:
                if reached not in wanted:
                    video.skip()
                elif (image := video.read()) is not None:
                    kept[reached] = scale_to_short_side(image, short_side, video.pixel_ratio, enlarge=False)
                else:
                    raise UserError(f"{path} breaks off at frame {reached} when it is read again")
                reached += 1
            images = np.stack([kept[int(number)] for number in numbers])
            yield numbers, torch.from_numpy(images).permute(0, 3, 1, 2)


def _too_short(path: Path, times: Times, found: int, T: int, span: TimeSpan) -> str:
    length = f"{times[-1]:.2f} s" if len(times) else "nothing"
    where = f"from {span.start_sec:g} s" + (f" to {span.stop_sec:g} s" if span.stop_sec is not None else "")
    return (
        f"{path} has {found} frames {where} ({length} of it can be decoded), and the runs look at {T}; "
        "choose a longer part of it, or a longer video"
    )
