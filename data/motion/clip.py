"""Flow images and motion maps of one clip: read its frames, compute, write what is missing.

Pairs of frames whose flow is a stand-in are noted, and listed in `motion.log` at the root of the tree.
H W are pixels.
"""

import glob
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import UserError
from core.files import atomic_folder, write_text
from core.jobs import repeatable_opencv
from data import Method
from data.clips import Clip, Kind, Series, natural_key
from data.decoding import BadImage, decode_grey
from data.flow import FlowField, Grey, compute_flow, encode
from data.motion.camera import STILL, Camera, camera_free_flow, camera_homography, is_cut
from data.motion.trajectories import DenseTracks
from data.tree import Place

FLOW_KINDS: tuple[Kind, Kind] = ("flow_x", "flow_y")
LOG = "motion.log"
CLIPS_NAMED = 3
"""Number of clips that the summary names for each reason."""

Notes = dict[str, list[int]]
"""Frames (from 1) whose flow to the next one is a stand-in, by reason."""


@dataclass(frozen=True)
class FlowSettings:
    """How flow is computed: the algorithm, with or without camera motion, and whether maps are wanted too."""

    flow: Method
    warp: bool
    maps: bool


@dataclass(frozen=True)
class PairMotion:
    """Motion from one frame to the next."""

    flow_px: FlowField
    """What the flow images show, pixels per frame. Shape: (H, W, 2)."""
    own_px: FlowField | None
    """The flow without the camera's part; None if neither warp flow nor maps are wanted. Shape: (H, W, 2)."""
    camera: Camera
    note: str
    """Why the flow is a stand-in; empty where it was measured."""


def pair_motion(prev: Grey, cur: Grey, settings: FlowSettings) -> PairMotion:
    """Compute flow and camera motion between two frames.

    A cut has zero flow. Where no homography can be trusted the camera is taken as still, so that warp flow is
    plain flow there.

    Args:
        prev: Grey frame. Shape: (H, W).
        cur: The frame after it.
        settings: Which flow is wanted, and by which algorithm.
    """
    camera = camera_homography(prev, cur)
    if not camera.accepted and is_cut(prev, cur):
        still = np.zeros((*prev.shape, 2), np.float32)
        return PairMotion(still, still, STILL, "cut, flow set to zero")
    if not (settings.warp or settings.maps):
        return PairMotion(compute_flow(prev, cur, settings.flow), None, camera, "")
    note = "" if camera.accepted else "no homography, camera taken as still"
    own = camera_free_flow(prev, cur, camera, settings.flow)
    flow = own if settings.warp else compute_flow(prev, cur, settings.flow)
    return PairMotion(flow, own, camera, note)


@repeatable_opencv()
def make_clip(
    clip: Clip, settings: FlowSettings, folders: Mapping[Kind, Path], places: Mapping[Kind, Place]
) -> Notes:
    """Compute and write what a clip lacks: all of its folders appear, or none does.

    Flow image k leads from frame k to k + 1; the last repeats the one before it, so that there are as many
    flow images as frames. The flow of a single frame is zero. Every frame has a map.

    Args:
        clip: The clip to read.
        settings: How flow is computed.
        folders: Folders to make, by kind of image.
        places: How each kind's files are named.

    Returns:
        The pairs whose flow is a stand-in.

    Raises:
        UserError: A frame can't be read or differs in size from the first.
        OSError: A file can't be written.
    """
    for folder in folders.values():  # what a killed run left
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
            shutil.rmtree(left)
    frames, notes = grey_frames(clip), Notes()
    prev = next(frames)
    tracks = DenseTracks(prev.shape, clip.num_frames)
    flow_px = np.zeros((*prev.shape, 2), np.float32)
    with ExitStack() as stack:
        series = {
            kind: Series(stack.enter_context(atomic_folder(path)), places[kind].pattern, ())
            for kind, path in folders.items()
        }
        for number, cur in enumerate(frames, start=1):
            pair = pair_motion(prev, cur, settings)
            flow_px = pair.flow_px
            _write_flow(series, number, flow_px)
            if settings.maps and pair.own_px is not None:
                tracks.step(prev, pair.own_px, pair.camera)
            if pair.note:
                notes.setdefault(pair.note, []).append(number)
            prev = cur
        _write_flow(series, clip.num_frames, flow_px)
        if settings.maps:
            tracks.finish()
            for number in range(1, clip.num_frames + 1):
                _write(series, "maps", number, tracks.map(number - 1).astype(np.uint8) * 255)
    return notes


def _write_flow(series: Mapping[Kind, Series], number: int, flow_px: FlowField) -> None:
    """Write flow image `number` along both axes, its grey levels in three equal channels."""
    for channel, kind in enumerate(FLOW_KINDS):
        grey = encode(flow_px[..., channel])
        _write(series, kind, number, cv2.merge([grey, grey, grey]))


def _write(series: Mapping[Kind, Series], kind: Kind, number: int, image: cv2.typing.MatLike) -> None:
    """Write an image, unless the clip has its kind already."""
    if kind in series and not cv2.imwrite(str(path := series[kind].path(number)), image):
        raise OSError(f"can't write {path}; is the disk full?")


def grey_frames(clip: Clip) -> Iterator[Grey]:
    """Read the frames of a clip in order.

    Yields:
        Grey frames. Shape: (H, W), uint8.

    Raises:
        UserError: A frame can't be read, or differs in size from the first.
    """
    shape: tuple[int, ...] | None = None
    for path in clip.frames.paths:
        try:
            frame = decode_grey(path)
        except BadImage as bad:
            raise UserError(f"{path}: {bad}; copy it again") from None
        if shape is not None and frame.shape != shape:
            (height, width), (first_height, first_width) = frame.shape, shape
            raise UserError(
                f"{path} is {width}x{height}, the frames before it are {first_width}x{first_height}; make "
                "all frames of a clip equal in size"
            )
        shape = frame.shape
        yield frame


class MotionLog:
    """The log of a tree: one line per clip with notes, in the order of the clips, kept over several runs."""

    def __init__(self, root: Path) -> None:
        self.path = root / LOG
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        parts = [line.partition(": ") for line in text.splitlines()]
        self._lines = {key: notes for key, _, notes in parts}

    def put(self, key: str, notes: Notes, num_pairs: int) -> None:
        """Write a clip's line, or remove it when the clip no longer has any notes."""
        before = self._lines.pop(key, None)
        if notes:
            self._lines[key] = "; ".join(
                f"{why}: {len(numbers)} of {num_pairs} pairs, from frame {_ranges(numbers)}"
                for why, numbers in notes.items()
            )
        if self._lines.get(key) != before:
            ordered = sorted(self._lines.items(), key=lambda item: natural_key(item[0]))
            write_text(self.path, "".join(f"{clip}: {line}\n" for clip, line in ordered))


def summary(notes_by_clip: Mapping[str, Notes], log: Path) -> Iterator[str]:
    """Count the pairs for each reason, and name the clips with the most.

    Yields:
        One line per reason, then one that says where all pairs are listed.
    """
    for why in sorted({why for notes in notes_by_clip.values() for why in notes}):
        counts = {key: len(notes[why]) for key, notes in notes_by_clip.items() if why in notes}
        worst = sorted(counts, key=lambda key: (-counts[key], natural_key(key)))[:CLIPS_NAMED]
        named = ", ".join(f"{key} ({counts[key]})" for key in worst)
        where = f"{_many(len(counts), 'clip')}{', most in' if len(counts) > CLIPS_NAMED else ':'} {named}"
        yield f"{why}: {_many(sum(counts.values()), 'pair')} of {where}"
    if any(notes_by_clip.values()):
        yield f"all of them: {log}"


def _ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers, consecutive ones as a range: 1-3, 7."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(
        str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")
