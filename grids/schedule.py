"""Which run may start when: after its parents, never after a failed one."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from grids.runs import Run

POLL_SEC = 0.1


class Workers(Protocol):
    """What starts runs and notices their end: this machine, or a cluster."""

    def room(self) -> int:
        """How many more runs may be started now."""

    def start(self, run: Run) -> None:
        """Start a run, or go on with it."""

    def ended(self) -> list[tuple[Run, bool]]:
        """Give the runs that have ended since the last call, and whether each has finished; never waits."""

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have stopped."""


class Schedule:
    """The state of every run of a grid.

    Attributes:
        waiting: Runs that have not been started, by key, in the order in which they are.
        running: Runs that have.
        done: Finished runs, those of earlier starts included.
        failed: Runs that ended without finishing.
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        """Take runs with all their parents among them."""
        self.waiting: dict[str, Run] = {}
        self.running: dict[str, Run] = {}
        self.done: dict[str, Run] = {}
        self.failed: dict[str, Run] = {}
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Take one more; finished runs are not repeated."""
        (self.done if run.done else self.waiting)[run.key] = run

    def knows(self, run: Run) -> bool:
        """Whether it was taken before."""
        return any(run.key in part for part in (self.waiting, self.running, self.done, self.failed))

    def drop(self, run: Run) -> None:
        """Forget a running run that was stopped on purpose."""
        self.running.pop(run.key)

    @property
    def ready(self) -> list[Run]:
        """Runs whose parents have all finished."""
        return [run for run in self.waiting.values() if all(p.key in self.done for p in run.parents)]

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing can be started."""
        return not self.running and not self.ready

    def start(self, run: Run) -> None:
        """Note that a run was started."""
        self.running[run.key] = self.waiting.pop(run.key)

    def end(self, run: Run, finished: bool) -> None:
        """Note that a run has ended."""
        (self.done if finished else self.failed)[run.key] = self.running.pop(run.key)


class Watcher(Protocol):
    """Is told what happens."""

    def started(self, run: Run) -> None:
        """A run was started."""

    def ended(self, run: Run, finished: bool) -> None:
        """A run has ended."""

    def refresh(self) -> None:
        """Some time has passed."""


def advance(schedule: Schedule, workers: Workers, watcher: Watcher) -> None:
    """Note what has ended and start what there is room for."""
    for run, finished in workers.ended():
        schedule.end(run, finished)
        watcher.ended(run, finished)
    for run in schedule.ready[: workers.room()]:
        workers.start(run)
        schedule.start(run)
        watcher.started(run)
    watcher.refresh()


def run_all(schedule: Schedule, workers: Workers, watcher: Watcher, stopping: Callable[[], bool]) -> None:
    """Run everything that can be run.

    Args:
        schedule: What is to be run.
        workers: What runs it.
        watcher: Is told what happens.
        stopping: Asked now and then whether to stop; then running runs are stopped and stay unfinished.
    """
    try:
        while not stopping():
            advance(schedule, workers, watcher)
            if schedule.over:
                return
            time.sleep(POLL_SEC)
    finally:
        workers.stop(list(schedule.running.values()))
