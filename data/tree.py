"""Trees of clips: where each keeps its images, and a walk over one by its file names alone.

The walk says what is a clip, what is skipped and what is broken; no file is opened. A clip's key is
"USER/ACTION/INSTANCE", such as "S1/close_jam/1". Images are numbered from 1.
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import UserError
from data.actions import look_alike
from data.clips import Clip, Fault, Kind, Pattern, Series, natural_key, one_form
from data.faults import name_faults, name_notes

TRUTH = "truth"
# "flow_x_00007(1).png", "open_jam (1)", "1 - Copy": second uploads, as cloud drives and desktops name them.
_DUPLICATE = re.compile(r"(.*?)(?: ?\(\d+\)| - copy| copy(?: \d+)?)(\.\w+)?", re.IGNORECASE)
# A numbered picture under any name: "img_00001.jpg", "rgb1.PNG", "frame (12).jpeg".
NUMBERED = re.compile(r"(?!.*\d ?\(\d+\)\.)(.*?)(\d{1,12})(\)?\.(?:png|jpe?g))", re.IGNORECASE | re.ASCII)
_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
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
    """Names of one kind of tree."""

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
        "maps": Place("maps", "", Pattern("map_", 5, ".png")),  # the authors have none; data.motion adds them
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
        misnamed: Clips with images under other names than the tree's, as `--fix` reads them, by key.
        oddities: What can be read all the same, by category: paths under the root, or clip keys.
    """

    root: Path
    tree: TreeKind
    clips: tuple[Clip, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    misnamed: dict[str, Clip] = field(default_factory=dict)
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
    tops = {place.top for place in scan.tree.places.values()}
    others = {place.top for tree in TREE_KINDS for place in tree.places.values()} - tops
    for other in sorted(others):
        if (root / other).is_dir():
            scan.skip(root / other)
    clips: dict[str, Clip] = {}
    for path in _clip_folders(scan):
        if (clip := _read_clip(scan, path)) is not None:
            if clip.key in clips:
                problem = f"a second clip {clip.key}: both names are the same letters in other bytes"
                scan.faults.append(Fault(clip.key, "frames", path, problem, "give one another number"))
            clips.setdefault(clip.key, clip)
    if not clips and not scan.faults:
        frames = scan.tree.places["frames"]
        example = frames.folder(Path(), "USER/ACTION/1") / frames.pattern.name(1)
        raise UserError(f"{root / scan.tree.top} holds no clips; the frames of one look like {example}")
    labels = {name: label for label, name in enumerate(sorted({clip.action for clip in clips.values()}))}
    ordered = sorted(clips.values(), key=lambda clip: [natural_key(part) for part in clip.key.split("/")])
    scan.clips = tuple(replace(clip, label=labels[clip.action]) for clip in ordered)
    _find_orphans(scan)
    known = {(fault.clip, fault.kind) for fault in scan.faults}
    scan.faults += [fault for fault in name_faults(scan.clips) if (fault.clip, fault.kind) not in known]
    scan.oddities |= name_notes(scan.clips)
    for what, names in (("users", {clip.user for clip in clips.values()}), ("classes", labels)):
        if alike := look_alike(names):
            category = f"{what} whose names look alike, though they count as different"
            scan.oddities[category] = [" and ".join(map(repr, group)) for group in alike]
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
            if alike := [top for top in tops if look_alike([child.name, top])]:
                hint = f"{child.name!r} has to be called {alike[0]}"
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
    """Read the names of a clip's images; None for a folder without frames, which is a fault or skipped."""
    user, action, instance = (one_form(part) for part in folder.parts[-3:])
    key = f"{user}/{action}/{instance}"
    folders = {kind: _image_folder(scan, kind, folder) for kind in scan.tree.places}
    named = {kind: _read_series(scan, kind, path) for kind, path in folders.items()}
    if named["frames"] is None and not instance.isdecimal():
        scan.skip(folder)
        return None
    found = dict(named)
    for kind, path in folders.items():
        if named[kind] is None:
            elsewhere = [folder, *_inner_folders(folder, folders.values())] if kind == "frames" else []
            found[kind] = _read_misnamed(scan, key, kind, [path, *elsewhere])
    if found != named and found["frames"] is not None:
        scan.misnamed[key] = Clip(user, action, instance, -1, **_counted(found))
    return None if named["frames"] is None else Clip(user, action, instance, -1, **_counted(named))


def _inner_folders(clip: Path, known: Collection[Path]) -> list[Path]:
    return sorted(path for path in clip.iterdir() if path.is_dir() and path not in known)


def _image_folder(scan: Scan, kind: Kind, clip: Path) -> Path:
    """Find the folder of a clip's images, also where its name has the accents in another form."""
    name = "/".join(clip.parts[-3:])
    names = [name] if name.isascii() else [name, one_form(name), unicodedata.normalize("NFD", name)]
    folders = [scan.tree.places[kind].folder(scan.root, name) for name in names]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _read_series(scan: Scan, kind: Kind, folder: Path) -> Series | None:
    """List the images that have the tree's names; all other files are skipped."""
    pattern, numbers = scan.tree.places[kind].pattern, []
    if not folder.is_dir():
        return None
    regex = pattern.regex
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := regex.fullmatch(entry.name):
                numbers.append(int(match[1]))
            else:
                scan.skip(folder / entry.name)
    return Series(folder, pattern, tuple(sorted(numbers))) if numbers else None


def _read_misnamed(scan: Scan, key: str, kind: Kind, folders: Sequence[Path]) -> Series | None:
    """Find images under other names in the first folder with pictures; they are a fault, as are no frames."""
    right = scan.tree.places[kind].pattern.name(1)
    for folder in folders:
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        pictures = [n for n in names if Path(n).suffix.lower() in _PICTURES and not n.startswith(".")]
        if pictures:
            pictures.sort(key=natural_key)
            series = _as_series(folder, pictures)
            more = f" and {len(pictures) - 1} more" if len(pictures) > 1 else ""
            problem = f"the clip has no {kind} of the name {right}, but {pictures[0]}{more}"
            remedy = "name them so, as PNG or JPEG images numbered from 1"
            if series is not None:
                remedy = f"`python -m data.check {scan.root} --fix COPY` renames them in a copy"
            scan.faults.append(Fault(key, kind, folder, problem, remedy))
            return series
    if kind == "frames":
        remedy = f"put them there, called {right} and so on, or take the folder out of the tree"
        scan.faults.append(Fault(key, kind, folders[0], "the clip has no frames", remedy))
    return None


def _as_series(folder: Path, names: Sequence[str]) -> Series | None:
    """Read names as one numbered series; None where they don't differ by their numbers alone."""
    matches = [NUMBERED.fullmatch(name) for name in names]
    found = [(match[1], match[2], match[3]) for match in matches if match]
    if len(found) < len(names) or len({(prefix, suffix) for prefix, _, suffix in found}) > 1:
        return None
    prefix, _, suffix = found[0]
    pattern = Pattern(prefix, min(len(number) for _, number, _ in found), suffix)
    numbers = tuple(sorted(int(number) for _, number, _ in found))
    same = {pattern.name(number) for number in numbers} == set(names)
    return Series(folder, pattern, numbers) if same else None


def _counted(found: Mapping[Kind, Series | None]) -> dict[Kind, Series]:
    """Count each series from its clip's first image, whatever number that has.

    Flow and maps share the numbering of the frames, or have one of their own: a run without gaps that is as
    long as the frames, or one image shorter and not at an end with them.
    """
    series = {kind: one for kind, one in found.items() if one is not None}
    frames = series["frames"].numbers
    first, last = frames[0], frames[-1]
    for one in series.values():  # what ends with the frames and began before them shows that some are lost
        if one.numbers[0] < first and one.numbers[-1] in (last, last - 1) and len(one) > len(frames):
            first = one.numbers[0]
    counted, span = {}, last - first + 1
    for kind, one in series.items():
        start, end = one.numbers[0], one.numbers[-1]
        whole = end - start + 1 == len(one)
        as_long = len(one) == span or (len(one) == span - 1 and end != last)
        apart = start > last or end < first
        own = kind != "frames" and (apart or (whole and as_long))
        # Maps with their own numbering that begins at 2 lack the first, as those of 18 clips of GTEA61 do.
        begins = 1 if kind == "maps" and start == 2 and len(one) < span else start
        counted[kind] = one.counted_from(begins if own else first)
    return counted


def _find_orphans(scan: Scan) -> None:
    """Name flow, and maps that don't lie in the frames' folders, whose clip has no frames."""
    known = {clip.key for clip in scan.clips} | {fault.clip for fault in scan.faults}
    for kind, place in scan.tree.places.items():
        if place.top == scan.tree.top:
            continue
        top = scan.root / place.top
        for path in sorted(top.glob("*/*/*")):
            key = one_form("/".join(path.parts[-3:]))
            if key not in known and path.is_dir() and not any(map(reason_to_skip, path.parts[-3:])):
                remedy = "copy the clip's frames too, or take this folder out of the tree"
                what = "maps" if kind == "maps" else "flow"
                scan.faults.append(Fault(key, kind, path, f"{what} of a clip that has no frames", remedy))
