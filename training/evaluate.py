"""Running a task over a set without learning."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from core.errors import UserError
from core.ranks import ONE, Ranks
from core.task import Batch, Task
from metrics.accuracy import Floats, Ints
from metrics.predictions import Predictions, check_logits


@torch.no_grad()
def predict(
    task: Task,
    batches: Iterable[Batch],
    keys: tuple[str, ...],
    *,
    show: str = "",
    ranks: Ranks = ONE,
) -> Predictions:
    """Run a task in eval mode; the modes of its modules are put back afterwards.

    Args:
        task: What to run.
        batches: Every item once, each with its position in `keys` under "clip"; of several processes each
            has its part, and all get the whole.
        keys: Name of each item.
        show: Title of the progress bar; none is shown when empty.
        ranks: The processes of the training.

    Raises:
        UserError: There is no item at all, or the scores are no logits; see `check_logits`.
    """
    modes = {module: module.training for module in task.model.modules()}
    task.model.eval()
    try:
        silent = None if show and ranks.first else True
        rows = [_row(task, batch) for batch in tqdm(batches, desc=show, disable=silent)]
    finally:
        for module, training in modes.items():
            module.training = training
    rows = [row for part in ranks.gather(rows) for row in part]
    if not rows:
        raise UserError("nothing to evaluate: the set has no clips")
    return _joined(task, rows, keys)


class _Row(NamedTuple):
    """What one batch gave."""

    items: Ints
    labels: Ints
    logits: Floats
    losses: dict[str, float]
    details: dict[str, Floats]


def _row(task: Task, batch: Batch) -> _Row:
    device = next(task.model.parameters()).device
    output = task({name: tensor.to(device) for name, tensor in batch.items()})
    losses = {"loss": float(output.loss)} | {name: float(part) for name, part in output.parts.items()}
    return _Row(
        batch["clip"].numpy().astype(np.int64),
        output.labels.cpu().numpy().astype(np.int64),
        output.logits.float().cpu().numpy(),
        losses,
        {name: detail.float().cpu().numpy() for name, detail in output.details.items()},
    )


def _joined(task: Task, rows: list[_Row], keys: tuple[str, ...]) -> Predictions:
    items = np.concatenate([row.items for row in rows])
    assert len(items) == len(set(items.tolist())), "an item was evaluated twice"
    weights = np.array([len(row.items) for row in rows])
    means = {
        name: float(np.average([row.losses[name] for row in rows], weights=weights))
        for name in rows[0].losses
    }
    assert len(items) == len(keys), f"{len(keys)} items were to be evaluated, {len(items)} were"
    order = np.argsort(items)  # processes have every so-manieth of them
    details = {name: np.concatenate([row.details[name] for row in rows])[order] for name in rows[0].details}
    logits = np.concatenate([row.logits for row in rows])[order]
    check_logits(logits, keys)
    return Predictions(
        keys=keys,
        labels=np.concatenate([row.labels for row in rows])[order],
        logits=logits,
        loss=means.pop("loss"),
        parts=means,
        measures=task.measure(details),
        details=details,
    )
