"""The state of a training between two epochs, and the files that record it."""

import csv
import io
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from core.checkpoint import save_checkpoint
from core.errors import UserError
from core.files import write_text
from core.ranks import ONE, Ranks
from core.run_dir import RunDirectory

Row = dict[str, Any]
"""One row of metrics.csv: an epoch on one split."""

# Parts of a checkpoint's description that a resumed run has to repeat, as messages call them.
_SAME_ON_RESUME = {
    "class_names": "classes",
    "items": "clips",
    "motion_made": "flow or maps",
    "preprocessing": "preprocessing",
    "architecture": "network",
}


@dataclass
class TrainingState:
    """Everything that changes between two epochs. Random state does not: each epoch seeds from (seed, epoch).

    Attributes:
        epoch: Number of finished epochs.
        best_epoch: Epoch of best.pt, 0 before there is one.
        best_accuracy: Accuracy of best.pt on the validation set, in per cent.
        rows: The rows of metrics.csv so far.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    rows: list[Row] = field(default_factory=list)

    _PARTS: ClassVar = ("model", "optimizer", "scheduler")
    _VALUES: ClassVar = ("epoch", "best_epoch", "best_accuracy", "rows")

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only, loadable with weights_only."""
        parts = {name: getattr(self, name).state_dict() for name in self._PARTS}
        return parts | {name: getattr(self, name) for name in self._VALUES}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in self._PARTS:
            getattr(self, name).load_state_dict(state[name])
        for name in self._VALUES:
            setattr(self, name, state[name])


class Recorder:
    """Writes a run's files after each epoch: TensorBoard, then best.pt, metrics.csv and last.pt, each whole.

    Use it as a context manager. Of several ranks the first one writes.
    """

    def __init__(self, run: RunDirectory, description: dict[str, Any], ranks: Ranks = ONE) -> None:
        """Write to `run`; nothing is opened yet.

        Args:
            run: The folder, claimed.
            description: What checkpoints say about the model: architecture, class names, preprocessing,
                config, items.
            ranks: The processes of the training.
        """
        self.run = run
        self.description = description
        self.ranks = ranks
        self._board: SummaryWriter | None = None

    def resume(self, state: TrainingState) -> None:
        """Load the last saved epoch if there is one, and open TensorBoard's files after it.

        Raises:
            UserError: Labels, clips or the network's input would mean something else than before.
        """
        if self.run.last.exists():
            saved = self.run.checkpoint("last")
            for key, what in _SAME_ON_RESUME.items():
                if key in saved and saved[key] != self.description.get(key):
                    raise UserError(
                        f"--out {self.run.path} was begun with other {what} than there are now; bring the "
                        "data back as it was, or start again in another --out"
                    )
            state.load_state_dict(saved)
        if self.ranks.first:
            self._board = SummaryWriter(str(self.run.tensorboard), purge_step=state.epoch + 1)

    def record(self, state: TrainingState, rows: list[Row]) -> None:
        """Record an epoch that has ended.

        Args:
            state: The state after the epoch; gains the rows and, where it is the best yet, the selection.
            rows: The epoch's training row, and its validation row where it was measured.

        Raises:
            UserError: The run's folder is gone.
        """
        state.rows += rows
        measured = rows[-1]
        if measured["split"] != "train" and measured["accuracy"] > state.best_accuracy:
            state.best_accuracy, state.best_epoch = measured["accuracy"], state.epoch
        if self._board is not None:
            self.run.refuse_if_gone()
            for row in rows:
                for name, value in row.items():
                    if isinstance(value, float):
                        self._board.add_scalar(f"{name}/{row['split']}", value, row["epoch"])
            self._board.flush()
            # last.pt comes last: a run killed before it resumes from the epoch before, and repeats this one.
            if state.best_epoch == state.epoch:
                selected = {"epoch": state.epoch, "selected_on": measured["split"]}
                best = {"model": state.model.state_dict()} | selected | self.description
                save_checkpoint(self.run.best, best)
            write_text(self.run.metrics, metrics_table(state.rows))
            save_checkpoint(self.run.last, state.state_dict() | self.description)
        self.ranks.wait()  # the others read these files too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._board is not None:
            # After an error, one of TensorBoard's own thread is a consequence and would hide the cause.
            with suppress(*([OSError] if kind else [])):
                self._board.close()


def metrics_table(rows: list[Row]) -> str:
    """Write rows as CSV: the named parts of the loss stand after the loss."""
    first, last = ("epoch", "split", "loss"), ("accuracy", "lr", "seconds", "clips_per_sec")
    parts = sorted({key for row in rows for key in row} - {*first, *last})
    text = io.StringIO()
    table = csv.DictWriter(text, [*first, *parts, *last], restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
