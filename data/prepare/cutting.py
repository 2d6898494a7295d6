"""Writes clips cut from a video into the canonical tree, each completely or not at all."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2

from core.errors import UserError
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
    """

    row: Annotation
    numbers: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Number of frames that the video must have."""
        return self.numbers[-1] + 1


def past_end(cut: Cut, frames: int) -> UserError:
    """Make the error for a row whose video ends too early."""
    row = cut.row
    unit = " s" if row.seconds else ""
    return UserError(
        f"{row.where}: the range ends at {row.stop:g}{unit}, that is {cut.stop} frames, but {row.video} ends "
        f"(or breaks off) after {frames}; correct the row or the video"
    )


def cut_video(path: Path, cuts: Sequence[Cut], out: Path, short_side: int) -> Iterator[Cut]:
    """Write clips of one video in a single pass; a clip's folder appears when the clip is complete.

    Args:
        path: The video.
        cuts: The clips to write; they may overlap.
        out: Root of the tree.
        short_side: Pixels that the shorter side of a frame is scaled to.

    Yields:
        Each clip when it is complete.

    Raises:
        UserError: The video breaks off before a clip ends.
    """
    waiting = sorted(cuts, key=lambda cut: cut.numbers[0], reverse=True)
    active: list[_OpenClip] = []
    with ExitStack() as clean_up, open_video(path) as video:
        for number in itertools.count():
            while waiting and waiting[-1].numbers[0] == number:
                active.append(_OpenClip(waiting.pop(), out, clean_up))
            if not (waiting or active):
                return
            wanted = [clip for clip in active if number in clip.times]
            frame = video.read() if wanted else None
            if not (frame is not None if wanted else video.skip()):
                raise past_end(active[0].cut if active else waiting[-1], number)
            if frame is not None:
                png = _encode(scale_to_short_side(frame, short_side))
                for clip in wanted:
                    clip.add(png, number)
            for clip in [clip for clip in active if clip.cut.stop == number + 1]:
                active.remove(clip)
                clip.complete()
                yield clip.cut


class _OpenClip:
    """A clip that is being written, in a hidden folder until it is complete."""

    def __init__(self, cut: Cut, out: Path, clean_up: ExitStack) -> None:
        self.cut = cut
        self.times = Counter(cut.numbers)
        self._written = 0
        self._stack = ExitStack()
        clean_up.push(self._stack)
        self._frames = self._stack.enter_context(atomic_folder(cut.row.folder(out))) / "rgb"
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
