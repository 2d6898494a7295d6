"""Measuring a task on a set: its predictions, and the results of a run that has ended."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from core.errors import UserError
from core.ranks import ONE, Ranks
from core.task import Batch, Task
from metrics.accuracy import Floats, Ints
from metrics.predictions import Predictions, check_logits, unpredicted_note


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
        silent = None if show and ranks.first else True
        results = [_result(task, batch) for batch in tqdm(batches, desc=show, disable=silent)]
    finally:
        for module, training in modes.items():
            module.training = training
    results = [result for part in ranks.gather(results) for result in part]
    if not results:
        raise UserError("nothing to evaluate: the set has no clips")
    return _joined(task, results, keys)


class _Result(NamedTuple):
    """What one batch gave."""

    items: Ints
    labels: Ints
    logits: Floats
    losses: dict[str, float]
    details: dict[str, Floats]


def _result(task: Task, batch: Batch) -> _Result:
    device = next(task.model.parameters()).device
    output = task({name: tensor.to(device) for name, tensor in batch.items()})
    losses = {"loss": float(output.loss)} | {name: float(part) for name, part in output.parts.items()}
    return _Result(
        batch["clip"].numpy().astype(np.int64),
        output.labels.cpu().numpy().astype(np.int64),
        output.logits.float().cpu().numpy(),
        losses,
        {name: detail.float().cpu().numpy() for name, detail in output.details.items()},
    )


def _joined(task: Task, results: list[_Result], keys: tuple[str, ...]) -> Predictions:
    items = np.concatenate([result.items for result in results])
    assert len(items) == len(set(items.tolist())), "an item was evaluated twice"
    assert len(items) == len(keys), f"{len(keys)} items were to be evaluated, {len(items)} were"
    order = np.argsort(items)  # rank r of N has the items r, r + N, ...
    weights = np.array([len(result.items) for result in results])
    means = {
        name: float(np.average([result.losses[name] for result in results], weights=weights))
        for name in results[0].losses
    }
    details = {
        name: np.concatenate([result.details[name] for result in results])[order]
        for name in results[0].details
    }
    logits = np.concatenate([result.logits for result in results])[order]
    check_logits(logits, keys)
    return Predictions(
        keys=keys,
        labels=np.concatenate([result.labels for result in results])[order],
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
