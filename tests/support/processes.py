"""Processes as Linux reports them, for tests of what ends when."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def children(pid: int) -> list[int]:
    """List the processes that a process has started and that are there."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def gone(pid: int) -> bool:
    """Tell whether a process has ended, though its parent may not have asked for its status."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def dawdle(folder: Path) -> None:
    """Say that this process has begun, then take a minute."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what happens in other processes; fails when it has not happened in time."""
    stop = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < stop, f"not within {seconds} s"
        time.sleep(0.02)
