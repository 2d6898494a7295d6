"""Says what a grid does: a line for every change, and on a terminal one that is kept up to date."""

import shutil
import time
from typing import TextIO

from grids.process import last_line
from grids.progress import Paces, Progress, duration
from grids.runs import Run
from grids.schedule import Schedule

_REFRESH_SEC = 1.0


class Board:
    """Watches a schedule."""

    def __init__(self, schedule: Schedule, paces: Paces, stream: TextIO) -> None:
        """Write to `stream`; the line that is kept up to date is for terminals alone."""
        self.schedule = schedule
        self.paces = paces
        self.stream = stream
        self._status = ""
        self._next = 0.0
        self._begun: dict[str, float] = {}

    def started(self, run: Run) -> None:
        """Say that a run was started."""
        self._begun[run.key] = time.monotonic()
        epoch = Progress.of(run).epoch
        self.say(f"started {run.name}" + (f" after epoch {epoch}" if epoch else ""))

    def ended(self, run: Run, finished: bool) -> None:
        """Say how a run ended."""
        took = duration(time.monotonic() - self._begun.pop(run.key))
        if finished:
            self.paces.learn(run)
            self.say(f"done    {run.name}: {_accuracy(Progress.of(run))} after {took}; {self._counts()}")
        else:
            self.say(f"failed  {run.name}: {last_line(run.folder)}")

    def refresh(self) -> None:
        """Renew the line at the bottom, once a second."""
        if self.stream.isatty() and time.monotonic() >= self._next:
            self._next = time.monotonic() + _REFRESH_SEC
            running = "; ".join(map(self._progress, self.schedule.running.values()))
            self._show(f"{self._counts()}: {running}" if running else self._counts())

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._show("")
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the line at the bottom away."""
        self._show("")

    def _counts(self) -> str:
        states = ("done", "running", "failed", "waiting")
        counts = [(len(getattr(self.schedule, state)), state) for state in states]
        return ", ".join(f"{count} {state}" for count, state in counts if count)

    def _progress(self, run: Run) -> str:
        made = Progress.of(run)
        left = self.paces.seconds_left(run, made)
        ends = f", {duration(left)} left" if left is not None else ""
        return f"{run.name} epoch {made.epoch}/{run.epochs} {_accuracy(made)}{ends}"

    def _show(self, text: str) -> None:
        if self.stream.isatty() and (text or self._status):
            self.stream.write(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}")
            self.stream.flush()
            self._status = text


def _accuracy(progress: Progress) -> str:
    return "not measured yet" if progress.accuracy is None else f"{progress.accuracy:.1f} %"
