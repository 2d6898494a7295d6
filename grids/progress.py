"""How far runs are, read from the metrics.csv that each writes, and how long others like them took."""

import csv
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from engine.run_dir import RunDirectory
from grids.runs import Run

_ALIKE = ("stage", "frames", "image_size", "backbone", "ms")


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
            with RunDirectory(run.folder).metrics.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
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
        seconds, epochs = self._sums.get(_kind(run), (0.0, 0))
        self._sums[_kind(run)] = seconds + made.seconds, epochs + made.epoch

    def seconds_left(self, run: Run, progress: Progress) -> float | None:
        """Estimate from the run's own pace, before its first epoch from that of others; None: unknown."""
        seconds, epochs = self._sums.get(_kind(run), (0.0, 0))
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


def _kind(run: Run) -> tuple[object, ...]:
    return (run.training.script, *(run.decided.get(name) for name in _ALIKE))
