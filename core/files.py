"""Writing files so that a reader sees the old content or the new, never half of it."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    The temporary name ends like `path` does, so that writers which look at the extension work. If the body
    raises, the temporary file is removed and `path` is as it was before.

    Args:
        path: The file to be written; its folder is made when missing.

    Yields:
        The temporary path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:100]}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it is renamed to `path`.

    A killed process leaves at most a hidden `.NAME.*` folder behind, which readers pass over.

    Args:
        path: The folder to be made; it must not exist, its parent is made when missing.

    Yields:
        The temporary folder to fill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, all or nothing; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: The file can't be read, is no JSON, or holds something other than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it should hold an object, found {type(content).__name__}")
    return content


def leftovers(path: Path) -> list[Path]:
    """List the temporary files that killed writes of `path` have left beside it."""
    stem, suffix = re.escape(path.stem[:100]), re.escape(path.suffix)
    temporary = re.compile(rf"\.{stem}\.[a-z0-9_]{{8}}{suffix}")  # as tempfile makes of the name
    return [entry for entry in path.parent.iterdir() if temporary.fullmatch(entry.name)]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
