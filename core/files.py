"""Files and folders that are complete or absent, never half written; locks that end with their process."""

import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from core.errors import UserError, reason

# What `tempfile` makes of the prefix and suffix of `atomic_path` and `atomic_folder`.
_TEMPORARY = re.compile(r"\..*\.tmp-[a-z0-9_]{8}(\..*)?", re.DOTALL)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success flush it to disk and rename it to `path`.

    The temporary name keeps the extension of `path`, for writers that choose the format by it. If the body
    raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to write; its folder is made if missing.

    Yields:
        The temporary path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:100]}.tmp-", suffix=path.suffix, dir=path.parent)
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
    """Yield an empty temporary folder next to `path`; on success rename it to `path`.

    A killed process leaves at most a hidden `.NAME.tmp-*` folder behind, which readers ignore.

    Args:
        path: The folder to make; it must not exist. Its parent is made if missing.

    Yields:
        The temporary folder to fill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.tmp-", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, completely or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, completely or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: The file can't be read, is not JSON, or holds something other than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged: {reason(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it should hold an object, found {type(content).__name__}")
    return content


def read_csv(file: Path, *columns: str) -> list[dict[str, str]]:
    """Read the rows of a table that this project wrote; a cell that is missing at a row's end is empty.

    Args:
        file: The CSV file.
        columns: Headings that it must have.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            header, *rows = list(csv.reader(lines)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is missing or damaged: {reason(error)}") from None
    if repeated := [name for name in header if header.count(name) > 1]:
        raise UserError(f"{file} is damaged: it has the column {repeated[0]} twice")
    if not rows or set(columns) - set(header) or max(map(len, rows)) > len(header):
        raise UserError(f"{file} is damaged: it should hold the columns {', '.join(columns)}, and lines")
    return [dict(zip_longest(header, row, fillvalue="")) for row in rows if row]


def refuse_no_folder(flag: str, path: Path) -> None:
    """Refuse a folder that can't be made or written to, before any work is done for what goes there.

    Raises:
        UserError: It, or a folder above it, is a file or is closed to us; the message names the flag.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise UserError(f"{flag} {path}: {nearest} is a file; name a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {path} can't be written: {nearest} is closed to you; name another folder")


def leftovers(folder: Path) -> list[Path]:
    """List the temporary files in `folder` that killed writes have left."""
    return [entry for entry in folder.iterdir() if _TEMPORARY.fullmatch(entry.name) and entry.is_file()]


def identify(paths: Iterable[Path]) -> str:
    """Hash the names, sizes and times of change of files, so that a changed file changes the hash.

    Missing files are left out; whoever reads them says that they are missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(os.fsencode(f"{path.absolute()} {status.st_size} {status.st_mtime_ns}\n"))
    return digest.hexdigest()


def digest(names: Iterable[str]) -> str:
    """Count names and hash them in their order, briefly."""
    names = list(names)
    return f"{len(names)} {hashlib.sha256(os.fsencode(chr(10).join(names))).hexdigest()[:16]}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_held: set[int] = set()  # locks of this process, which its forked children must not keep


def take_lock(file: Path) -> int | None:
    """Lock a file, which is made if missing, until `release_lock` or the end of this process.

    Returns:
        A handle for `release_lock`; None if another holder has the lock.
    """
    _close_locks_in_children()
    handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    _held.add(handle)
    return handle


def release_lock(handle: int) -> None:
    """Release what `take_lock` returned."""
    _held.discard(handle)
    os.close(handle)


@cache
def _close_locks_in_children() -> None:
    # A loading process that outlives a killed training by seconds would hold the lock as long.
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    while _held:
        os.close(_held.pop())
