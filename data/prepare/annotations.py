"""Reads annotations.csv: which range of which video shows which action."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from data.tree import CANONICAL, reason_to_skip

_NAMES = ("video", "user", "action")
_RANGES = (("start_frame", "stop_frame"), ("start_sec", "stop_sec"))
# Names that every system allows for a folder; commas belong to action names, parentheses mark duplicates.
_FOLDER_NAME = re.compile(r"[\w,+&'-][\w,+&' .-]*(?<![ .])")
_LONGEST = 200  # bytes of a folder's name; file systems allow 255, and temporary names are longer


@dataclass(frozen=True)
class Annotation:
    """One row: a range of a video and its action.

    Attributes:
        where: File and line, for messages.
        video: Path of the video.
        user: Who wears the camera.
        action: Name of the action.
        instance: Which of the user's clips of this action, numbered from 1 in the order of the rows.
        start: Start of the range: a frame number from 0, or seconds.
        stop: End of the range in the same unit, excluded.
        seconds: Whether the range is in seconds.
    """

    where: str
    video: Path
    user: str
    action: str
    instance: str
    start: float
    stop: float
    seconds: bool

    @property
    def key(self) -> str:
        """Name of the clip, "S2/open_jam/1"."""
        return f"{self.user}/{self.action}/{self.instance}"

    def folder(self, root: Path) -> Path:
        """Return the clip's folder in a canonical tree."""
        return root / CANONICAL.top / self.key


def read_annotations(path: Path) -> tuple[Annotation, ...]:
    """Read and check every row of a file.

    Args:
        path: A CSV file with columns video, user, action and either start_frame, stop_frame or start_sec,
            stop_sec; video paths are relative to its folder.

    Raises:
        UserError: The file can't be read, lacks a column or has no rows, or a row has bad values; the message
            names the line.
    """
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for where, row in _read_rows(path):
        user, action = _folder_name(row, "user", where), _folder_name(row, "action", where)
        counts[user, action] += 1
        start, stop, seconds = _range(row, where)
        video = _video_path(path.parent, row["video"], where)
        instance = str(counts[user, action])
        found.append(Annotation(where, video, user, action, instance, start, stop, seconds))
    return tuple(found)


def _read_rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            _check_columns(path, reader.fieldnames or ())
            rows = [(f"{path} line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"can't read the annotations {path}: {error}") from None
    if not rows:
        raise UserError(f"{path} has no rows below its header; add one for each clip")
    return [(where, _checked(row, where)) for where, row in rows]


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    there = set(columns)
    missing = [name for name in _NAMES if name not in there]
    ranges = [pair for pair in _RANGES if there.issuperset(pair)]
    if missing or len(ranges) != 1:
        raise UserError(
            f"{path}: the columns should be {','.join(_NAMES)} and either {','.join(_RANGES[0])} or "
            f"{','.join(_RANGES[1])}; found {','.join(columns) or 'none'}"
        )


def _checked(row: Mapping[str | None, object], where: str) -> dict[str, str]:
    if None in row:
        raise UserError(f"{where}: more values than columns; put quotes around values with commas")
    values = {str(name): value.strip() for name, value in row.items() if isinstance(value, str)}
    if empty := [name for name in _NAMES if not values.get(name)]:
        raise UserError(f"{where}: {empty[0]} is empty")
    return values


def _folder_name(row: Mapping[str, str], column: str, where: str) -> str:
    name = row[column]
    too_long = len(os.fsencode(name)) > _LONGEST
    if too_long or not _FOLDER_NAME.fullmatch(name) or reason_to_skip(name):
        raise UserError(
            f"{where}: {column} {name!r} can't be a folder's name; use letters, digits, _ - , + & ' . and at "
            f"most {_LONGEST} bytes"
        )
    return name


def _range(row: Mapping[str, str], where: str) -> tuple[float, float, bool]:
    seconds = "start_sec" in row
    start_name, stop_name = _RANGES[seconds]
    try:
        texts = row.get(start_name, ""), row.get(stop_name, "")
        start, stop = map(float if seconds else int, texts)
    except ValueError:
        kind = "seconds" if seconds else "whole frame numbers"
        values = f"{row.get(start_name)!r} and {row.get(stop_name)!r}"
        raise UserError(f"{where}: {start_name} and {stop_name} should be {kind}, got {values}") from None
    if not 0 <= start < stop < float("inf"):
        raise UserError(
            f"{where}: the range should start at 0 or later and stop after its start, got "
            f"{start_name} {row[start_name]}, {stop_name} {row[stop_name]}"
        )
    return start, stop, seconds


def _video_path(folder: Path, name: str, where: str) -> Path:
    # By name, links unresolved: a linked video is the user's own choice, `../` in another's file is not.
    folder = Path(os.path.normpath(folder.absolute()))
    video = Path(os.path.normpath(folder / name))
    if not video.is_relative_to(folder):
        raise UserError(f"{where}: video {name} lies outside the folder of the annotations")
    if not video.is_file():
        raise UserError(f"{where}: no such video: {video}")
    return video


def by_video(annotations: tuple[Annotation, ...]) -> Iterator[tuple[Path, list[Annotation]]]:
    """Group rows by video, in the order of the file."""
    for video in dict.fromkeys(row.video for row in annotations):
        yield video, [row for row in annotations if row.video == video]
