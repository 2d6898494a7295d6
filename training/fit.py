"""The training loop, the same for every stage of every network, and the files it writes after each epoch."""

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.checkpoint import save_checkpoint
from core.errors import UserError
from core.files import write_text
from core.ranks import ONE, Batches, Ranks, count_items
from core.run_dir import RunDirectory
from core.seeding import seed_everything
from core.stage import Stage
from core.task import Batch, Task
from metrics.predictions import Predictions
from training.evaluate import predict
from training.step import Broken, Step, Tally

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


@dataclass(frozen=True)
class TrainingSet:
    """The items to learn from.

    Attributes:
        keys: Name of each item.
        batches: Makes the batches of an epoch, counted from 1, with each item once.
        counted: What the items are, in the plural.
    """

    keys: tuple[str, ...]
    batches: Callable[[int], Batches]
    counted: str = "clips"


@dataclass(frozen=True)
class EvaluationSet:
    """Items to measure on.

    Attributes:
        split: "test", "val" or "train".
        keys: Name of each item.
        batches: Each item once.
        protocol: How much of an item the model is shown, in words for eval.json.
    """

    split: str
    keys: tuple[str, ...]
    batches: Batches
    protocol: str = "all of it"


@dataclass(frozen=True)
class Sets:
    """The items of a run.

    Attributes:
        train: Learned from.
        validation: Measured after epochs, to select best.pt: held-out training items, or the test items,
            which may be shown in a shorter way than for the reported number.
        test: Measured for the reported number.
    """

    train: TrainingSet
    validation: EvaluationSet
    test: EvaluationSet


@dataclass(frozen=True)
class FitSettings:
    """How the loop runs.

    Attributes:
        seed: Seed of every epoch's random numbers.
        device: Where to compute.
        bf16: Compute what is trained in bfloat16.
        eval_every: Measure on the validation set every this many epochs, and after the last.
        look_every_sec: Seconds between two looks at the losses within an epoch.
    """

    seed: int
    device: torch.device
    bf16: bool = False
    eval_every: int = 1
    look_every_sec: float = 1.0


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
                best = {"model": state.model.state_dict(), **selected, **self.description}
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


class Loop:
    """Trains a task for a stage's epochs.

    Attributes:
        state: What learns, and how far it is.
        found: The last measurement on the validation set, None before one.
    """

    def __init__(
        self,
        task: Task,
        stage: Stage,
        sets: Sets,
        recorder: Recorder,
        settings: FitSettings,
        ranks: Ranks = ONE,
    ) -> None:
        """Freeze what the stage does not train, and load the run's last saved epoch if there is one.

        Args:
            task: Model and losses; the model is on the device.
            stage: What is trained, and how.
            sets: Items to learn from and to measure on.
            recorder: Where epochs are recorded; it is open.
            settings: How the loop runs.
            ranks: The processes of the training.

        Raises:
            UserError: The run was begun with other data.
        """
        self.task, self.stage, self.sets = task, stage, sets
        self.recorder, self.settings, self.ranks = recorder, settings, ranks
        stage.freeze(task.model)
        optimizer = stage.build_optimizer(task.model)
        self.state = TrainingState(task.model, optimizer, stage.build_scheduler(optimizer))
        recorder.resume(self.state)
        self.step = Step(ranks.data_parallel(task), optimizer, settings.device, settings.bf16)
        self.found: Predictions | None = None

    def run(self) -> None:
        """Train the epochs that are left; each is recorded before the next begins.

        Raises:
            UserError: The loss or a weight stopped being finite, and the items of the batch are named; or
                the run's folder is gone.
        """
        state, settings, ranks = self.state, self.settings, self.ranks
        steps = len(self.sets.train.batches(state.epoch + 1))
        done, total = steps * state.epoch, steps * self.stage.epochs
        silent = None if ranks.first else True  # None: also silent where there is no terminal
        with tqdm(total=total, initial=done, desc=self.stage.name, unit="step", disable=silent) as bar:
            while state.epoch < self.stage.epochs:
                epoch = state.epoch + 1
                # With one seed, ranks would drop the same units of different items.
                seed_everything(settings.seed, epoch, *([ranks.rank] if ranks.rank else []))
                batches = TimedBatches(self.sets.train.batches(epoch))
                rows = [self.train_epoch(epoch, batches, bar)]
                state.scheduler.step()
                if epoch % settings.eval_every == 0 or epoch == self.stage.epochs:
                    rows.append(self.measure(epoch))
                state.epoch = epoch
                self.recorder.record(state, rows)
                if ranks.first:
                    bar.write(
                        epoch_line(rows, self.stage.epochs, batches.waited_sec, self.sets.train.counted)
                    )

    def train_epoch(self, epoch: int, batches: "TimedBatches", bar: "tqdm[Any]") -> Row:
        """Take a step for each batch; returns the row of metrics.csv, averaged over all ranks' items.

        What the steps find is read from the device at the end, and meanwhile only every `look_every_sec`.
        """
        ranks, model = self.ranks, self.task.model
        start, lr = time.monotonic(), self.state.optimizer.param_groups[0]["lr"]
        self.stage.set_modes(model)
        tally, looked = Tally(self.step), start
        for batch, share in ranks.matched(batches):
            if ranks.size > 1:
                count_items(model, share > 0)
            # Ranks average their gradients; with equal shares, as in one process, the factor is 1.
            found = self.step(batch, share * ranks.size)
            tally.add(found, batch["clip"], len(batch["clip"]) if share else 0)
            if time.monotonic() - looked > self.settings.look_every_sec:
                self._look(epoch, tally, bar)
                looked = time.monotonic()
        self._look(epoch, tally, bar)
        self._stop_if_broken(epoch, ranks.gather(tally.broken))
        self._stop_unless_sound(epoch, batch)
        all_items, all_right, *totals = ranks.total(tally.items, tally.right, *tally.sums.values())
        means = {name: total / all_items for name, total in zip(tally.sums, totals, strict=True)}
        accuracy = 100.0 * all_right / all_items
        return _row(epoch, "train", means, accuracy, lr, time.monotonic() - start, int(all_items))

    def _look(self, epoch: int, tally: Tally, bar: "tqdm[Any]") -> None:
        """Read what the steps have found, and move the bar; a single process also stops where it broke."""
        steps = tally.read()
        loss = tally.sums["loss"] / max(tally.items, 1)
        bar.set_postfix(epoch=epoch, loss=f"{loss:.3f}", refresh=False)
        bar.update(steps)
        if self.ranks.size == 1:  # several stop together, at the end of the epoch
            self._stop_if_broken(epoch, [tally.broken])

    def measure(self, epoch: int) -> Row:
        """Measure on the validation set."""
        start, validation = time.monotonic(), self.sets.validation
        found = predict(self.task, validation.batches, validation.keys, ranks=self.ranks)
        self.found = found
        accuracy = 100.0 * float((found.logits.argmax(axis=1) == found.labels).mean())
        means = {"loss": found.loss, **found.parts, **found.measures}
        seconds = time.monotonic() - start
        return _row(epoch, validation.split, means, accuracy, "", seconds, len(found.labels))

    def _stop_if_broken(self, epoch: int, of_ranks: Sequence[Broken | None]) -> None:
        """Stop where the loss of any rank was not finite, and name the items of the first such step."""
        there = [broken for broken in of_ranks if broken is not None]
        if not there:
            return
        first = min(there, key=lambda broken: broken.step)
        items = [item for broken in there if broken.step == first.step for item in broken.items]
        raise UserError(
            f"the loss is no longer finite in epoch {epoch}: {first.losses}, at the clips "
            f"{self._names(items)}. {_kept(epoch)}"
        )

    def _stop_unless_sound(self, epoch: int, batch: Batch) -> None:
        """Stop before weights are saved that the last step broke; a loss would show them an epoch later."""
        values = {
            name: value for name, value in learned(self.task.model).items() if value.is_floating_point()
        }
        if math.isfinite(get_total_norm(values.values())):  # one reading; large weights may overflow it
            return
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                raise UserError(
                    f"{name} is no longer finite after the last step of epoch {epoch}, at the clips "
                    f"{self._names(batch['clip'].tolist())}. {_kept(epoch)}"
                )

    def _names(self, items: Iterable[int]) -> str:
        return ", ".join(self.sets.train.keys[item] for item in items)


def _kept(epoch: int) -> str:
    kept = f"The state after epoch {epoch - 1} is kept" if epoch > 1 else "Nothing was learned before"
    return f"{kept}; try a lower --lr, and look at these clips"


def _row(
    epoch: int, split: str, means: dict[str, float], accuracy: float, lr: Any, seconds: float, items: int
) -> Row:
    speed = {"seconds": round(seconds, 3), "clips_per_sec": round(items / max(seconds, 1e-9), 2)}
    return {"epoch": epoch, "split": split, **means, "accuracy": accuracy, "lr": lr, **speed}


def learned(model: nn.Module) -> dict[str, Tensor]:
    """Return what a stage changes of a model's state: parameters that learn, and all buffers."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


class TimedBatches:
    """Batches that measure how long the loop waits for them, in seconds of `clock`."""

    def __init__(self, batches: Batches, clock: Callable[[], float] = time.monotonic) -> None:
        self.batches = batches
        self.clock = clock
        self.waited_sec = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        start = self.clock()
        for batch in self.batches:
            self.waited_sec += self.clock() - start
            yield batch
            start = self.clock()


def epoch_line(rows: list[Row], epochs: int, waited_sec: float, counted: str = "clips") -> str:
    """Sum an epoch up for the terminal."""
    learned = rows[0]
    parts = [f"{row['split']} loss {row['loss']:.3f} accuracy {row['accuracy']:.1f} %" for row in rows]
    waited = 100 * waited_sec / max(learned["seconds"], 1e-9)
    speed = f"{learned['clips_per_sec']:.1f} {counted}/s, {waited:.0f} % of the time waiting for data"
    return f"epoch {learned['epoch']}/{epochs}: {', '.join(parts)}, {speed}"
