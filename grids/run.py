"""Running: what a run of a grid is, and the loop that starts each run once its parents have finished.

The loop knows neither processes nor machines: `Workers` start runs and notice their end (grids/local.py,
grids/cluster.py), and a `Listener` is told what happens (grids/progress.py).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import UserError
from core.files import release_lock, take_lock
from core.processes import StopRequest
from core.run_dir import RunDirectory
from core.train_config import TrainConfig
from grids.recipe import Training

POLL_SEC = 0.1


@dataclass(frozen=True, eq=False)
class Run:
    """A training with one seed and with everything decided. grids/plan.py makes them.

    Attributes:
        key: Hash of everything that decides its numbers; two runs with the same key are the same run.
        training: The training of a recipe.
        config: Its resolved flags.
        command: Words of its command line, the script first.
        settings: The settings that went into the key.
        parents: The runs that it starts from.
    """

    key: str
    training: Training
    config: TrainConfig
    command: tuple[str, ...]
    settings: Mapping[str, Any]
    parents: tuple["Run", ...]

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.config.out

    @property
    def name(self) -> str:
        """The name of its folder, by which messages call it."""
        return self.folder.name

    @property
    def epochs(self) -> int:
        """Its full length in epochs."""
        assert self.config.epochs is not None
        return self.config.epochs

    @property
    def done(self) -> bool:
        """Whether it has finished; eval.json is the last file that a run writes."""
        return (self.folder / "eval.json").is_file()

    @property
    def log(self) -> Path:
        """The file that collects what its processes print."""
        return RunDirectory(self.folder).log

    def last_log_line(self) -> str:
        """Read the last line of the log that is not blank."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def with_ancestors(runs: Iterable[Run]) -> set[str]:
    """Collect the keys of runs, of their parents, of these runs' parents and so on."""
    keys: set[str] = set()
    left = list(runs)
    while left:
        run = left.pop()
        if run.key not in keys:
            keys.add(run.key)
            left += run.parents
    return keys


class Workers(Protocol):
    """Start runs and notice their end, on this machine or on a cluster."""

    def free_slots(self) -> int:
        """Count the runs that may be started now."""

    def start(self, run: Run) -> None:
        """Start a run, or resume it."""

    def ended(self) -> list[tuple[Run, bool]]:
        """List the runs that ended since the last call, and whether each has finished; never waits."""

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have ended."""


class Listener(Protocol):
    """Is told what happens to the runs of a schedule."""

    def started(self, run: Run) -> None:
        """A run was started."""

    def ended(self, run: Run, finished: bool) -> None:
        """A run has ended."""

    def refresh(self) -> None:
        """Some time has passed."""


class Schedule:
    """The state of every run of a grid.

    Attributes:
        waiting: Runs not started yet, by key, in the order in which they are started.
        running: Runs that have been started.
        done: Finished runs, including those that were finished before.
        failed: Runs that ended without finishing.
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        """Add runs, among which are all their parents."""
        self.waiting: dict[str, Run] = {}
        self.running: dict[str, Run] = {}
        self.done: dict[str, Run] = {}
        self.failed: dict[str, Run] = {}
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Add a run unless the schedule has it; a finished run is not repeated."""
        if not any(run.key in runs for runs in (self.waiting, self.running, self.done, self.failed)):
            (self.done if run.done else self.waiting)[run.key] = run

    @property
    def ready(self) -> list[Run]:
        """Waiting runs whose parents have all finished."""
        return [run for run in self.waiting.values() if all(p.key in self.done for p in run.parents)]

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing can be started."""
        return not self.running and not self.ready

    def start(self, run: Run) -> None:
        """Record that a run was started."""
        self.running[run.key] = self.waiting.pop(run.key)

    def end(self, run: Run, finished: bool) -> None:
        """Record that a run has ended."""
        (self.done if finished else self.failed)[run.key] = self.running.pop(run.key)

    def drop(self, run: Run) -> None:
        """Forget a running run that was stopped on purpose."""
        del self.running[run.key]


def run_all(
    schedule: Schedule,
    workers: Workers,
    listener: Listener,
    update: Callable[[Workers], bool] = lambda workers: False,
) -> bool:
    """Run everything in a schedule that can be run, or until Ctrl-C or SIGTERM.

    Args:
        schedule: The runs.
        workers: Run them.
        listener: Is told what happens.
        update: Called in every round; may add runs or drop some, and returns whether more may come.

    Returns:
        Whether it came to an end; False if it was stopped, and with it the running runs.
    """
    with StopRequest() as stop:
        try:
            while not stop.made:
                for run, finished in workers.ended():
                    schedule.end(run, finished)
                    listener.ended(run, finished)
                more = update(workers)
                for run in schedule.ready[: workers.free_slots()]:
                    workers.start(run)
                    schedule.start(run)
                    listener.started(run)
                listener.refresh()
                if schedule.over and not more:
                    return True
                time.sleep(POLL_SEC)
        finally:
            workers.stop(list(schedule.running.values()))
    return False


@contextmanager
def grid_lock(out: Path) -> Iterator[None]:
    """Lock a grid's folder, made when missing, against other grids.

    Raises:
        UserError: Another grid is running in it, or it can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = take_lock(out / ".lock")
    except OSError as error:
        raise UserError(f"--out {out} can't be written: {error.strerror}") from None
    if lock is None:
        raise UserError(f"another grid is running in {out}; wait for it, or choose another --out")
    try:
        yield
    finally:
        release_lock(lock)
