"""Measuring a task on a set: its predictions, and the results of a run that has ended."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.progress import progress_bar
from core.ranks import ONE, Ranks
from core.task import Batch, StepOutput, Task
from metrics.accuracy import Floats, Ints, turned
from metrics.predictions import Predictions, Relations, check_logits, unpredicted_note


@torch.no_grad()
def predict(
    task: Task, batches: Iterable[Batch], keys: tuple[str, ...], *, show: str = "", ranks: Ranks = ONE
) -> Predictions:
    """Run a task in eval mode; the modes of its modules are restored afterwards.

    Args:
        task: Model and losses.
        batches: Every item once, with its position in `keys` under "clip"; each rank has its part, and all
            return the whole.
        keys: Name of each item.
        show: Title of the progress bar; none is shown when empty.
        ranks: The processes of the training.

    Raises:
        UserError: There are no items, or the scores are no logits; see `check_logits`.
    """
    modes = {module: module.training for module in task.model.modules()}
    task.model.eval()
    try:
        shown = bool(show) and ranks.first
        bar = progress_bar(batches, title=show, unit="batch", shown=shown)
        outputs = [_run(task, batch) for batch in bar]
    finally:
        for module, training in modes.items():
            module.training = training
    found = [part for part in ranks.gather(_from_device(outputs)) if part is not None]
    if not found:
        raise UserError("nothing to evaluate: the set has no clips")
    return _joined(task, found, keys)


def predict_along(
    task: Task, batches: Iterable[Batch], keys: tuple[str, ...], *, show: str = "", ranks: Ranks = ONE
) -> Predictions:
    """Run a task as `predict` does; the scores after each frame (N, T, K) are among the details, as "along".

    Args:
        task: Of a `ClipModel` that `reads_along`; it keeps "along".
        batches: As of `predict`.
        keys: As of `predict`.
        show: As of `predict`.
        ranks: As of `predict`.
    """
    model: Any = task.model
    before, model.every_frame = model.every_frame, True
    try:
        return predict(task, batches, keys, show=show, ranks=ranks)
    finally:
        model.every_frame = before


class _Reversed(Iterable[Batch]):
    """Batches whose tensors of these names have their frames, the second axis, in reverse."""

    def __init__(self, batches: Iterable[Batch], names: tuple[str, ...]) -> None:
        self.batches, self.names = batches, names

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield {n: tensor.flip(1) if n in self.names else tensor for n, tensor in batch.items()}


def measure_turned(
    task: Task,
    inputs: tuple[str, ...],
    batches: Iterable[Batch],
    found: Predictions,
    relations: Relations,
    *,
    ranks: Ranks = ONE,
) -> dict[str, float]:
    """Measure how often a decision between an action and its reverse in time changes with reversed frames.

    Args:
        task: Of a network that sees nothing but frames, or what is kept of them.
        inputs: Names of the tensors in a batch that it takes, each with the frames along its second axis.
        batches: Every item once.
        found: The predictions for them.
        relations: Rivals of the classes.
        ranks: The processes of the training.

    Returns:
        "turned", in per cent (`metrics.accuracy.turned`); empty where no item's action has a reverse.
    """
    rivals = relations.rivals
    if rivals is None or not (rivals[found.labels] >= 0).any():
        return {}
    backwards = predict(task, _Reversed(batches, inputs), found.keys, ranks=ranks)
    share = turned(found.logits, backwards.logits, found.labels, rivals)
    return {} if share is None else {"turned": share}


def _run(task: Task, batch: Batch) -> tuple[Tensor, StepOutput]:
    """Run a batch; nothing waits for the device. Returns its items, and what the task made of them."""
    device = next(task.model.parameters()).device
    return batch["clip"], task({name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()})


class _Found(NamedTuple):
    """What the batches of one rank gave."""

    sizes: list[int]
    items: Ints
    labels: Ints
    logits: Floats
    losses: dict[str, list[float]]  # of each batch
    details: dict[str, Floats]


def _from_device(outputs: list[tuple[Tensor, StepOutput]]) -> _Found | None:
    """Join the batches and copy them to the CPU once; None where there are none."""
    if not outputs:
        return None
    clips, made = zip(*outputs, strict=True)
    losses = [{"loss": output.loss, **output.parts} for output in made]
    details = [output.details for output in made]
    return _Found(
        [len(part) for part in clips],
        torch.cat(clips).long().cpu().numpy(),
        torch.cat([output.labels for output in made]).long().cpu().numpy(),
        torch.cat([output.logits.float() for output in made]).cpu().numpy(),
        {name: torch.stack([values[name] for values in losses]).tolist() for name in losses[0]},
        {name: torch.cat([part[name].float() for part in details]).cpu().numpy() for name in details[0]},
    )


def _joined(task: Task, found: list[_Found], keys: tuple[str, ...]) -> Predictions:
    items = np.concatenate([part.items for part in found])
    assert len(items) == len(set(items.tolist())), "an item was evaluated twice"
    assert len(items) == len(keys), f"{len(keys)} items were to be evaluated, {len(items)} were"
    order = np.argsort(items)  # rank r of N has the items r, r + N, ...
    sizes = [size for part in found for size in part.sizes]
    means = {
        name: float(np.average([value for part in found for value in part.losses[name]], weights=sizes))
        for name in found[0].losses
    }
    details = {
        name: np.concatenate([part.details[name] for part in found])[order] for name in found[0].details
    }
    logits = np.concatenate([part.logits for part in found])[order]
    check_logits(logits, keys)
    return Predictions(
        keys=keys,
        labels=np.concatenate([part.labels for part in found])[order],
        logits=logits,
        loss=means.pop("loss"),
        parts=means,
        measures=task.measure(details),
        details=details,
    )


def result_line(summary: Mapping[str, Any]) -> str:
    """Say in one line what eval.json holds: accuracy, how sure it is, how its epoch was chosen."""
    interval = f"95 % interval {summary['ci95_low']:.1f} to {summary['ci95_high']:.1f}"
    # A checkpoint that others trained does not say after how many epochs.
    epoch = f"epoch {summary['epoch']} ({summary['selection']})" if summary["epoch"] else summary["selection"]
    line = f"top-1 {summary['top1']:.1f} % ({interval}) on {summary['n_clips']} clips, {epoch}"
    if note := unpredicted_note(summary):
        line += f"; {note}"
    selected = summary.get("selected")
    if selected is None or selected["epoch"] == summary["epoch"]:
        return line
    return f"{line}; {selected['selection']}: {selected['top1']:.1f} %, epoch {selected['epoch']}"
