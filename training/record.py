"""What a training has learned, and the files that keep it, which another thread writes from a copy."""

import csv
import io
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import UserError
from core.files import write_text
from core.ranks import ONE, Ranks
from core.run_dir import RunDirectory
from training.step import Moment

Row = dict[str, Any]
"""One row of metrics.csv: an epoch on one split."""

# Parts of a checkpoint's description that a resumed run has to repeat, as messages call them.
_SAME_ON_RESUME = {
    "class_names": "classes",
    "items": "clips or pictures",
    "images": "frames of the clips",
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

    def copy(self) -> dict[str, Any]:
        """Return what `state_dict` does, as it is now, laid out plainly; frozen parameters are not copied."""
        state, changing = self.state_dict(), set(learned(self.model))
        plainly = partial(torch.clone, memory_format=torch.contiguous_format)
        for name, value in state["model"].items():
            if name in changing:
                state["model"][name] = plainly(value)
        for name in ("optimizer", "scheduler"):
            state[name] = _mapped(state[name], plainly)
        return state | {"rows": list(self.rows)}  # a row is never changed


def learned(model: nn.Module) -> dict[str, Tensor]:
    """Return what a stage changes of a model's state: parameters that learn, and all buffers."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Copy a tree of dictionaries and lists, with its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict | list):
        made = copy(value)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            made[key] = _mapped(item, change)
        return made
    return value


@dataclass(frozen=True)
class _Copy:
    """A run's state after an epoch, which nothing changes any more.

    Attributes:
        last: Content of last.pt, but for the description.
        best: The same of best.pt, None where it is on the disk already.
        made: When the tensors are there.
    """

    last: dict[str, Any]
    best: dict[str, Any] | None
    made: Moment

    def on_cpu(self) -> "tuple[dict[str, Any], dict[str, Any] | None]":
        """Return both with their tensors on the CPU; what trains does not wait for it."""
        with self.made.reached():
            return _mapped(self.last, Tensor.cpu), _mapped(self.best, Tensor.cpu)


class Recorder:
    """Writes a run's files: TensorBoard's, best.pt, metrics.csv and last.pt, each whole.

    A copy of the state is made after every epoch, and the latest is written by a thread of its own: at once
    where the last writing is `every_sec` ago, else when it is, and at the end, whatever the end is. So a
    training that is killed loses `every_sec` and the epoch in progress, one that is told to leave only the
    latter. At most two copies are held, the one that is being written and the latest.

    Use it as a context manager. Of several ranks the first one writes.
    """

    def __init__(
        self, run: RunDirectory, description: dict[str, Any], ranks: Ranks = ONE, every_sec: float = 0.0
    ) -> None:
        """Write to `run`; nothing is opened yet.

        Args:
            run: The folder, claimed.
            description: What checkpoints say about the model: architecture, class names, preprocessing,
                config, items.
            ranks: The processes of the training.
            every_sec: Seconds from the start of one writing to that of the next.
        """
        self.run = run
        self.description = description
        self.ranks = ranks
        self.every_sec = every_sec
        self._board: SummaryWriter | None = None
        self._waiting: _Copy | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writes checkpoints")
        self._writing: Future[None] | None = None
        self._began = -math.inf

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
            self._finish_best(state.best_epoch)
            self._board = SummaryWriter(str(self.run.tensorboard), purge_step=state.epoch + 1)

    def _finish_best(self, epoch: int) -> None:
        """Give a best.pt that waits for its name that name, if it is of the epoch that last.pt says."""
        if self.run.next_best.exists():
            if load_checkpoint(self.run.next_best).get("epoch") == epoch:
                os.replace(self.run.next_best, self.run.best)
            self.run.next_best.unlink(missing_ok=True)

    def record(self, state: TrainingState, rows: list[Row]) -> None:
        """Record an epoch that has ended.

        Args:
            state: The state after the epoch; gains the rows and, where it is the best yet, the selection.
            rows: The epoch's training row, and its validation row where it was measured.

        Raises:
            UserError: The run's folder is gone.
            OSError: What was recorded before could not be written.
        """
        state.rows += rows
        measured = rows[-1]
        if measured["split"] != "train" and measured["accuracy"] > state.best_accuracy:
            state.best_accuracy, state.best_epoch = measured["accuracy"], state.epoch
        if self._board is None:
            return
        self.run.refuse_if_gone()
        for row in rows:
            for name, value in row.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{name}/{row['split']}", value, row["epoch"])
        last, best = state.copy(), None if self._waiting is None else self._waiting.best
        if state.best_epoch == state.epoch:
            best = {"model": last["model"], "epoch": state.epoch, "selected_on": measured["split"]}
        self._waiting = _Copy(last, best, Moment(next(state.model.parameters()).device))
        self.tend()

    def tend(self) -> None:
        """Start a writing that is due, and raise what went wrong in the last one."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        due = time.monotonic() - self._began >= self.every_sec
        if self._waiting is not None and self._writing is None and due:
            self._write_latest()

    def _write_latest(self) -> None:
        assert self._waiting is not None
        self._began = time.monotonic()
        self._writing = self._writer.submit(self._write, self._waiting)
        self._waiting = None

    def _write(self, made: _Copy) -> None:
        """Write a copy. last.pt decides: a best.pt gets its name only when last.pt speaks of it."""
        assert self._board is not None
        last, best = made.on_cpu()
        self.run.refuse_if_gone()
        self._board.flush()
        if best is not None:
            save_checkpoint(self.run.next_best, best | self.description)
        write_text(self.run.metrics, metrics_table(last["rows"]))
        save_checkpoint(self.run.last, last | self.description)
        if best is not None:
            os.replace(self.run.next_best, self.run.best)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is not written yet, after an error too: it is the state that the error leaves."""
        try:
            if self._writing is not None:
                writing, self._writing = self._writing, None
                writing.result()
            if self._waiting is not None:
                self._write_latest()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._writer.shutdown(wait=kind is None)
            if self._board is not None:
                # After an error, one of TensorBoard's own thread is a consequence and would hide the cause.
                with suppress(*([OSError] if kind else [])):
                    self._board.close()
        if kind is None:
            self.ranks.wait()  # the others read these files too


def metrics_table(rows: list[Row]) -> str:
    """Write rows as CSV: the named parts of the loss stand after the loss."""
    first, last = ("epoch", "split", "loss"), ("accuracy", "lr", "seconds", "clips_per_sec")
    parts = sorted({key for row in rows for key in row} - {*first, *last})
    text = io.StringIO()
    table = csv.DictWriter(text, [*first, *parts, *last], restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
