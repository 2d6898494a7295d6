"""Pieces of work for other processes, which load no more of the tests than this."""

import os
from pathlib import Path

from tests.support.processes import dawdle


def square(number: int) -> int:
    return number * number


def stumble(number: int) -> int:
    if number == 3:
        raise OSError("no room")
    return number


def vanish(number: int) -> int:
    os._exit(9)


def dawdle_in(folder: Path | None) -> None:
    if folder is not None:
        dawdle(folder)
