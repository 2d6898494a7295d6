"""Bars that show how far something is: on a terminal a moving bar, in a file a line every few seconds."""

import os
import sys
from collections.abc import Iterable
from threading import RLock
from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_SEC = 5.0
_LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left, {rate_fmt}{postfix}"
_UP = "\x1b[A"
"""What a bar that stands below another one ends with."""


# Each process draws its own bars. tqdm's lock would be shared with forked ones, of which one that is killed
# while it draws keeps it for ever.
tqdm.set_lock(RLock())
os.register_at_fork(after_in_child=lambda: tqdm.set_lock(RLock()))


class _Lines:
    """Takes what a bar draws over itself, and writes it as lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        if drawn := text.replace(_UP, "").strip():
            self._file.write(f"{drawn}\n")

    def flush(self) -> None:
        self._file.flush()


def progress_bar(
    items: Iterable[Any] | None = None, *, title: str, unit: str, shown: bool = True, **options: Any
) -> "tqdm[Any]":
    """Make a bar on standard error; where that is no terminal, work of a few seconds leaves no trace there.

    Args:
        items: What is gone through; without them the bar is moved by `update`.
        title: Before the numbers.
        unit: Of what is counted.
        shown: Whether anything is shown at all.
        options: Of tqdm, such as `total`.
    """
    drawn: dict[str, Any] = {"desc": title, "unit": unit, "disable": not shown, "leave": None}
    if shown and not sys.stderr.isatty():
        often = {"mininterval": LINE_EVERY_SEC, "delay": LINE_EVERY_SEC, "miniters": 1}
        drawn |= {"file": _Lines(sys.stderr), "bar_format": _LINE, "leave": False, **often}
    return tqdm(items, **drawn | options)
