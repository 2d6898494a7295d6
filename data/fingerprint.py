"""Names data by its content, so that a moved folder is the same data and another set is not.

Content is known by names, counts and file sizes; no image is opened.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.clips import KINDS, Kind
from data.image_folder import PictureIndex
from data.index import ClipIndex
from data.tree_kinds import tree_kinds
from engine.errors import UserError


def fingerprint(path: Path) -> dict[str, str]:
    """Hash a tree of clips, class folders of pictures, or a file.

    Returns:
        Hashes by part. A tree has those of its kinds of images ("frames", "maps", "flow_x", "flow_y") that it
        has, so that maps which are added later leave the frames what they were; pictures have "pictures", a
        file has "file".

    Raises:
        UserError: Nothing is there, or the folder is neither of both.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                return {"file": hashlib.file_digest(file, "sha256").hexdigest()}
        if not path.exists():
            raise UserError(f"no such folder or file: {path}")
        return _folder(path)
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}; mend that first") from None


def _folder(path: Path) -> dict[str, str]:
    if not any((path / tree.top).is_dir() for tree in tree_kinds()):
        try:
            return _pictures(PictureIndex.from_folder(path))
        except UserError:
            pass  # what is said of a tree helps more: it may be the folder above or below
    return _clips(ClipIndex.from_tree(path))


def _clips(index: ClipIndex) -> dict[str, str]:
    parts = {kind: _series(index, kind) for kind in KINDS}
    return {kind: _hash([index.class_names, found]) for kind, found in parts.items() if found}


def _series(index: ClipIndex, kind: Kind) -> list[Any]:
    series = [(clip.key, clip.series(kind)) for clip in index.clips]
    return [[key, found.numbers, _sizes(found.paths)] for key, found in series if found is not None]


def _pictures(index: PictureIndex) -> dict[str, str]:
    return {"pictures": _hash([index.keys, _sizes(index.paths)])}


def _sizes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
