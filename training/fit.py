"""The training loop, the same for every stage of every stream."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.checkpoint import save_checkpoint
from core.errors import UserError
from core.files import write_text
from core.ranks import ONE, Ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything
from core.shared_norm import count_items
from core.stage import Stage
from core.task import Batch, StepOutput, Task
from metrics.predictions import Predictions
from training.evaluate import predict
from training.state import Row, TrainingState


class Batches(Iterable[Batch], Sized, Protocol):
    """Batches of a known number, such as a DataLoader."""


@dataclass(frozen=True)
class TrainingSet:
    """What is learned from.

    Attributes:
        keys: Name of each item.
        batches: The batches of an epoch (counted from 1), each item once; of several processes each has its
            part of them.
    """

    keys: tuple[str, ...]
    batches: Callable[[int], Batches]


@dataclass(frozen=True)
class EvaluationSet:
    """What is measured on.

    Attributes:
        split: "test", "val" or "train".
        keys: Name of each item.
        batches: Each item once; of several processes each has its part of them.
        protocol: What is shown of an item, in words for eval.json.
    """

    split: str
    keys: tuple[str, ...]
    batches: Batches
    protocol: str = "all of it"


@dataclass(frozen=True)
class FitSettings:
    """How the loop runs.

    Attributes:
        seed: Seed of every epoch's random numbers.
        device: Where to compute.
        bf16: Compute what is trained in bfloat16.
        eval_every: Measure on the watched set after every so many epochs, and after the last.
    """

    seed: int
    device: torch.device
    bf16: bool = False
    eval_every: int = 1


def fit(
    task: Task,
    stage: Stage,
    training: TrainingSet,
    watched: EvaluationSet,
    run: RunDirectory,
    settings: FitSettings,
    description: dict[str, Any],
    ranks: Ranks = ONE,
) -> tuple[TrainingState, Predictions | None]:
    """Train for the stage's epochs, from the run's last saved epoch if there is one.

    After every epoch the schedule steps, then best.pt, metrics.csv and last.pt are written, each whole.

    Args:
        task: Model and losses; the model is on the device.
        stage: What is trained and how.
        training: The training items.
        watched: Items that best.pt is selected on.
        run: Where results go.
        settings: How the loop runs.
        description: What checkpoints say about the model: architecture, class names, preprocessing, config.
        ranks: The processes of the training.

    Returns:
        The state after the last epoch, and what it says about the watched set; None if no epoch was left.

    Raises:
        UserError: The loss or a weight stopped being finite, and the items of the batch are named; what is
            resumed was begun with other data; or the run's folder is gone.
    """
    stage.freeze(task.model)
    optimizer = stage.build_optimizer(task.model)
    state = TrainingState(task.model, optimizer, stage.build_scheduler(optimizer))
    if run.last.exists():
        saved = run.checkpoint("last")
        _refuse_other_data(saved, description, run)
        state.load_state_dict(saved)
    parallel = ranks.data_parallel(task)
    found: Predictions | None = None
    with (
        _board(run, state, ranks) as board,
        _progress(stage, state, training, ranks) as bar,
    ):
        while state.epoch < stage.epochs:
            epoch = state.epoch + 1
            # Processes would otherwise drop the same units of different items.
            seed_everything(settings.seed, epoch, *([ranks.rank] if ranks.rank else []))
            stage.set_modes(task.model)
            batches = _TimedBatches(training.batches(epoch))
            rows = [_train_epoch(task, parallel, state, training, batches, epoch, settings, bar, ranks)]
            state.scheduler.step()
            if epoch % settings.eval_every == 0 or epoch == stage.epochs:
                row, found = _measure(task, watched, epoch, ranks)
                rows.append(row)
            state.epoch = epoch
            _record(state, rows, run, board, description, ranks)
            if ranks.first:
                bar.write(_line(rows, stage.epochs, batches.waited_sec))
    return state, found


class _TimedBatches:
    """Batches, and how long was waited for them."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.waited_sec = 0.0

    def __iter__(self) -> Iterator[Batch]:
        start = time.monotonic()
        for batch in self.batches:
            self.waited_sec += time.monotonic() - start
            yield batch
            start = time.monotonic()


def _train_epoch(
    task: Task,
    parallel: Callable[[Batch], StepOutput],
    state: TrainingState,
    training: TrainingSet,
    batches: Iterable[Batch],
    epoch: int,
    settings: FitSettings,
    bar: "tqdm[Any]",
    ranks: Ranks,
) -> Row:
    start = time.monotonic()
    sums: dict[str, float] = {}
    right = items = 0
    lr = state.optimizer.param_groups[0]["lr"]
    for cpu_batch, share in ranks.matched(iter(batches)):
        batch = {name: tensor.to(settings.device, non_blocking=True) for name, tensor in cpu_batch.items()}
        count_items(task.model, share > 0)
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.bf16):
            output = parallel(batch)
        losses = {"loss": output.loss, **output.parts}
        values = {name: float(value.detach()) for name, value in losses.items()}
        _stop_unless_finite(values, cpu_batch if share else {}, training.keys, epoch, ranks)
        state.optimizer.zero_grad(set_to_none=True)
        (output.loss * share * ranks.size).backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        count = len(output.labels) if share else 0
        items += count
        right += int((output.logits.argmax(dim=1) == output.labels)[:count].sum())
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * count
        bar.set_postfix(epoch=epoch, loss=f"{sums['loss'] / max(items, 1):.3f}", refresh=False)
        bar.update()
    _stop_unless_sound(task.model, cpu_batch, training.keys, epoch)
    seconds = time.monotonic() - start
    all_items, all_right, *totals = ranks.total(items, right, *sums.values())
    means = {name: total / all_items for name, total in zip(sums, totals, strict=True)}
    return _row(epoch, "train", means, 100.0 * all_right / all_items, lr, seconds, int(all_items))


def _measure(task: Task, watched: EvaluationSet, epoch: int, ranks: Ranks) -> tuple[Row, Predictions]:
    start = time.monotonic()
    found = predict(task, watched.batches, watched.keys, ranks=ranks)
    accuracy = 100.0 * float((found.logits.argmax(axis=1) == found.labels).mean())
    means = {"loss": found.loss, **found.parts, **found.measures}
    seconds = time.monotonic() - start
    return _row(epoch, watched.split, means, accuracy, "", seconds, len(found.labels)), found


def _row(
    epoch: int, split: str, means: dict[str, float], accuracy: float, lr: Any, seconds: float, items: int
) -> Row:
    speed = {"seconds": round(seconds, 3), "clips_per_sec": round(items / max(seconds, 1e-9), 2)}
    return {"epoch": epoch, "split": split, **means, "accuracy": accuracy, "lr": lr, **speed}


@contextmanager
def _board(run: RunDirectory, state: TrainingState, ranks: Ranks) -> Iterator[SummaryWriter | None]:
    """Open TensorBoard's files, in the process that writes."""
    if not ranks.first:
        yield None
        return
    board = SummaryWriter(str(run.tensorboard), purge_step=state.epoch + 1)
    try:
        yield board
    except BaseException:
        with suppress(OSError):  # of its own thread: not what stopped the training, but what followed
            board.close()
        raise
    board.close()


def _record(
    state: TrainingState,
    rows: list[Row],
    run: RunDirectory,
    board: SummaryWriter | None,
    description: dict[str, Any],
    ranks: Ranks,
) -> None:
    state.rows += rows
    measured = rows[-1]
    if measured["split"] != "train" and measured["accuracy"] > state.best_accuracy:
        state.best_accuracy, state.best_epoch = measured["accuracy"], state.epoch
    if board is not None:
        _write(state, rows, run, board, description)
    ranks.wait()  # so that whoever reads these files finds them


def _write(
    state: TrainingState,
    rows: list[Row],
    run: RunDirectory,
    board: SummaryWriter,
    description: dict[str, Any],
) -> None:
    run.refuse_if_gone()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float):
                board.add_scalar(f"{name}/{row['split']}", value, row["epoch"])
    board.flush()
    if state.best_epoch == state.epoch:
        selected = {"epoch": state.epoch, "selected_on": rows[-1]["split"]}
        save_checkpoint(run.best, {"model": state.model.state_dict()} | selected | description)
    write_text(run.metrics, state.metrics_table())
    save_checkpoint(run.last, state.state_dict() | description)


def _stop_unless_finite(
    values: dict[str, float], batch: Batch, keys: tuple[str, ...], epoch: int, ranks: Ranks
) -> None:
    """Stop every process where the loss of one is not finite; those know best whose clips were in it."""
    (broken,) = ranks.total(not _finite(values))
    if not broken:
        return
    clips = batch["clip"].tolist() if batch else []
    found = [part for part in ranks.gather((values, clips)) if not _finite(part[0])]
    names = ", ".join(keys[item] for _, items in found for item in items)
    raise UserError(
        f"the loss is no longer finite in epoch {epoch}: {found[0][0]}, at the clips {names}. {_kept(epoch)}"
    )


def _stop_unless_sound(model: nn.Module, batch: Batch, keys: tuple[str, ...], epoch: int) -> None:
    """Stop before weights are kept that the last step broke; a loss would show them one epoch later."""
    broken = [name for name, value in model.state_dict().items() if not bool(torch.isfinite(value).all())]
    if broken:
        names = ", ".join(keys[item] for item in batch["clip"].tolist())
        raise UserError(
            f"{broken[0]} is no longer finite after the last step of epoch {epoch}, at the clips {names}. "
            f"{_kept(epoch)}"
        )


def _kept(epoch: int) -> str:
    kept = f"The state after epoch {epoch - 1} is kept" if epoch > 1 else "Nothing was learned before"
    return f"{kept}; try a lower --lr, and look at these clips"


def _refuse_other_data(saved: Mapping[str, Any], description: Mapping[str, Any], run: RunDirectory) -> None:
    """Refuse to go on where labels, clips or the network's input would mean something else than before."""
    said = {
        "class_names": "classes",
        "items": "clips",
        "motion_made": "flow or maps",
        "preprocessing": "preprocessing",
        "architecture": "network",
    }
    for key, what in said.items():
        if key in saved and saved[key] != description.get(key):
            raise UserError(
                f"--out {run.path} was begun with other {what} than there are now; bring the data back as it "
                "was, or begin anew in another --out"
            )


def _finite(values: dict[str, float]) -> bool:
    return all(math.isfinite(value) for value in values.values())


def _progress(stage: Stage, state: TrainingState, training: TrainingSet, ranks: Ranks) -> "tqdm[Any]":
    steps = len(training.batches(state.epoch + 1))
    silent = None if ranks.first else True
    total, done = steps * stage.epochs, steps * state.epoch
    return tqdm(total=total, initial=done, desc=stage.name, unit="step", disable=silent)


def _line(rows: list[Row], epochs: int, waited_sec: float) -> str:
    learned = rows[0]
    parts = [f"{row['split']} loss {row['loss']:.3f} accuracy {row['accuracy']:.1f} %" for row in rows]
    waited = 100 * waited_sec / max(learned["seconds"], 1e-9)
    speed = f"{learned['clips_per_sec']:.1f} clips/s, {waited:.0f} % of the time waiting for data"
    return f"epoch {learned['epoch']}/{epochs}: {', '.join(parts)}, {speed}"
