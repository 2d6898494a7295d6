"""Writes clips cut from a video into the canonical tree, each completely or not at all."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2

from core.files import atomic_folder
from data.prepare.annotations import Annotation
from data.tree import rgb_name
from data.video.reader import Image, open_video, scale_to_short_side


@dataclass(frozen=True)
class Cut:
    """A clip to be cut.

    Attributes:
        row: Its annotation.
        numbers: The video's frames that it holds, from 0, in order; a frame may occur twice.
        digest: SHA-256 of the video.
    """

    row: Annotation
    numbers: tuple[int, ...]
    digest: str

    @property
    def start(self) -> int:
        """Number of its first frame."""
        return self.numbers[0]

    @property
    def stop(self) -> int:
        """Number of frames that the video must have."""
        return self.numbers[-1] + 1


class BreaksOffError(Exception):
    """A video ends before a clip does.

    Attributes:
        frames: Number of its frames that can be decoded.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames


def cut_video(path: Path, cuts: Mapping[Path, Cut], short_side: int) -> Iterator[Cut]:
    """Write clips of one video in a single pass; a clip's folder appears when the clip is complete.

    Args:
        path: The video.
        cuts: The clips by the folder of each; they may overlap.
        short_side: Pixels that the shorter side of a frame is scaled to.

    Yields:
        Each clip when it is complete.

    Raises:
        BreaksOffError: The video ends; clips that need more frames aren't written.
    """
    waiting = sorted(cuts.items(), key=lambda item: item[1].start, reverse=True)
    active: list[_OpenClip] = []
    with ExitStack() as clean_up, open_video(path) as video:
        pixel_ratio = video.pixel_ratio
        for number in itertools.count():
            while waiting and waiting[-1][1].start == number:
                active.append(_OpenClip(*waiting.pop(), clean_up))
            if not (waiting or active):
                return
            wanted = [clip for clip in active if number in clip.times]
            frame = video.read() if wanted else None
            if not (frame is not None if wanted else video.skip()):
                raise BreaksOffError(number)
            if frame is not None:
                png = _encode(scale_to_short_side(frame, short_side, pixel_ratio))
                for clip in wanted:
                    clip.add(png, number)
            for clip in [clip for clip in active if clip.cut.stop == number + 1]:
                active.remove(clip)
                clip.complete()
                yield clip.cut


class _OpenClip:
    """A clip that is being written, in a hidden folder until it is complete."""

    def __init__(self, folder: Path, cut: Cut, clean_up: ExitStack) -> None:
        self.cut = cut
        self.times = Counter(cut.numbers)
        self._written = 0
        self._stack = ExitStack()
        clean_up.push(self._stack)
        self._frames = self._stack.enter_context(atomic_folder(folder)) / "rgb"
        self._frames.mkdir()

    def add(self, png: bytes, number: int) -> None:
        for _ in range(self.times[number]):
            self._written += 1
            (self._frames / rgb_name(self._written)).write_bytes(png)

    def complete(self) -> None:
        assert self._written == len(self.cut.numbers), "a frame of the clip was skipped"
        self._stack.close()


def _encode(frame: Image) -> bytes:
    encoded, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    assert encoded
    return png.tobytes()
