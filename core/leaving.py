"""Ctrl-C and SIGTERM: a command that is told to leave is gone within seconds, and so is who works for it."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_SEC = 8.0  # a grid kills those of its runs that are still there after 10
_LAST_WORDS = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}
_PR_SET_PDEATHSIG = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it before they kill; left like Ctrl-C, with everything closed."""


@contextmanager
def leaving_when_told() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, `Terminated` on SIGTERM, and end the process if that does not.

    An exception can be lost: Python drops what is raised while it finalises an object, and closing what is
    open may wait for a process that does not answer. So the process ends `GRACE_SEC` after the first signal
    in any case. Files get their names when they are whole, so nothing is lost by that. A signal that is
    ignored stays so, as Ctrl-C is where a shell has put a command into the background.
    """
    before = {number: signal.getsignal(number) for number in _LAST_WORDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _told)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_with(employer: int, *_: object) -> None:
    """Make this process one that works for another, and stays no longer than that one.

    Ctrl-C, which reaches every process of a terminal, is for the employer to decide about; SIGTERM ends this
    process without a word, which schedulers also send to all.

    Args:
        employer: Process id of the parent.
        *_: What a `DataLoader` also tells its `worker_init_fn`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != employer:  # it ended before it could be watched
        _leave()


def _told(number: int, *_: object) -> None:
    # PyTorch's handler would speak of killed loaders, which are told to leave as well.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.signal(signal.SIGALRM, lambda *_: _end(signal.Signals(number)))
        signal.setitimer(signal.ITIMER_REAL, GRACE_SEC)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _end(number: signal.Signals) -> None:
    word, status = _LAST_WORDS[number]
    os.write(2, f"{word}\n".encode())
    os._exit(status)


def _leave(*_: object) -> None:
    os._exit(0)  # by any other status PyTorch would take it for a crash
