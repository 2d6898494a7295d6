"""Copies a tree of clips and mends in the copy what can be mended safely; nothing is guessed.

Safe repairs: the only copy, or the only sound copy, of an image under a cloud drive's name ("rgb0003(1).png")
or in another spelling ("RGB3.PNG") gets its proper name; a series under other names, or numbered from
elsewhere than 1, gets the tree's names and numbers; a missing map 1, or a missing last map or flow image,
becomes a copy of the nearest one, which training reads in its place too. Files that are not part of the tree
are left out. Everything else is copied as it is, faults included.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.files import atomic_folder
from core.progress import progress_bar
from data.clips import Clip, Kind, Series
from data.decoding import BadImage, decode_checked
from data.provenance import RECORD
from data.tree import NUMBERED, Scan, original_name, truth_file


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
    clips = {clip.key: clip for clip in scan.clips} | scan.misnamed
    try:
        with atomic_folder(out) as folder:
            for clip in progress_bar(clips.values(), title="copying", unit="clip"):
                mended += [f"{clip.key}: {line}" for line in _copy_clip(scan, clip, folder)]
            if (scan.root / RECORD).is_file():
                shutil.copyfile(scan.root / RECORD, folder / RECORD)
    except OSError as error:
        raise UserError(f"--fix {out} can't be written: {error.strerror or error}") from None
    return mended


def _copy_clip(scan: Scan, clip: Clip, out: Path) -> Iterator[str]:
    """Copy a clip's images and truth, and report each repair."""
    for kind, place in scan.tree.places.items():
        series = clip.series(kind)
        if series is None:
            continue
        folder = place.folder(out, clip.key)
        folder.mkdir(parents=True)
        for number, source, repair in _sources(clip, kind, series):
            shutil.copyfile(source, folder / place.pattern.name(number))
            if repair:
                yield repair
        first, last = series.numbers[0], series.numbers[-1]
        if (series.pattern, series.first) != (place.pattern, 1):
            before = f"{series.path(first).name} to {series.path(last).name}"
            yield f"{before} became {place.pattern.name(first)} to {place.pattern.name(last)}"
    truth = truth_file(Path(), clip.user, clip.action, clip.instance)
    if (scan.root / truth).is_file():
        (out / truth).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan.root / truth, out / truth)


def _sources(clip: Clip, kind: Kind, series: Series) -> Iterator[tuple[int, Path, str]]:
    """Choose the file that each image is copied from, with the repair that this is, if any."""
    spares = _spares(series)
    last = max(series.numbers[-1], clip.frames.numbers[-1])
    for number in range(min(series.numbers[0], 1), last + 1):
        path = series.path(number)
        exists, spare = number in series.numbers, spares.get(path.name.casefold())
        if spare is not None and _is_sound(spare, kind) and not (exists and _is_sound(path, kind)):
            yield number, spare, f"{spare.name} became {path.name}"
        elif exists:
            yield number, path, ""
        elif kind != "frames" and _nearest_is_read(number, kind, series, last):
            nearest = series.nearest(number)
            yield number, nearest, f"{nearest.name} also became {path.name}, which was missing"


def _spares(series: Series) -> dict[str, Path]:
    """Find files that may stand for an image: second uploads of it, or its name in another spelling.

    "RGB3.PNG", "rgb3.jpg" and "rgb0003 (1).png" may all stand for "rgb0003.png"; of second uploads the last
    is taken, and of several spellings none.
    """
    spares: dict[str, Path] = {}
    spelled: dict[str, list[Path]] = {}
    prefix = series.pattern.prefix.casefold()
    for path in sorted(series.folder.iterdir()):
        if not path.is_file() or series.pattern.regex.fullmatch(path.name):
            continue
        if original := original_name(path.name):
            spares[original.casefold()] = path
        elif (match := NUMBERED.fullmatch(path.name)) and match[1].casefold() == prefix:
            spelled.setdefault(series.pattern.name(int(match[2])).casefold(), []).append(path)
    return {name: paths[0] for name, paths in spelled.items() if len(paths) == 1} | spares


def _nearest_is_read(number: int, kind: Kind, series: Series, last: int) -> bool:
    """Whether training reads the nearest image instead: for map 1, and for the last map or flow image."""
    first_map = number == 1 and series.numbers[0] == 2 and kind == "maps"
    return first_map or (number == last and series.numbers[-1] == last - 1)


def _is_sound(path: Path, kind: Kind) -> bool:
    try:
        decode_checked(path, kind)
    except BadImage:
        return False
    return True
