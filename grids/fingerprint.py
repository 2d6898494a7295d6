"""Names data by its content, so that a moved folder is the same data and another set is not.

Content is known by names, counts and file sizes; no image is opened.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.errors import UserError
from data.clips import KINDS, Kind
from data.image_folder import PictureIndex
from data.index import ClipIndex
from grids.any_input import open_input


def fingerprint(path: Path) -> dict[str, str]:
    """Hash a tree of clips, class folders of pictures, or a file.

    Returns:
        Hashes by part. A tree has those of its kinds of images ("frames", "maps", "flow_x", "flow_y") that it
        has, so that maps which are added later leave the frames what they were; pictures have "pictures", a
        file has "file".

    Raises:
        UserError: Nothing is there, or the folder is neither of both.
    """
    index = open_input(path)
    try:
        if index is None:
            with path.open("rb") as file:
                return {"file": hashlib.file_digest(file, "sha256").hexdigest()}
        return _pictures(index) if isinstance(index, PictureIndex) else _clips(index)
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}; mend that first") from None


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
