"""Becomes the command of a run: `python launcher.py PARENT_PID FOLDER COMMAND...`.

The run dies with the process that started it, so that no run of a killed grid goes on writing, and it waits
until the last process of an earlier start has released the folder. Every run passes through this script, so
it imports next to nothing: core.processes costs 10 ms.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the project; Python put grids/ there

from core.processes import die_with_parent  # noqa: E402

_PATIENCE_SEC = 60.0


def wait_for_folder(folder: str) -> None:
    """Wait until no process holds a run's lock; after a minute leave it to the command to complain."""
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
