"""Copies a tree of clips and mends in the copy what can be mended safely; nothing is guessed.

Safe repairs: the only copy, or the only sound copy, of an image under a cloud drive's name ("rgb0003(1).png")
gets its proper name; a missing map 1, or a missing last map or flow image, becomes a copy of the nearest one,
which training reads in its place too. Files that are not part of the tree are left out. Everything else is
copied as it is, faults included.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from core.errors import UserError
from core.files import atomic_folder
from data.clips import KINDS, Clip, Kind, Series
from data.faults import BadImage, decode_size
from data.provenance import RECORD
from data.tree import Scan, original_name, truth_file


def mend_tree(scan: Scan, out: Path) -> list[str]:
    """Copy the clips of a tree, mended.

    Args:
        scan: The tree.
        out: Folder to make.

    Returns:
        What was mended, one line for each repair.

    Raises:
        UserError: The folder exists, lies inside the tree, or can't be written.
    """
    if out.exists():
        raise UserError(f"--fix {out} exists already; give a new folder, nothing is overwritten")
    if out.resolve().is_relative_to(scan.root.resolve()):
        raise UserError(f"--fix {out} lies inside the tree; give a folder elsewhere")
    mended: list[str] = []
    try:
        with atomic_folder(out) as folder:
            for clip in tqdm(scan.clips, desc="copying", unit="clip", disable=None):
                mended += [f"{clip.key}: {line}" for line in _copy_clip(scan, clip, folder)]
            if (scan.root / RECORD).is_file():
                shutil.copyfile(scan.root / RECORD, folder / RECORD)
    except OSError as error:
        raise UserError(f"--fix {out} can't be written: {error.strerror or error}") from None
    return mended


def _copy_clip(scan: Scan, clip: Clip, out: Path) -> Iterator[str]:
    """Copy a clip's images and truth, and report each repair."""
    for kind in KINDS:
        series = clip.series(kind)
        if series is None:
            continue
        folder = out / series.folder.relative_to(scan.root)
        folder.mkdir(parents=True)
        for number, source, repair in _sources(clip, kind, series):
            shutil.copyfile(source, folder / series.pattern.name(number))
            if repair:
                yield repair
    truth = truth_file(Path(), clip.user, clip.action, clip.instance)
    if (scan.root / truth).is_file():
        (out / truth).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan.root / truth, out / truth)


def _sources(clip: Clip, kind: Kind, series: Series) -> Iterator[tuple[int, Path, str]]:
    """Choose the file that each image is copied from, with the repair that this is, if any."""
    named = {original_name(path.name): path for path in sorted(series.folder.iterdir()) if path.is_file()}
    last = max(series.numbers[-1], clip.frames.numbers[-1])
    for number in range(min(series.numbers[0], 1), last + 1):
        name, path = series.pattern.name(number), series.path(number)
        exists, spare = number in series.numbers, named.get(name)
        if spare is not None and _is_sound(spare, kind) and not (exists and _is_sound(path, kind)):
            yield number, spare, f"{spare.name} became {name}"
        elif exists:
            yield number, path, ""
        elif kind != "frames" and _nearest_is_read(number, kind, series, last):
            nearest = series.nearest(number)
            yield number, nearest, f"{nearest.name} also became {name}, which was missing"


def _nearest_is_read(number: int, kind: Kind, series: Series, last: int) -> bool:
    """Whether training reads the nearest image instead: for map 1, and for the last map or flow image."""
    first_map = number == 1 and series.numbers[0] == 2 and kind == "maps"
    return first_map or (number == last and series.numbers[-1] == last - 1)


def _is_sound(path: Path, kind: Kind) -> bool:
    try:
        decode_size(path, kind)
    except BadImage:
        return False
    return True
