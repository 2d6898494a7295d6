"""Copies a tree of clips and mends on the way what can be mended safely; nothing is guessed.

Safe are: the only copy, or the only sound copy, of an image under a cloud drive's name ("rgb0003(1).png");
map 1, and a last map or flow image, for which the nearest stands in when training reads them too. Files
that are no part of the tree stay behind. Whatever else is broken is copied as it is.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from core.errors import UserError
from core.files import atomic_folder
from data.clips import KINDS, Clip, Kind, Series
from data.faults import BadImage, decode_size
from data.provenance import RECORD
from data.tree import Scan, original_name, truth_file


@dataclass
class Mended:
    """What was done, a line each."""

    lines: list[str] = field(default_factory=list)

    def say(self, clip: Clip, what: str) -> None:
        """Remember a repair."""
        self.lines.append(f"{clip.key}: {what}")


def mend_tree(scan: Scan, out: Path) -> list[str]:
    """Copy the clips of a tree, mended.

    Args:
        scan: The tree.
        out: Folder to make.

    Returns:
        What was mended, a line each.

    Raises:
        UserError: The folder exists or lies inside the tree, or can't be written.
    """
    if out.exists():
        raise UserError(f"--fix {out} exists already; give a new folder, nothing is overwritten")
    if out.resolve().is_relative_to(scan.root.resolve()):
        raise UserError(f"--fix {out} lies inside the tree; give a folder elsewhere")
    mended = Mended()
    try:
        with atomic_folder(out) as folder:
            for clip in tqdm(scan.clips, desc="copying", unit="clip", disable=None):
                _copy_clip(scan, clip, folder, mended)
            if (scan.root / RECORD).is_file():
                shutil.copyfile(scan.root / RECORD, folder / RECORD)
    except OSError as error:
        raise UserError(f"--fix {out} can't be written: {error.strerror or error}") from None
    return mended.lines


def _copy_clip(scan: Scan, clip: Clip, out: Path, mended: Mended) -> None:
    for kind in KINDS:
        series = clip.series(kind)
        if series is None:
            continue
        folder = out / series.folder.relative_to(scan.root)
        folder.mkdir(parents=True)
        for number, source in _sources(clip, kind, series, mended):
            shutil.copyfile(source, folder / series.pattern.name(number))
    truth = truth_file(Path(), clip.user, clip.action, clip.instance)
    if (scan.root / truth).is_file():
        (out / truth).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan.root / truth, out / truth)


def _sources(clip: Clip, kind: Kind, series: Series, mended: Mended) -> Iterator[tuple[int, Path]]:
    """Give the file that each image is copied from."""
    second = _second_uploads(series)
    last = max(series.numbers[-1], clip.frames.numbers[-1])
    for number in range(min(series.numbers[0], 1), last + 1):
        name, path = series.pattern.name(number), series.path(number)
        there = number in series.numbers
        spare = second.get(name)
        if spare is not None and _sound(spare, kind) and not (there and _sound(path, kind)):
            mended.say(clip, f"{spare.name} became {name}")
            yield number, spare
        elif there:
            yield number, path
        elif kind != "frames" and _stands_in(number, series, last):
            nearest = series.nearest(number)
            mended.say(clip, f"{nearest.name} also became {name}, which was missing")
            yield number, nearest


def _stands_in(number: int, series: Series, last: int) -> bool:
    """Whether training too reads the nearest image for this one: map 1, and the last map or flow image."""
    first_map = number == 1 and series.numbers[0] == 2 and series.pattern.prefix == "map"
    return first_map or (number == last and series.numbers[-1] == last - 1)


def _second_uploads(series: Series) -> dict[str, Path]:
    """Give files under a cloud drive's names by the names they should have."""
    found = {original_name(path.name): path for path in sorted(series.folder.iterdir()) if path.is_file()}
    return {name: path for name, path in found.items() if name is not None}


def _sound(path: Path, kind: Kind) -> bool:
    try:
        decode_size(path, kind)
    except BadImage:
        return False
    return True
