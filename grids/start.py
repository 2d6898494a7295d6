"""Becomes the command of a run: `python start.py STARTER FOLDER COMMAND...`.

The run dies with the process that started it, so that no run of a killed grid goes on writing, and it waits
until the last process of an earlier start has released the folder. A script of its own that imports next to
nothing, since every run passes through it.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # Where the rooms are; Python has put the folder of this script there.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from core.processes import die_with_parent  # noqa: E402

_PATIENCE_SEC = 60.0


def wait_for_folder(folder: str) -> None:
    """Wait until no process holds a run's lock; after a minute go on, and let the command say who does."""
    lock = os.open(os.path.join(folder, ".lock"), os.O_CREAT | os.O_RDWR, 0o666)
    deadline = time.monotonic() + _PATIENCE_SEC
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.1)
    os.close(lock)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    wait_for_folder(sys.argv[2])
    os.execv(sys.argv[3], sys.argv[3:])
