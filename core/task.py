"""What is learned: a task turns a batch into named losses; the loop knows only their total."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
Details = Mapping[str, npt.NDArray[np.floating]]


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


class Classification:
    """Cross entropy of a model's logits against the label of each item."""

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[str, ...],
        keep: tuple[str, ...] = (),
        entry: nn.Module | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: Returns an object with `logits`.
            inputs: Names of the batch's tensors that the model takes, which are also its arguments' names.
            keep: What else of the returned object becomes a detail of the step; None is passed over.
            entry: Called in place of the model, such as `models.base.Entry`.
        """
        self.model = model
        self.inputs = inputs
        self.keep = keep
        self.entry = model if entry is None else entry

    def __call__(self, batch: Batch) -> StepOutput:
        """Classify a batch; its true classes are under "label"."""
        output = self.entry(**{name: batch[name] for name in self.inputs})
        logits = output.logits.float()
        loss = torch.nn.functional.cross_entropy(logits, batch["label"])
        kept = {name: getattr(output, name) for name in self.keep}
        details = {name: detail for name, detail in kept.items() if detail is not None}
        return StepOutput(loss, {}, logits, batch["label"], details)

    def measure(self, details: Details) -> dict[str, float]:
        """Measure nothing beyond the classes."""
        return {}
