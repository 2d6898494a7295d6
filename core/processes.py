"""Ctrl-C, SIGTERM and workers: a command that is told to stop is gone within seconds, and so are its workers.

Imports only the standard library, since `grids` loads it once for every run that it starts.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

GRACE_SEC = 8.0  # shorter than the 10 s after which a grid kills its runs
_STATUS = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}
_PR_SET_PDEATHSIG = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send before they kill; handled like Ctrl-C, with everything closed."""


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and `Terminated` on SIGTERM, and end the process if that fails.

    An exception can be lost: Python drops one raised inside a finaliser, and closing files or workers may
    wait for a process that does not answer. So the process ends `GRACE_SEC` after the first signal in any
    case. Nothing is lost by that, since files are renamed into place when they are complete. A signal that
    was ignored before stays ignored, as Ctrl-C is for a command that a shell runs in the background.
    """
    before = {number: signal.getsignal(number) for number in _STATUS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequest:
    """While entered, notes Ctrl-C and SIGTERM instead of interrupting; the program asks when it suits.

    Attributes:
        made: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _STATUS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.made = True


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to kill this process, and any program it becomes by exec, when its parent ends.

    Args:
        parent_pid: The parent's process id; if that one has ended already, this process exits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        _exit_quietly()


def become_worker(parent_pid: int, *_: object) -> None:
    """Set up a worker process: it leaves Ctrl-C to its parent, exits on SIGTERM, and dies with its parent.

    Args:
        parent_pid: Process id of the command that it works for.
        *_: The worker's number, which a `DataLoader` passes to its `worker_init_fn`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal
    signal.signal(signal.SIGTERM, _exit_quietly)
    die_with_parent(parent_pid)


def _interrupt(number: int, *_: object) -> None:
    # Workers get the signal too; PyTorch's SIGCHLD handler would report them as killed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.signal(signal.SIGALRM, lambda *_: _exit_now(signal.Signals(number)))
        signal.setitimer(signal.ITIMER_REAL, GRACE_SEC)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _exit_now(number: signal.Signals) -> None:
    word, status = _STATUS[number]
    os.write(2, f"{word}\n".encode())
    os._exit(status)


def _exit_quietly(*_: object) -> None:
    os._exit(0)  # PyTorch takes any other status for a crash
