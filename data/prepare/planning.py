"""Chooses the frames of each row in its video, and finds rows that show the same frames.

Axes: N frames of a video.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

import numpy as np

from data.prepare.annotations import Annotation, BadRow
from data.prepare.cutting import Cut
from data.video.reader import Times, Video, count_frames, frame_times, not_decodable, open_video

_STEADY_SEC = 1e-3  # time stamps are rounded to milliseconds in some formats
_ROUNDING_SEC = 1e-6


@dataclass(frozen=True)
class VideoPlan:
    """What is cut from one video.

    Attributes:
        cuts: The clips.
        bad: The rows whose range ends after the video.
        notes: What is unusual about the video.
    """

    cuts: list[Cut]
    bad: list[BadRow]
    notes: list[str]


def plan_video(path: Path, rows: Sequence[Annotation], fps: float | None) -> VideoPlan:
    """Turn a video's rows into frame numbers, and check that the video has these frames.

    Args:
        path: The video.
        rows: Its rows, all in seconds or all in frames.
        fps: Frames per second to take, None for all.

    Raises:
        UserError: The video can't be decoded, or states neither times nor a frame rate where they are needed.
    """
    with open_video(path) as video:
        rate, stated, notes = video.fps, video.stated_frames, _unusual(video)
        if not video.skip():
            raise not_decodable(path)
    stops = [math.inf if row.stop is None else row.stop for row in rows]
    stop, seconds, edges = max(stops), rows[0].seconds, None
    if seconds or fps is not None:
        times = frame_times(path, stop_sec=stop) if seconds else frame_times(path, stop_frame=stop)
        edges, frames = _edges(times, rate), len(times)
    elif stop <= stated:
        frames = int(stop)  # the stated number may be wrong: whoever cuts the frames counts them again
    else:
        frames = count_frames(path, stop)
    if stop == math.inf and frames < 0.98 * stated:
        notes.append(f"{path} states {stated:.0f} frames, of which {frames} can be decoded; is it complete?")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    plan = VideoPlan([], [], notes)
    for row in rows:
        numbers = frame_numbers(row, frames, edges, fps)
        if numbers is None:
            plan.bad.append(BadRow(row.line, past_end(row, frames, stated)))
        else:
            plan.cuts.append(Cut(row, numbers, digest))
    return plan


def _unusual(video: Video) -> list[str]:
    notes = []
    if (ratio := video.pixel_ratio) != 1:
        shape = f"pixels that are {ratio:.3g} times as wide as high"
        notes.append(f"{video.path} has {shape}; its frames are scaled to the shape in which they are shown")
    if (kind := video.hdr) is not None:
        notes.append(
            f"{video.path} is HDR ({kind}): its frames look pale; convert it to BT.709 for true colours"
        )
    return notes


def _edges(times: Times, rate: float) -> Times:
    """Append the time at which the last frame ends, as far as that is known. Shape: (N + 1,)."""
    counted = np.arange(len(times) + 1) / rate
    # Evenly spaced frames have exact times, whatever rounding their time stamps went through.
    if np.abs(times - counted[:-1]).max() < _STEADY_SEC:  # never with a rate of NaN
        return counted
    gaps = np.diff(times)
    return np.append(times, times[-1] + (max(gaps[-1], np.median(gaps)) if len(gaps) else 0))


def frame_numbers(
    row: Annotation, frames: int, edges: Times | None, fps: float | None
) -> tuple[int, ...] | None:
    """Choose a clip's frames in its video.

    Frame j of a clip taken at `fps` is the last one that the video shows at or before j / fps seconds after
    the clip's start. Seconds are rounded to the frame whose time is nearest.

    Args:
        row: The annotation.
        frames: Number of frames of the video, at least up to the end of the range where it has them.
        edges: When each frame begins and the last one ends, in seconds; needed for seconds and fps.
            Shape: (N + 1,).
        fps: Frames per second to take, None for all.

    Returns:
        Frame numbers from 0, at least one; None if the video ends earlier.
    """
    if row.seconds:
        assert edges is not None
        middles = (edges[1:] + edges[:-1]) / 2
        start = _position(middles, row.start)
        stop = frames if row.stop is None else max(_position(middles, row.stop), start + 1)
        end = edges[-1] + (edges[-1] - edges[-2]) / 2
        past = row.stop is not None and row.stop >= end
    else:
        start, stop = int(row.start), frames if row.stop is None else int(row.stop)
        past = False
    if past or start >= frames or stop > frames:
        return None
    if fps is None:
        return tuple(range(start, stop))
    assert edges is not None
    count = math.ceil((edges[stop] - edges[start]) * fps)
    wanted = edges[start] + np.arange(count) / fps + _ROUNDING_SEC
    shown = np.searchsorted(edges, wanted, side="right") - 1
    return tuple(shown[shown < stop].tolist())


def _position(middles: Times, value: float) -> int:
    return int(np.searchsorted(middles, value + 1e-9, side="right"))


def past_end(row: Annotation, frames: int, stated: float) -> str:
    """Say that a row's video ends too early."""
    unit = " s" if row.seconds else ""
    part = f"ends at {row.stop:g}{unit}" if row.stop is not None else f"starts at {row.start:g}{unit}"
    broken = f" (or breaks off) after {frames} frames"
    if stated > frames + 1:
        broken = f" (or breaks off) after {frames} of the {stated:.0f} frames that it states"
    return f"the range {part}, but {row.video} ends{broken}; correct the row or copy the video again"


def repeated_frames(cuts: Sequence[Cut]) -> list[str]:
    """Find rows that stand twice and frames that two users or two actions share.

    Returns:
        A sentence for each pair: the same range twice, overlapping ranges under one user and action, and any
        overlap under two users, whose clips may be in training and in test. Copies of a video count as it.
    """
    by_video: dict[str, list[Cut]] = {}
    for cut in cuts:
        by_video.setdefault(cut.digest, []).append(cut)
    found = []
    for same in by_video.values():
        same.sort(key=lambda cut: cut.start)
        for place, first in enumerate(same, 1):
            for second in takewhile(lambda cut: cut.start < first.stop, islice(same, place, None)):  # noqa: B023
                pair = sorted((first, second), key=lambda cut: cut.row.line)
                if (said := _in_common(*pair)) is not None:
                    found.append(f"lines {pair[0].row.line} and {pair[1].row.line}: {said}")
    return found


def _in_common(first: Cut, second: Cut) -> str | None:
    """Say which frames two overlapping clips share; None for two actions that overlap, as actions do."""
    start, stop = max(first.start, second.start), min(first.stop, second.stop)
    one, other = first.row, second.row
    equal = (first.start, first.stop) == (second.start, second.stop)
    what = f"the same frames {start} to {stop} of {one.video.name}"
    if one.user != other.user:
        return f"{what} under users {one.user} and {other.user}, so that they may be in training and in test"
    if equal and one.action == other.action:
        return f"{what} twice, as {one.user}/{one.action}"
    if equal:
        return f"{what} as {one.action} and as {other.action}"
    if one.action == other.action:
        return f"{what} in two clips of {one.user}/{one.action}"
    return None
