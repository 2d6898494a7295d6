"""Flow images and motion maps of one clip: read its frames, compute, write what is missing."""

import glob
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import UserError
from core.files import atomic_folder
from data.clips import Clip, Kind, Series
from data.flow import Flow, Grey, Method, compute_flow, encode
from data.motion.camera import STILL, Camera, camera_free_flow, camera_homography, is_cut
from data.motion.notes import Notes
from data.motion.trajectories import DenseTracks
from data.repeatable import repeatable_opencv
from data.tree_kinds import Place, TreeKind

FLOW_KINDS: tuple[Kind, Kind] = ("flow_x", "flow_y")


@dataclass(frozen=True)
class MotionSettings:
    """How flow and maps are made: algorithm, camera motion removed or not, maps or not."""

    flow: Method
    warp: bool
    maps: bool


@dataclass(frozen=True)
class PairMotion:
    """Motion from one frame to the next.

    Attributes:
        flow_px: What the flow images show, in pixels per frame. Shape: (H, W, 2).
        own_px: The flow without the camera's part; None when neither warp flow nor maps are wanted.
            Shape: (H, W, 2).
        camera: The camera's part.
        note: Why a defined output stands in for a measured one; empty when all went well.
    """

    flow_px: Flow
    own_px: Flow | None
    camera: Camera
    note: str


def pair_motion(prev: Grey, cur: Grey, settings: MotionSettings) -> PairMotion:
    """Compute flow and camera motion between two frames.

    A cut has zero flow. Where no homography can be trusted the camera is taken as still, so that warp flow is
    plain flow there.

    Args:
        prev: Grey frame. Shape: (H, W).
        cur: The frame after it.
        settings: Which flows are wanted, and how they are made.
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


def missing_series(tree: TreeKind, root: Path, clip: Clip, settings: MotionSettings) -> dict[Kind, Path]:
    """Name the folders that are still to be made, by what they will hold."""
    wanted: list[Kind] = [*FLOW_KINDS, "maps"] if settings.maps else [*FLOW_KINDS]
    return {kind: tree.places[kind].folder(root, clip.key) for kind in wanted if clip.series(kind) is None}


class SeriesWriter:
    """Writes the images of a clip, those of them that are asked for."""

    def __init__(self, series: dict[Kind, Series]) -> None:
        """Keep where each kind of image goes."""
        self._series = series

    def flow(self, number: int, flow_px: Flow) -> None:
        """Write flow image `number` of both axes, grey levels in three equal channels."""
        for channel, kind in enumerate(FLOW_KINDS):
            grey = encode(flow_px[..., channel])
            self._write(kind, number, cv2.merge([grey, grey, grey]))

    def maps(self, tracks: DenseTracks, num_frames: int) -> None:
        """Write the motion maps of all frames, 0 and 255."""
        for number in range(1, num_frames + 1):
            self._write("maps", number, tracks.map(number - 1).astype(np.uint8) * 255)

    def _write(self, kind: Kind, number: int, image: cv2.typing.MatLike) -> None:
        if kind not in self._series:
            return
        path = self._series[kind].path(number)
        if not cv2.imwrite(str(path), image):
            raise OSError(f"can't write {path}; is the disk full?")


@repeatable_opencv()
def make_clip(
    clip: Clip, settings: MotionSettings, folders: dict[Kind, Path], places: dict[Kind, Place]
) -> Notes:
    """Compute and write what a clip lacks: all of its folders appear, or none does.

    Flow image k leads from frame k to k + 1; the last repeats the one before it, so that there are as many
    flow images as frames. Flow of a single frame is zero. Every frame has a map.

    Args:
        clip: Which clip.
        settings: How.
        folders: Folders to make, by what they will hold.
        places: Names of the files in them.

    Returns:
        The pairs where a defined output stands in for a measured one.

    Raises:
        UserError: A frame can't be read or has another size than the first.
        OSError: A file can't be written.
    """
    _sweep(folders.values())
    with ExitStack() as stack:
        temporary = {kind: stack.enter_context(atomic_folder(path)) for kind, path in folders.items()}
        writer = SeriesWriter(
            {kind: Series(path, places[kind].pattern, ()) for kind, path in temporary.items()}
        )
        return _make(clip, settings, writer)


def _sweep(folders: Iterable[Path]) -> None:
    """Remove what a killed run left of a clip."""
    for folder in folders:
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
            shutil.rmtree(left)


def _make(clip: Clip, settings: MotionSettings, writer: SeriesWriter) -> Notes:
    frames = read_frames(clip)
    prev = next(frames)
    tracks = DenseTracks(prev.shape, clip.num_frames)
    flow_px = np.zeros((*prev.shape, 2), np.float32)
    notes: Notes = {}
    for number, cur in enumerate(frames, start=1):
        pair = pair_motion(prev, cur, settings)
        flow_px = pair.flow_px
        writer.flow(number, flow_px)
        if settings.maps and pair.own_px is not None:
            tracks.step(prev, pair.own_px, pair.camera)
        if pair.note:
            notes.setdefault(pair.note, []).append(number)
        prev = cur
    writer.flow(clip.num_frames, flow_px)
    if settings.maps:
        tracks.finish()
        writer.maps(tracks, clip.num_frames)
    return notes


def read_frames(clip: Clip) -> Iterator[Grey]:
    """Read the frames of a clip in order.

    Yields:
        Grey frames. Shape: (H, W), uint8.

    Raises:
        UserError: A frame can't be read, or has another size than the first.
    """
    shape: tuple[int, ...] | None = None
    for path in clip.frames.paths:
        frame = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if frame is None:
            raise UserError(f"can't read {path}; put a good frame there or remove the clip")
        if shape is not None and frame.shape != shape:
            raise UserError(f"{path} is {_size(frame.shape)}, the frames before it are {_size(shape)}")
        shape = frame.shape
        yield np.asarray(frame, np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
