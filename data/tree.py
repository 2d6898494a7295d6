"""Trees of clips: where each keeps its images, and a walk over one by its file names alone.

The walk says what is a clip, what is skipped and what is broken; no file is opened. A clip's key is
"USER/ACTION/INSTANCE", such as "S1/close_jam/1". Images are numbered from 1.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import UserError
from data.clips import Clip, Fault, Kind, Pattern, Series, natural_key
from data.faults import name_faults, name_notes

TRUTH = "truth"
# "flow_x_00007(1).png", "open_jam (1)", "1 - Copy": second uploads, as cloud drives and desktops name them.
_DUPLICATE = re.compile(r"(.*?)(?: ?\(\d+\)| - copy| copy(?: \d+)?)(\.\w+)?", re.IGNORECASE)
_SYSTEM = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Place:
    """Where one kind of image lies: `root/top/user/action/instance/inner/PATTERN`."""

    top: str
    inner: str
    pattern: Pattern

    def folder(self, root: Path, key: str) -> Path:
        """Return the folder of a clip's images of this kind."""
        return root / self.top / key / self.inner


@dataclass(frozen=True)
class TreeKind:
    """Names of one kind of tree; a kind of image that it never holds is left out."""

    places: dict[Kind, Place]

    @property
    def top(self) -> str:
        """The folder under the root by which this kind of tree is recognised."""
        return self.places["frames"].top


def _png_tree(top: str) -> TreeKind:
    return TreeKind(
        {
            "frames": Place(top, "rgb", Pattern("rgb", 4, ".png")),
            "maps": Place(top, "mmaps", Pattern("map", 4, ".png")),
            "flow_x": Place("flow_x_processed", "", Pattern("flow_x_", 5, ".png")),
            "flow_y": Place("flow_y_processed", "", Pattern("flow_y_", 5, ".png")),
        }
    )


CANONICAL = _png_tree("processed_frames2")
"""The tree that our own commands write."""
_AUTHORS = TreeKind(
    {
        "frames": Place("frames", "", Pattern("image_", 5, ".jpg")),
        "flow_x": Place("flow_x", "", Pattern("flow_x_", 5, ".jpg")),
        "flow_y": Place("flow_y", "", Pattern("flow_y_", 5, ".jpg")),
    }
)
TREE_KINDS = (CANONICAL, _png_tree("processed_frames"), _AUTHORS)
"""The trees that can be read; of several under one root, the first is."""


def rgb_folder(root: Path, user: str, action: str, instance: str) -> Path:
    """Return the folder of the canonical tree that holds a clip's frames."""
    return CANONICAL.places["frames"].folder(root, f"{user}/{action}/{instance}")


def rgb_name(number: int) -> str:
    """Return the canonical file name of a frame, numbered from 1."""
    return CANONICAL.places["frames"].pattern.name(number)


def truth_file(root: Path, user: str, action: str, instance: str) -> Path:
    """Return the file with the synthetic kitchen's truth of a clip."""
    return root / TRUTH / user / action / f"{instance}.npz"


@dataclass
class Scan:
    """What a walk over a tree found.

    Attributes:
        root: The tree.
        tree: Its names.
        clips: Clips with at least one frame, in natural order of user, action, instance.
        faults: What is broken: clips without frames, gaps, counts that don't match.
        oddities: What can be read all the same, by category: paths under the root, or clip keys.
    """

    root: Path
    tree: TreeKind
    clips: tuple[Clip, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    oddities: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, path: Path) -> None:
        """Remember a file or folder that is not part of the tree."""
        category = f"skipped, {reason_to_skip(path.name) or 'not part of the tree'}"
        self.oddities.setdefault(category, []).append(str(path.relative_to(self.root)))

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each kind of oddity: how often it occurs, and an example."""
        oddities = sorted(self.oddities.items())
        return tuple(f"{category}: {len(where)} (such as {where[0]})" for category, where in oddities)


def scan_tree(root: Path) -> Scan:
    """Walk a tree of clips; no file is opened.

    Args:
        root: Folder that holds `processed_frames2`, `processed_frames` or `frames`.

    Raises:
        UserError: The folder does not exist or can't be listed, or holds no tree or a tree without clips.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}; mend that first") from None


def reason_to_skip(name: str) -> str | None:
    """Say why a file or folder of this name is skipped; None if it is not."""
    if name.startswith(".") or name in _SYSTEM:
        return "system or hidden files"
    return "duplicates" if _DUPLICATE.fullmatch(name) else None


def original_name(name: str) -> str | None:
    """Return the name under which a second upload was first uploaded, None for other names."""
    match = _DUPLICATE.fullmatch(name)
    return match[1] + (match[2] or "") if match else None


def _scan(root: Path) -> Scan:
    scan = Scan(root, _find_tree(root))
    for other in TREE_KINDS:
        if other.top != scan.tree.top and (root / other.top).is_dir():
            scan.skip(root / other.top)
    clips = [clip for path in _clip_folders(scan) if (clip := _read_clip(scan, path)) is not None]
    if not clips and not scan.faults:
        frames = scan.tree.places["frames"]
        example = frames.folder(Path(), "USER/ACTION/1") / frames.pattern.name(1)
        raise UserError(f"{root / scan.tree.top} holds no clips; the frames of one look like {example}")
    labels = {name: label for label, name in enumerate(sorted({clip.action for clip in clips}))}
    scan.clips = tuple(replace(clip, label=labels[clip.action]) for clip in clips)
    _find_orphans(scan)
    scan.faults += name_faults(scan.clips)
    scan.oddities |= name_notes(scan.clips)
    return scan


def _find_tree(root: Path) -> TreeKind:
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; give the one that holds the tree of clips")
    for tree in TREE_KINDS:
        if (root / tree.top).is_dir():
            return tree
    tops = [tree.top for tree in TREE_KINDS]
    hint = "make such a tree with `python -m data.prepare` or `python -m data.synthetic`"
    if root.resolve().name in tops:
        hint = f"give the folder above it, {root.resolve().parent}"
    else:
        for child in sorted(path for path in root.iterdir() if path.is_dir()):
            if any((child / top).is_dir() for top in tops):
                hint = f"did you mean {child}?"
                break
    raise UserError(f"{root} holds none of the folders {', '.join(tops)}; {hint}")


def _clip_folders(scan: Scan) -> Iterator[Path]:
    for user in _subfolders(scan, scan.root / scan.tree.top):
        for action in _subfolders(scan, user):
            instances = _subfolders(scan, action)
            if not instances:
                scan.skip(action)
            yield from instances


def _subfolders(scan: Scan, folder: Path) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir() and not reason_to_skip(entry.name):
                found.append(path)
            else:
                scan.skip(path)
    return sorted(found, key=lambda path: natural_key(path.name))


def _read_clip(scan: Scan, folder: Path) -> Clip | None:
    user, action, instance = folder.parts[-3:]
    key = f"{user}/{action}/{instance}"
    series = {kind: _read_series(scan, kind, key) for kind in scan.tree.places}
    frames = series.pop("frames")
    if frames is not None:
        return Clip(user, action, instance, -1, frames, **series)
    if instance.isdecimal():
        place = scan.tree.places["frames"].folder(scan.root, key)
        remedy = f"put them there, or remove {folder}"
        scan.faults.append(Fault(key, "frames", place, "the clip has no frames", remedy))
    else:
        scan.skip(folder)
    return None


def _read_series(scan: Scan, kind: Kind, key: str) -> Series | None:
    place = scan.tree.places[kind]
    folder, regex, numbers = place.folder(scan.root, key), place.pattern.regex, []
    if not folder.is_dir():
        return None
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := regex.fullmatch(entry.name):
                numbers.append(int(match[1]))
            else:
                scan.skip(folder / entry.name)
    return Series(folder, place.pattern, tuple(sorted(numbers))) if numbers else None


def _find_orphans(scan: Scan) -> None:
    """Name flow whose clip has no frames."""
    known = {clip.key for clip in scan.clips} | {fault.clip for fault in scan.faults}
    for kind in ("flow_x", "flow_y"):
        top = scan.root / scan.tree.places[kind].top
        for path in sorted(top.glob("*/*/*")):
            key = "/".join(path.parts[-3:])
            if key not in known and path.is_dir() and not any(map(reason_to_skip, path.parts[-3:])):
                remedy = "copy the clip's frames too, or remove this folder"
                scan.faults.append(Fault(key, kind, path, "flow of a clip that has no frames", remedy))
