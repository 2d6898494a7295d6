"""Ctrl-C and SIGTERM, noticed without interrupting anything."""

import signal
from typing import Self


class StopRequest:
    """Notices that someone wants the program to stop, while it is entered.

    Attributes:
        made: Whether someone does.
    """

    def __init__(self) -> None:
        """Nobody does yet."""
        self.made = False

    def __enter__(self) -> Self:
        """Begin to notice."""
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.made = True
