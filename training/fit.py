"""The training loop, the same for every stage of every network."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import get_total_norm

from core.errors import UserError
from core.progress import progress_bar
from core.ranks import ONE, Batches, Ranks, count_items
from core.seeding import seed_everything
from core.stage import Stage
from core.task import Batch, Task
from metrics.predictions import Predictions
from training.evaluate import predict
from training.record import Recorder, Row, TrainingState, learned
from training.step import Broken, Step, Tally

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True)
class TrainingSet:
    """The items to learn from.

    Attributes:
        keys: Name of each item.
        batches: Makes the batches of an epoch, counted from 1, with each item once.
        counted: What the items are, in the plural.
        beside: Names of what comes with the items by chance, such as pictures.
    """

    keys: tuple[str, ...]
    batches: Callable[[int], Batches]
    counted: str = "clips"
    beside: tuple[str, ...] = ()


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
        graphs: Take steps as one CUDA graph where that gives the same.
    """

    seed: int
    device: torch.device
    bf16: bool = False
    eval_every: int = 1
    look_every_sec: float = 1.0
    graphs: bool = False


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
        if settings.graphs:
            from training.graphs import GraphedStep

            self.step = GraphedStep(self.step, task.model, ranks.say)
        self.found: Predictions | None = None

    def run(self) -> None:
        """Train the epochs that are left; each is recorded before the next begins.

        Raises:
            UserError: The loss or a weight stopped being finite, and the items of the batch are named; or
                the run's folder is gone.
            OSError: The run's files can't be written.
        """
        state, settings, ranks = self.state, self.settings, self.ranks
        steps = len(self.sets.train.batches(state.epoch + 1))
        done, total = steps * state.epoch, steps * self.stage.epochs
        title, shown = self.stage.name, ranks.first
        with progress_bar(total=total, initial=done, title=title, unit="step", shown=shown) as bar:
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
        self.recorder.tend()
        if self.ranks.size == 1:  # several stop together, at the end of the epoch
            self._stop_if_broken(epoch, [tally.broken])

    def measure(self, epoch: int) -> Row:
        """Measure on the validation set."""
        start, validation = time.monotonic(), self.sets.validation
        show = f"measuring after epoch {epoch}"
        found = predict(self.task, validation.batches, validation.keys, show=show, ranks=self.ranks)
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
