"""What a grid shows: its plan before it starts, its progress while it runs, its failures at the end.

How far a run is, and how long its epochs take, is read from the metrics.csv that it writes.
"""

import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from core.files import read_csv
from core.run_dir import RunDirectory
from grids.plan import Plan
from grids.recipe import Training
from grids.run import Run, Schedule, Workers, run_all

_REFRESH_SEC = 1.0


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: Finished epochs.
        seconds: What they took.
        accuracies: Accuracy in per cent on what is measured, by epoch.
    """

    epoch: int
    seconds: float
    accuracies: dict[int, float]

    @property
    def accuracy(self) -> str:
        """The last accuracy in words."""
        if not self.accuracies:
            return "not measured yet"
        return f"{next(reversed(self.accuracies.values())):.1f} %"

    @classmethod
    def of(cls, run: Run, splits: Collection[str] = ("val", "test")) -> "Progress":
        """Read a run's metrics, the accuracies of some splits; a run without any is at epoch 0."""
        try:
            rows = read_metrics(run)
            accuracies = {int(row["epoch"]): float(row["accuracy"]) for row in rows if row["split"] in splits}
            seconds = sum(float(row["seconds"]) for row in rows)
            return cls(int(rows[-1]["epoch"]), seconds, accuracies)
        except ValueError:  # no table yet, or a damaged one
            return cls(0, 0.0, {})


def read_metrics(run: Run) -> list[dict[str, str]]:
    """Read a run's metrics.csv, which has a row for each epoch and split.

    Raises:
        UserError: It has not been written yet, or not by this project.
    """
    return read_csv(RunDirectory(run.folder).metrics, "epoch", "split", "accuracy", "seconds")


class EpochTimes:
    """Seconds an epoch takes, for each kind of run, learned from finished runs.

    Runs are of one kind if they have the same script and the same settings, apart from those that leave the
    time of an epoch as it is (`TrainConfig.SAME_EPOCH_TIME`).
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        """Read the metrics of the runs that have finished."""
        self._sums: dict[tuple[object, ...], tuple[float, int]] = {}
        for run in runs:
            if run.done:
                self.learn(run)

    def learn(self, run: Run) -> None:
        """Add the epochs of a finished run."""
        progress = Progress.of(run)
        self.add(run, progress.seconds, progress.epoch)

    def add(self, run: Run, seconds: float, epochs: int) -> None:
        """Add epochs of a run's kind."""
        before, counted = self._sums.get(kind_of(run), (0.0, 0))
        self._sums[kind_of(run)] = before + seconds, counted + epochs

    def knows(self, run: Run) -> bool:
        """Tell whether epochs of the run's kind were added."""
        return self._sums.get(kind_of(run), (0.0, 0))[1] > 0

    def seconds_left(self, run: Run, progress: Progress) -> float | None:
        """Estimate from the run's own epochs, before the first from others of its kind; None: unknown."""
        seconds, epochs = self._sums.get(kind_of(run), (0.0, 0))
        if progress.epoch:
            seconds, epochs = progress.seconds, progress.epoch
        return (run.epochs - progress.epoch) * seconds / epochs if epochs else None

    def total(self, runs: Iterable[Run]) -> tuple[float, int]:
        """Add up the time that runs still take.

        Returns:
            Seconds, one run after the other, and the number of runs whose time is unknown.
        """
        left = [self.seconds_left(run, Progress.of(run)) for run in runs]
        return sum(seconds for seconds in left if seconds is not None), left.count(None)


def kind_of(run: Run) -> tuple[object, ...]:
    """Return what decides how long an epoch of a run takes, on the same data."""
    return run.training.script, *sorted((name, str(value)) for name, value in _cost_settings(run).items())


def _cost_settings(run: Run) -> Mapping[str, object]:
    """Collect what changes an epoch's time, from ancestors too: joint training has its parents' frames."""
    inherited: dict[str, object] = {}
    for parent in reversed(run.parents):
        inherited |= _cost_settings(parent)
    left_out = run.config.same_epoch_time()
    return inherited | {name: value for name, value in run.settings.items() if name not in left_out}


def duration(seconds: float) -> str:
    """Write a time in its two largest units."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def describe_plan(plan: Plan, chosen: Sequence[Run]) -> str:
    """Draw a plan as trees of trainings, each under its parent, with the number of runs to do.

    Args:
        plan: The plan.
        chosen: The runs of it that are to be run.
    """
    lines, users = [], {run.key: set[tuple[str, str]]() for run in chosen}
    for table in plan.tables:
        runs: dict[str, list[Run]] = {}
        for seeded, run in table.runs:
            training = seeded.training
            if run.key in users:
                runs.setdefault(training.name, []).append(run)
            for used in [*run.parents, *([run] if training.row else [])]:
                users.setdefault(used.key, set()).add((table.file.name, training.name))
        lines.append(f"{table.file.name}: {table.recipe.title}")
        lines += _branches([t for t in table.recipe.variants if t.name in runs], runs, None, "")
    left = sum(not run.done for run in chosen)
    shared = sum(len(users[run.key]) > 1 for run in chosen)
    counts = f"{len(chosen)} runs: {left} to do, {len(chosen) - left} done, {shared} shared"
    return "\n".join([*lines, counts])


def _branches(
    trainings: Sequence[Training], runs: Mapping[str, Sequence[Run]], parent: str | None, indent: str
) -> Iterator[str]:
    """Draw the trainings under a parent; one with several parents is drawn under its first."""
    children = [training for training in trainings if next(iter(training.parents.values()), None) == parent]
    for number, training in enumerate(children, start=1):
        last = number == len(children)
        others = list(training.parents.values())[1:]
        joined = f" and {', '.join(others)}" if others else ""
        row = f" [{training.row}]" if training.row else ""
        done = sum(run.done for run in runs[training.name])
        states = ((len(runs[training.name]) - done, "to do"), (done, "done"))
        counts = ", ".join(f"{count} {state}" for count, state in states if count)
        yield f"{indent}{'└─' if last else '├─'} {training.name}{joined}{row}: {counts}"
        yield from _branches(trainings, runs, training.name, indent + ("   " if last else "│  "))


def describe_time(chosen: Sequence[Run], times: EpochTimes, jobs: int) -> str:
    """Say how long runs will take with a number of jobs at a time."""
    left = [run for run in chosen if not run.done]
    seconds, unknown = times.total(left)
    if not left:
        return "time: none"
    if unknown == len(left):
        return "time: unknown, no run of these kinds has finished here; --dry-run --rehearse 16 measures it"
    rest = f", and {unknown} runs whose time is unknown" if unknown else ""
    return f"time: about {duration(seconds / jobs)} with {jobs} at a time{rest}"


class ProgressDisplay:
    """Prints a line for every run that starts or ends, and on a terminal keeps a status line below them."""

    def __init__(
        self,
        schedule: Schedule,
        times: EpochTimes,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Print to a stream; `clock` gives the time in seconds."""
        self.schedule = schedule
        self.times = times
        self.stream = stream
        self.clock = clock
        self._status = ""
        self._next_refresh = 0.0
        self._begun: dict[str, float] = {}

    def started(self, run: Run) -> None:
        """Print that a run was started."""
        self._begun[run.key] = self.clock()
        epoch = Progress.of(run).epoch
        self._print(f"started {run.name}" + (f" after epoch {epoch}" if epoch else ""))

    def ended(self, run: Run, finished: bool) -> None:
        """Print how a run ended."""
        took = duration(self.clock() - self._begun.pop(run.key))
        if finished:
            self.times.learn(run)
            self._print(f"done    {run.name}: {Progress.of(run).accuracy} after {took}; {self._counts()}")
        else:
            self._print(f"failed  {run.name}: {run.last_log_line()}")

    def refresh(self) -> None:
        """Renew the status line, at most once a second."""
        if self.stream.isatty() and self.clock() >= self._next_refresh:
            self._next_refresh = self.clock() + _REFRESH_SEC
            running = "; ".join(map(self._describe, self.schedule.running.values()))
            self._show_status(f"{self._counts()}: {running}" if running else self._counts())

    def close(self) -> None:
        """Remove the status line."""
        self._show_status("")

    def _describe(self, run: Run) -> str:
        progress = Progress.of(run)
        left = self.times.seconds_left(run, progress)
        rest = f", {duration(left)} left" if left is not None else ""
        return f"{run.name} epoch {progress.epoch}/{run.epochs} {progress.accuracy}{rest}"

    def _counts(self) -> str:
        states = ("done", "running", "failed", "waiting")
        counts = [(len(getattr(self.schedule, state)), state) for state in states]
        return ", ".join(f"{count} {state}" for count, state in counts if count)

    def _print(self, line: str) -> None:
        self._show_status("")
        print(line, file=self.stream, flush=True)

    def _show_status(self, text: str) -> None:
        if self.stream.isatty() and (text or self._status):
            self.stream.write(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}")
            self.stream.flush()
            self._status = text


def run_with_progress(
    schedule: Schedule,
    workers: Workers,
    times: EpochTimes,
    update: Callable[[Workers], bool] = lambda workers: False,
) -> int:
    """Run a schedule as `run_all` does, print its progress, and stop on Ctrl-C or SIGTERM.

    Returns:
        0 when all is done, 1 with failures, 130 when it was stopped.
    """
    display = ProgressDisplay(schedule, times, sys.stdout)
    finished = run_all(schedule, workers, display, update)
    display.close()
    for run in schedule.failed.values():
        print(f"failed: {run.training.label}, seed {run.config.seed}: {run.last_log_line()}")
        print(f"    {run.log}")
    if schedule.failed:
        waiting = f" and {len(schedule.waiting)} that start from them" if schedule.waiting else ""
        print(f"{len(schedule.failed)} failed{waiting}; the same command tries them again")
    if not finished:
        print("stopped; the same command resumes")
        return 130
    return 1 if schedule.failed else 0
