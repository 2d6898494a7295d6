"""The inputs of a grid: where a recipe's data lies, which data it is, and a small part of it for rehearsals.

An input is a tree of clips, a folder of pictures in class folders, or a single file.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from core.errors import UserError
from core.files import write_json
from data.clips import KINDS, Clip, Kind
from data.index import ClipIndex, motion_command
from data.pictures import PictureIndex
from data.tree import TREE_KINDS
from grids.recipe import Recipe
from grids.run import Run

Fingerprint = Mapping[str, str]
"""Hashes of the parts of an input. A tree has one for each kind of images that it holds ("frames", "maps",
"flow_x", "flow_y"), so that maps added later leave the frames' hash alone; pictures have "pictures", a file
has "file"."""


@dataclass(frozen=True)
class Input:
    """Data that a recipe takes.

    Attributes:
        path: Where it lies, absolute.
        fingerprint: Which data it is.
    """

    path: Path
    fingerprint: Fingerprint

    @classmethod
    def open(cls, path: Path) -> "Input":
        """Hash what lies at a path by names, numbers and file sizes; no image is opened.

        A folder that is moved keeps its fingerprint.

        Raises:
            UserError: Nothing is there, it can't be read, or the folder holds neither clips nor pictures.
        """
        content = _open(path)
        try:
            return cls(path, _fingerprint(content))
        except OSError as error:
            raise _unreadable(error) from None


# What the flags of trainings that take inputs need, by a part of a fingerprint, and in words.
_PICTURES = ("pictures", "folder of pictures in class folders")
_HOLDS = {"data": ("frames", "tree of clips"), "images": _PICTURES, "pictures": _PICTURES}


def find_inputs(data: Path | None, others: Sequence[str], recipes: Mapping[Path, Recipe]) -> dict[str, Input]:
    """Open the inputs of recipes.

    Args:
        data: Path of the input called data, if it is given.
        others: The other inputs, each as NAME=FOLDER.
        recipes: The recipes, by file.

    Raises:
        UserError: An input is malformed, given twice, missing on disk, or unknown to all recipes.
    """
    given = [("data", str(data))] if data is not None else []
    for text in others:
        name, equals, path = text.partition("=")
        if not name or not equals:
            raise UserError(f"--inputs {text} should look like NAME=FOLDER")
        given.append((name, path))
    paths = {name: Path(path).absolute() for name, path in given}
    known = {name for recipe in recipes.values() for name in recipe.inputs}
    if len(paths) < len(given) or paths.keys() - known:
        names = [name for name, _ in given]
        wrong = next(name for name in names if name not in known or names.count(name) > 1)
        why = "is given twice" if wrong in known else "is unknown to the recipes"
        raise UserError(f"the input {wrong} {why}; they take {', '.join(sorted(known)) or 'none'}, each once")
    return {name: Input.open(path) for name, path in paths.items()}


def refuse_missing_images(runs: Iterable[Run], inputs: Mapping[str, Input]) -> None:
    """Check that trees of clips are such, and hold every kind of images that runs read.

    Raises:
        UserError: One is missing; the message names the training and the command that makes it. Or an input
            is a file or a folder of pictures where a training takes a tree, or the other way round.
    """
    for run in runs:
        for flag, name in run.training.inputs.items():
            path, found = inputs[name].path, inputs[name].fingerprint
            part, kind = _HOLDS.get(flag, ("", ""))
            if part and part not in found:
                raise UserError(f"the input {name}, {path}, is no {kind}, which {run.training.label} takes")
            if "frames" in found and (absent := [kind for kind in run.config.reads if kind not in found]):
                command = motion_command(path, cast(list[Kind], absent))
                raise UserError(
                    f"{run.training.label} reads {' and '.join(absent)}, which {path} lacks; make them with "
                    f"`{command}`"
                )


def record_inputs(out: Path, inputs: Mapping[str, Input]) -> None:
    """Write the fingerprints to inputs.json in a grid's folder, and print which inputs have changed since."""
    file = out / "inputs.json"
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    now = {name: dict(found.fingerprint) for name, found in inputs.items()}
    for name, found in now.items():
        if any(part in found and found[part] != value for part, value in before.get(name, {}).items()):
            print(f"note: the input {name} has changed since the last start; runs that read it start again")
    write_json(file, before | now)


@dataclass(frozen=True)
class Excerpt:
    """A part of an input.

    Attributes:
        path: Where it lies; the path of the whole if everything was taken.
        whole: Clips or pictures of the whole, by user.
        part: Clips or pictures of the part, by user.
    """

    path: Path
    whole: Counter[str] = field(default_factory=Counter)
    part: Counter[str] = field(default_factory=Counter)

    def ratio(self, users: Iterable[str]) -> float:
        """Divide the number of clips in the whole by that in the part.

        Args:
            users: Count only their clips; if the part has none of them, count all. A file has ratio 1.
        """
        known = set(users) & self.part.keys() or self.part.keys()
        part = sum(self.part[user] for user in known)
        return sum(self.whole[user] for user in known) / part if part else 1.0


def make_excerpt(path: Path, items: int, folder: Path, named: Collection[str] = ()) -> Excerpt:
    """Link to some of the clips or pictures of an input, such that anything can be trained on them.

    Args:
        path: The input; a file is taken whole.
        items: About this many. Every class that is included has two pictures, or a clip of every user.
        folder: Where to make the links; it should not exist.
        named: Actions that trainings name, which are included where the input has them.

    Raises:
        UserError: As `Input.open`.
    """
    files, whole, part = _choose(_open(path), items, named)
    if whole == part:
        return Excerpt(path, whole, part)
    for file in files:
        link = folder / file.relative_to(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.absolute())
    return Excerpt(folder, whole, part)


_Content = Path | PictureIndex | ClipIndex
"""What lies at an input's path; a path itself is that of a single file."""


def _open(path: Path) -> _Content:
    try:
        if path.is_file():
            return path
        if not path.exists():
            raise UserError(f"no such folder or file: {path}")
        if not any((path / tree.top).is_dir() for tree in TREE_KINDS):
            try:
                return PictureIndex.from_folder(path)
            except UserError:
                pass  # the message about a tree helps more: it may be the folder above or below
        return ClipIndex.from_tree(path)
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> UserError:
    return UserError(f"can't read {error.filename}: {error.strerror}; repair that first")


def _fingerprint(content: _Content) -> Fingerprint:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return {"file": hashlib.file_digest(file, "sha256").hexdigest()}
    if isinstance(content, PictureIndex):
        return {"pictures": _hash([content.keys, _bytes(content.paths)])}
    found: dict[str, str] = {}
    for kind in KINDS:
        series = [(clip.key, clip.series(kind)) for clip in content.clips]
        if there := [[key, one.numbers, _bytes(one.paths)] for key, one in series if one is not None]:
            found[kind] = _hash([content.class_names, there])
    return found


def _choose(
    content: _Content, items: int, named: Collection[str]
) -> tuple[Sequence[Path], Counter[str], Counter[str]]:
    """Choose about `items` items; gives their files, and the items by user of the whole and the part."""
    if isinstance(content, Path):
        return [], Counter(), Counter()  # taken whole
    if isinstance(content, PictureIndex):
        labels = np.array(content.labels)
        most = max(items // len(content.class_names), 2)
        taken = [number for label in np.unique(labels) for number in np.flatnonzero(labels == label)[:most]]
        no_user = ""
        return (
            [content.paths[n] for n in taken],
            Counter({no_user: len(content)}),
            Counter({no_user: len(taken)}),
        )
    chosen = _choose_clips(content, items, named)
    series = [clip.series(kind) for clip in chosen for kind in KINDS]
    files = [path for one in series if one is not None for path in one.paths]
    return files, Counter(clip.user for clip in content.clips), Counter(clip.user for clip in chosen)


def _choose_clips(index: ClipIndex, items: int, named: Collection[str]) -> Sequence[Clip]:
    """Take a clip of every user and action, then a second one, of the actions that all users have.

    Those that are named come first, and two others at least.
    """
    found: dict[str, dict[str, list[Clip]]] = {}
    for clip in index.clips:
        found.setdefault(clip.action, {}).setdefault(clip.user, []).append(clip)
    first = [users for action, users in found.items() if action in named]
    others = {action: users for action, users in found.items() if action not in named}
    common = [users for users in others.values() if len(users) == len(index.users)]
    if len(common) < 2:  # too few classes to train on
        return index.clips
    chosen: list[Clip] = []
    taken = [*first, *common]
    for rank in range(max(len(clips) for users in taken for clips in users.values())):
        for number, users in enumerate(taken):
            if len(chosen) >= items and (rank or number >= len(first) + 2):
                return chosen
            chosen += [clips[rank] for clips in users.values() if rank < len(clips)]
    return chosen


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
