"""Locks that end with the process which holds them, however it ends."""

import fcntl
import os
from pathlib import Path

_held: set[int] = set()


def take_lock(file: Path) -> int | None:
    """Lock a file, made when missing.

    Returns:
        What `let_go` takes. None: another process holds it.
    """
    handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    _held.add(handle)
    return handle


def let_go(handle: int) -> None:
    """Let a lock go."""
    _held.discard(handle)
    os.close(handle)


def _leave_to_the_parent() -> None:
    """A loading process that outlives a killed training by seconds would hold the lock as long."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_leave_to_the_parent)
