"""Everything that changes while a run trains, in one object."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Row = dict[str, Any]


@dataclass
class TrainingState:
    """The mutable state of a run between two epochs.

    The random state is not part of it: every epoch seeds anew from (seed, epoch).

    Attributes:
        model: What learns.
        optimizer: Its optimiser.
        scheduler: Its learning-rate schedule, stepped after every epoch.
        epoch: Number of finished epochs.
        best_epoch: Epoch of best.pt, 0 before there is one.
        best_accuracy: Accuracy of best.pt on the watched clips, in per cent.
        rows: The rows of metrics.csv so far.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    rows: list[Row] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only, loadable with weights_only."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "rows": self.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]
        self.best_epoch = state["best_epoch"]
        self.best_accuracy = state["best_accuracy"]
        self.rows = state["rows"]

    def metrics_table(self) -> str:
        """The rows as CSV: one an epoch and split, the named parts of the loss after the loss."""
        fixed = ("epoch", "split", "loss")
        last = ("accuracy", "lr", "seconds", "clips_per_sec")
        parts = sorted({key for row in self.rows for key in row} - {*fixed, *last})
        text = io.StringIO()
        table = csv.DictWriter(text, [*fixed, *parts, *last], restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        return text.getvalue()
