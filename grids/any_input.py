"""Opens what a recipe calls an input, whichever of the known kinds of data it is."""

from pathlib import Path

from core.errors import UserError
from data.image_folder import PictureIndex
from data.index import ClipIndex
from data.tree_kinds import tree_kinds


def open_input(path: Path) -> ClipIndex | PictureIndex | None:
    """Index a tree of clips or class folders of pictures; no image is opened.

    Returns:
        The index, None for a file.

    Raises:
        UserError: Nothing is there, it can't be read, or a folder is neither of both.
    """
    try:
        if path.is_file():
            return None
        if not path.exists():
            raise UserError(f"no such folder or file: {path}")
        return _folder(path)
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}; mend that first") from None


def _folder(path: Path) -> ClipIndex | PictureIndex:
    if not any((path / tree.top).is_dir() for tree in tree_kinds()):
        try:
            return PictureIndex.from_folder(path)
        except UserError:
            pass  # what is said of a tree helps more: it may be the folder above or below
    return ClipIndex.from_tree(path)
