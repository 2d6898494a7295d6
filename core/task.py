"""What is learned: a task turns a batch into named losses; the loop knows only their total."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
Details = Mapping[str, npt.NDArray[np.floating]]
Predict = Literal["last", "every-frame", "every-frame-rising"]
"""What is learned from: the scores after a clip's last frame, or those after each frame, weighted alike or by
t / T."""


class StepOutput(NamedTuple):
    """Losses and scores of one batch of B items and K classes.

    Attributes:
        loss: What is minimised, a scalar.
        parts: The terms of the loss by name, scalars, for the log.
        logits: Class scores. Shape: (B, K).
        labels: True classes. Shape: (B,).
        details: Whatever else the task's `measure` needs, by name, a row an item. Shapes: (B, ...).
    """

    loss: Tensor
    parts: dict[str, Tensor]
    logits: Tensor
    labels: Tensor
    details: dict[str, Tensor] = {}


class Task(Protocol):
    """A model together with what it is trained for."""

    @property
    def model(self) -> nn.Module:
        """The model whose parameters learn."""

    def __call__(self, batch: Batch) -> StepOutput:
        """Run the model on a batch and compute its losses."""

    def measure(self, details: Details) -> dict[str, float]:
        """Turn the details of all items of a set, joined along the first axis, into numbers by name."""


def action_loss(logits: Tensor, along: Tensor | None, labels: Tensor, predict: Predict = "last") -> Tensor:
    """Cross entropy of the actions: sum_t w_t CE_t / sum_t w_t, averaged over the items.

    With "every-frame" all w_t are 1 (LRCN, RU-LSTM), with "every-frame-rising" w_t = t / T ("Beyond short
    snippets", section 3.3); "last" takes the scores after the last frame alone.

    Args:
        logits: Scores after the last frame. Shape: (B, K).
        along: Scores after each frame, which "last" does not need. Shape: (B, T, K).
        labels: True classes. Shape: (B,).
        predict: Which scores are learned from.

    Returns:
        A scalar, in float32.
    """
    if predict == "last":
        return torch.nn.functional.cross_entropy(logits.float(), labels)
    assert along is not None, "the model was not asked for its scores after each frame"
    T = along.shape[1]
    losses = torch.stack([torch.nn.functional.cross_entropy(along[:, t].float(), labels) for t in range(T)])
    weights = torch.ones_like(losses)
    if predict == "every-frame-rising":
        weights = torch.arange(1, T + 1, device=losses.device, dtype=losses.dtype) / T
    return (weights * losses).sum() / weights.sum()


class Classification:
    """Cross entropy of a model's logits against the label of each item."""

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[str, ...],
        keep: tuple[str, ...] = (),
        entry: nn.Module | None = None,
        predict: Predict = "last",
    ) -> None:
        """Wrap a model.

        Args:
            model: Returns an object with `logits`, and with `along` where frames are learned from.
            inputs: Names of the batch's tensors that the model takes, which are also its arguments' names.
            keep: What else of the returned object becomes a detail of the step; None is passed over.
            entry: Called in place of the model, such as `models.base.Entry`.
            predict: Which scores are learned from.
        """
        self.model = model
        self.inputs = inputs
        self.keep = keep
        self.entry = model if entry is None else entry
        self.predict = predict

    def __call__(self, batch: Batch) -> StepOutput:
        """Classify a batch; its true classes are under "label"."""
        output = self.entry(**{name: batch[name] for name in self.inputs})
        logits = output.logits.float()
        along = None if self.predict == "last" else output.along
        loss = action_loss(logits, along, batch["label"], self.predict)
        kept = {name: getattr(output, name) for name in self.keep}
        details = {name: detail for name, detail in kept.items() if detail is not None}
        return StepOutput(loss, {}, logits, batch["label"], details)

    def measure(self, details: Details) -> dict[str, float]:
        """Measure nothing beyond the classes."""
        return {}
