"""Walks a tree of clips by names alone: what is a clip, what is passed over, what is broken."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import UserError
from data.clips import Clip, Fault, Kind, Series, natural_key
from data.consistency import name_faults, name_notes
from data.tree_kinds import TreeKind, tree_kinds

# "flow_x_00007(1).png", "open_jam (1)", "1 - Copy": second uploads, as cloud drives and desktops name them.
_DUPLICATE = re.compile(r"(.*?)(?: ?\(\d+\)| - copy| copy(?: \d+)?)(\.\w+)?", re.IGNORECASE)
_SYSTEM = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass
class Scan:
    """What a walk over a tree found.

    Attributes:
        root: The tree.
        tree: Its names.
        clips: Clips with at least one frame, in natural order of user, action, instance.
        faults: What is broken: clips without frames, gaps, counts that don't match.
        oddities: What was survived, by category: paths under the root, or clip keys.
    """

    root: Path
    tree: TreeKind
    clips: tuple[Clip, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    oddities: dict[str, list[str]] = field(default_factory=dict)

    def pass_over(self, path: Path) -> None:
        """Remember a file or folder that is no part of the tree."""
        category = f"passed over, {reason_to_pass_over(path.name) or 'no part of the tree'}"
        self.oddities.setdefault(category, []).append(str(path.relative_to(self.root)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Say each kind of oddity once, with how often it was met and an example."""
        oddities = sorted(self.oddities.items())
        return tuple(f"{category}: {len(where)} (such as {where[0]})" for category, where in oddities)


def scan_tree(root: Path) -> Scan:
    """Walk a tree of clips; no file is opened.

    Args:
        root: Folder that holds `processed_frames2`, `processed_frames` or `frames`.

    Raises:
        UserError: No such folder, one that can't be listed, no tree in it, or a tree without clips.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}; mend that first") from None


def _scan(root: Path) -> Scan:
    scan = Scan(root, _find_tree(root))
    others = [root / tree.top for tree in tree_kinds() if tree.top != scan.tree.top]
    for other in filter(Path.is_dir, others):
        scan.pass_over(other)
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


def reason_to_pass_over(name: str) -> str | None:
    """Say why a file or folder of this name is not looked at, None if it is."""
    if name.startswith(".") or name in _SYSTEM:
        return "system or hidden files"
    return "duplicates" if _DUPLICATE.fullmatch(name) else None


def original_name(name: str) -> str | None:
    """Give the name that a second upload was made from, None if the name is no such."""
    match = _DUPLICATE.fullmatch(name)
    return match[1] + (match[2] or "") if match else None


def _find_tree(root: Path) -> TreeKind:
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; give the one that holds the tree of clips")
    for tree in tree_kinds():
        if (root / tree.top).is_dir():
            return tree
    names = ", ".join(tree.top for tree in tree_kinds())
    raise UserError(f"{root} holds none of the folders {names}; {_hint(root)}")


def _hint(root: Path) -> str:
    names = {tree.top for tree in tree_kinds()}
    if root.resolve().name in names:
        return f"give the folder above it, {root.resolve().parent}"
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        if any((child / name).is_dir() for name in names):
            return f"did you mean {child}?"
    return "make such a tree with `python -m data.prepare` or `python -m data.synthetic`"


def _clip_folders(scan: Scan) -> Iterator[Path]:
    for user in _subfolders(scan, scan.root / scan.tree.top):
        for action in _subfolders(scan, user):
            instances = _subfolders(scan, action)
            if not instances:
                scan.pass_over(action)
            yield from instances


def _subfolders(scan: Scan, folder: Path) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir() and not reason_to_pass_over(entry.name):
                found.append(path)
            else:
                scan.pass_over(path)
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
        scan.pass_over(folder)
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
                scan.pass_over(folder / entry.name)
    return Series(folder, place.pattern, tuple(sorted(numbers))) if numbers else None


def _find_orphans(scan: Scan) -> None:
    known = {clip.key for clip in scan.clips} | {fault.clip for fault in scan.faults}
    for kind in ("flow_x", "flow_y"):
        top = scan.root / scan.tree.places[kind].top
        for path in sorted(top.glob("*/*/*")):
            key = "/".join(path.parts[-3:])
            if key not in known and path.is_dir() and not any(map(reason_to_pass_over, path.parts[-3:])):
                remedy = "copy the clip's frames too, or remove this folder"
                scan.faults.append(Fault(key, kind, path, "flow of a clip that has no frames", remedy))
