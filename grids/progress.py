"""How far runs are, read from the metrics.csv that each writes, and how long others like them took."""

import csv
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from core.run_dir import RunDirectory
from grids.runs import Run

_ALIKE = (
    "stage", "frames", "image_size", "backbone", "temporal", "hidden", "amp", "ms", "ms_layer",
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: Finished epochs.
        seconds: What they took.
        measured: Accuracy in per cent on what is measured, by epoch.
    """

    epoch: int
    seconds: float
    measured: dict[int, float]

    @property
    def accuracy(self) -> float | None:
        """The last measured accuracy in per cent."""
        return next(reversed(self.measured.values()), None)

    @classmethod
    def of(cls, run: Run, splits: Collection[str] = ("val", "test")) -> "Progress":
        """Read a run's metrics, the accuracy on some splits; a run that has none yet is at epoch 0."""
        try:
            rows = read_rows(run)
            measured = {int(row["epoch"]): float(row["accuracy"]) for row in rows if row["split"] in splits}
            seconds = sum(float(row["seconds"]) for row in rows)
            return cls(int(rows[-1]["epoch"]) if rows else 0, seconds, measured)
        except (OSError, ValueError, KeyError):  # not there yet, or not ours
            return cls(0, 0.0, {})


class Paces:
    """Seconds an epoch takes, by what is trained, learned from the runs of a grid."""

    def __init__(self, runs: Iterable[Run]) -> None:
        """Read the metrics of finished runs."""
        self._sums: dict[tuple[object, ...], tuple[float, int]] = {}
        for run in runs:
            if run.done:
                self.learn(run)

    def learn(self, run: Run) -> None:
        """Count a run that has finished."""
        made = Progress.of(run)
        self.note(run, made.seconds, made.epoch)

    def note(self, run: Run, seconds: float, epochs: int) -> None:
        """Count epochs of a run's kind, and what they took."""
        before, counted = self._sums.get(kind_of(run), (0.0, 0))
        self._sums[kind_of(run)] = before + seconds, counted + epochs

    def knows(self, run: Run) -> bool:
        """Whether epochs of such a run were counted."""
        return self._sums.get(kind_of(run), (0.0, 0))[1] > 0

    def seconds_left(self, run: Run, progress: Progress) -> float | None:
        """Estimate from the run's own pace, before its first epoch from that of others; None: unknown."""
        seconds, epochs = self._sums.get(kind_of(run), (0.0, 0))
        if progress.epoch:
            seconds, epochs = progress.seconds, progress.epoch
        return (run.epochs - progress.epoch) * seconds / epochs if epochs else None

    def total(self, runs: Iterable[Run]) -> tuple[float, int]:
        """Add up what runs still take.

        Returns:
            Seconds, one run after the other, and the number of runs whose time is unknown.
        """
        left = [self.seconds_left(run, Progress.of(run)) for run in runs]
        return sum(seconds for seconds in left if seconds is not None), left.count(None)


def duration(seconds: float) -> str:
    """Say a time in the two largest units that matter."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def read_rows(run: Run) -> list[dict[str, str]]:
    """Read a run's metrics.csv: a row an epoch and split.

    Raises:
        OSError: It is not there yet.
    """
    with RunDirectory(run.folder).metrics.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kind_of(run: Run) -> tuple[object, ...]:
    """Tell what decides how long an epoch of a run takes, on the same data."""
    return (run.training.script, *(_setting(run, name) for name in _ALIKE))


def _setting(run: Run, name: str) -> object:
    """Give a setting of a run, or of the parent that decides it: two streams see as many frames as RGB."""
    if name in run.decided:
        return run.decided[name]
    found = (_setting(parent, name) for parent in run.parents)
    return next((value for value in found if value is not None), None)
