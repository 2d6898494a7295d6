"""Becomes the command of a run: `python start.py STARTER FOLDER COMMAND...`.

It dies with the process that started it, so that a killed grid leaves nobody behind who still writes; and it
waits until the last process of an earlier start has let the folder go. A script of its own that imports next
to nothing.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PATIENCE_SEC = 60.0


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process, and what it becomes, when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be watched
        sys.exit(1)


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
