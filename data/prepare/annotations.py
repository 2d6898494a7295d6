"""Reads annotations.csv: which range of which video shows which action."""

import math
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from data.actions import look_alike
from data.prepare.table import read_table
from data.tree import reason_to_skip

_NAMES = ("video", "user", "action")
_RANGES = (("start_frame", "stop_frame"), ("start_sec", "stop_sec"))
# Words in the names of columns that hold a range, under a name or in a unit that we don't know.
_RANGE_WORDS = set("start stop begin end from to first last frame frames sec seconds time duration".split())
# Names that every system allows for a folder; commas belong to action names, parentheses mark duplicates.
_FOLDER_NAME = re.compile(r"[\w,+&'-][\w,+&' .-]*(?<![ .])")
_LONGEST = 200  # bytes of a folder's name; file systems allow 255, and temporary names are longer


@dataclass(frozen=True)
class Annotation:
    """One row: a range of a video and its action.

    Attributes:
        line: Its line in the table.
        video: Path of the video.
        user: Who wears the camera.
        action: Name of the action.
        start: Start of the range: a frame number from 0, or seconds.
        stop: End of the range in the same unit, excluded; None is the end of the video.
        seconds: Whether the range is in seconds.
    """

    line: int
    video: Path
    user: str
    action: str
    start: float
    stop: float | None
    seconds: bool

    @property
    def group(self) -> str:
        """The folder of its user and action, "S1/stir"."""
        return f"{self.user}/{self.action}"


class BadRow(NamedTuple):
    """A row that can't be used, and why."""

    line: int
    problem: str


@dataclass(frozen=True)
class Annotations:
    """The rows of a table, in its order.

    Attributes:
        rows: Those that can be used.
        bad: The others.
        notes: What had to be guessed, and names that are easily mixed up.
    """

    rows: tuple[Annotation, ...]
    bad: tuple[BadRow, ...]
    notes: tuple[str, ...]


def read_annotations(path: Path) -> Annotations:
    """Read and check every row of a file.

    Args:
        path: A table with columns video, user, action and, unless rows mean whole videos, start_frame,
            stop_frame or start_sec, stop_sec; video paths are relative to its folder.

    Raises:
        UserError: The file can't be read, lacks a column or has no rows.
    """
    table = read_table(path)
    ranges = _range_columns(path, table.columns)
    if not table.rows:
        raise UserError(f"{path} has no rows below its header; add one for each clip")
    rows, bad = [], []
    for line, row in table.rows:
        try:
            rows.append(_read_row(path.parent, line, row, ranges, decimal_comma=table.decimal_comma))
        except UserError as error:
            bad.append(BadRow(line, str(error)))
    notes = list(table.notes)
    for column, names in (("users", [row.user for row in rows]), ("actions", [row.action for row in rows])):
        for group in look_alike(names):
            notes.append(f"{column} {', '.join(map(repr, group))} differ, though they look alike")
    return Annotations(tuple(rows), tuple(bad), tuple(notes))


def _range_columns(path: Path, columns: Sequence[str]) -> tuple[str, str] | None:
    found = [pair for pair in _RANGES if set(pair) <= set(columns)]
    unknown = [name for name in columns if name not in _NAMES and _RANGE_WORDS & set(name.split("_"))]
    if set(_NAMES) - set(columns) or len(found) > 1 or (unknown and not found):
        raise UserError(
            f"{path}: the columns should be {','.join(_NAMES)} and either {','.join(_RANGES[0])} or "
            f"{','.join(_RANGES[1])} (or none of them, for whole videos); found {','.join(columns)!r}"
        )
    return found[0] if found else None


def _read_row(
    folder: Path, line: int, row: Mapping[str, str], ranges: tuple[str, str] | None, *, decimal_comma: bool
) -> Annotation:
    if row[""]:
        raise UserError("more values than columns; put quotes around values with commas")
    if empty := [name for name in _NAMES if not row.get(name)]:
        raise UserError(f"{empty[0]} is empty")
    user, action = _folder_name(row, "user"), _folder_name(row, "action")
    start, stop = _read_range(row, ranges, decimal_comma=decimal_comma) if ranges else (0.0, None)
    video = _find_video(folder, row["video"])
    return Annotation(line, video, user, action, start, stop, seconds=ranges == _RANGES[1])


def _folder_name(row: Mapping[str, str], column: str) -> str:
    name = unicodedata.normalize("NFC", row[column])  # accents are one character, whichever system wrote them
    too_long = len(os.fsencode(name)) > _LONGEST
    if too_long or not _FOLDER_NAME.fullmatch(name) or reason_to_skip(name):
        raise UserError(
            f"{column} {name!r} can't be a folder's name; use letters, digits, _ - , + & ' . and at "
            f"most {_LONGEST} bytes"
        )
    return name


def _read_range(
    row: Mapping[str, str], ranges: tuple[str, str], *, decimal_comma: bool
) -> tuple[float, float | None]:
    """Read start and stop; an empty start is 0, an empty stop the end of the video."""
    seconds = ranges == _RANGES[1]
    start_text, stop_text = (row.get(name) for name in ranges)
    try:
        if start_text is None or stop_text is None:
            raise ValueError("the row is too short")
        start = _number(start_text, seconds, decimal_comma) if start_text else 0.0
        stop = _number(stop_text, seconds, decimal_comma) if stop_text else None
    except ValueError:
        kind = "seconds such as 1.5 or 00:00:01.50" if seconds else "whole frame numbers"
        names, values = " and ".join(ranges), f"{start_text!r} and {stop_text!r}"
        raise UserError(f"{names} should be {kind}, got {values}") from None
    if not (0 <= start < math.inf and (stop is None or start < stop < math.inf)):
        raise UserError(
            f"the range should start at 0 or later and stop after its start, got "
            f"{ranges[0]} {start_text}, {ranges[1]} {stop_text}"
        )
    return start, stop


def _number(text: str, seconds: bool, decimal_comma: bool) -> float:
    """Read "8", "8.0" and "8,0", and of seconds "0:01:30.5" too.

    Raises:
        ValueError: It is something else, or "1,500", which may be 1.5 or 1500.
    """
    whole, comma, decimals = text.partition(",")
    if comma and "." not in text and (decimal_comma or len(decimals) != 3 or whole == "0" or ":" in whole):
        text = f"{whole}.{decimals}"
    *upper, last = text.split(":")
    value = float(last)
    if upper:
        if not seconds or len(upper) > 2 or not all(part.isdecimal() for part in upper):
            raise ValueError(text)
        hours, minutes = (0, *map(int, upper))[-2:]
        if not 0 <= value < 60 or (len(upper) == 2 and minutes >= 60):
            raise ValueError(text)
        value += 3600 * hours + 60 * minutes
    if not seconds and not value.is_integer():
        raise ValueError(text)
    return value


def _find_video(folder: Path, name: str) -> Path:
    """Find a video under its name, however accents and folders are written in it."""
    # By name, links unresolved: a linked video is the user's own choice, `../` in another's file is not.
    folder = Path(os.path.normpath(folder.absolute()))
    slashes = name.replace("\\", "/")
    spellings = (name, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")))
    videos = [Path(os.path.normpath(folder / spelling)) for spelling in spellings]
    if not all(video.is_relative_to(folder) for video in videos):
        raise UserError(f"video {name} lies outside the folder of the annotations")
    try:
        return next(video for video in videos if video.is_file())
    except StopIteration:
        raise UserError(f"no such video: {videos[0]}") from None
