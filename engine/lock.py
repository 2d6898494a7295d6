"""Locks that end with the process which holds them, however it ends."""

import fcntl
import os
from pathlib import Path


def take_lock(file: Path) -> int | None:
    """Lock a file, made when missing.

    Returns:
        The open file; closing it lets the lock go. None: another process holds it.
    """
    handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
