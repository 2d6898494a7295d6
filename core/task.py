"""What is learned: a task turns a batch into named losses; the loop knows only their total."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.train_config import Predict

Batch = dict[str, Tensor]
Details = Mapping[str, npt.NDArray[np.floating]]


class StepOutput(NamedTuple):
    """Losses and scores of one batch of B items and K classes.

    Attributes:
        loss: What is minimised, a scalar.
        parts: Scalars for the log by name: the terms of the loss, and measures.
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
        return StepOutput(loss, {}, logits, batch["label"], self.kept(output))

    def kept(self, output: Any) -> dict[str, Tensor]:
        """Take from what the model returned what becomes a detail of the step."""
        found = {name: getattr(output, name) for name in self.keep}
        return {name: detail for name, detail in found.items() if detail is not None}

    def measure(self, details: Details) -> dict[str, float]:
        """Measure nothing beyond the classes."""
        return {}


class Composition(Classification):
    """Sum of the cross entropies of what the classes are made of, such as their verb and their noun.

    Args:
        model: Returns an object with `logits` and, by name, `parts`; it has `seen`, whether each class was
            learned from.
        inputs: Names of the batch's tensors that the model takes.
        numbers: For each part, its number for each class. Shapes: (K,).
        keep: What else of the returned object becomes a detail of the step; None is passed over.
        entry: Called in place of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[str, ...],
        numbers: Mapping[str, Tensor],
        keep: tuple[str, ...] = (),
        entry: nn.Module | None = None,
    ) -> None:
        super().__init__(model, inputs, keep, entry)
        self.numbers = numbers

    def __call__(self, batch: Batch) -> StepOutput:
        """Classify a batch; its true classes are under "label"."""
        output = self.entry(**{name: batch[name] for name in self.inputs})
        label, losses, details = batch["label"], dict[str, Tensor](), self.kept(output)
        for name, scores in output.parts.items():
            true = self.numbers[name].to(label.device)[label]
            losses[name] = torch.nn.functional.cross_entropy(scores.float(), true)
            details[f"{name}_right"] = scores.detach().argmax(dim=1) == true
        logits = output.logits.float()
        details["right"] = logits.detach().argmax(dim=1) == label
        details["seen"] = self.model.get_buffer("seen")[label]
        return StepOutput(torch.stack(list(losses.values())).sum(), losses, logits, label, details)

    def measure(self, details: Details) -> dict[str, float]:
        """Measure the parts, each by its own head, in per cent.

        Returns:
            "verb_alone" and so on for each part; "composed", where all parts are right, the classes being any
            combination; and where there are classes without training clips, "unseen", the accuracy among
            their items, "unseen_composed" and "n_unseen".
        """
        right = {name: details[f"{name}_right"] > 0 for name in self.numbers}
        found = {f"{name}_alone": 100.0 * float(hits.mean()) for name, hits in right.items()}
        both = np.logical_and.reduce(list(right.values()))
        found["composed"] = 100.0 * float(both.mean())
        if (unseen := details["seen"] == 0).any():
            found["unseen"] = 100.0 * float(details["right"][unseen].mean())
            found["unseen_composed"] = 100.0 * float(both[unseen].mean())
            found["n_unseen"] = float(unseen.sum())
        return found


class AndPictures:
    """A task on clips, and beside it the classes of pictures, by a second head: L = L_clips + w * L_pictures.

    OmniSource (Duan et al., ECCV 2020) learns so from more than clips: a loss for each source over one
    network. Each picture is shown as a still clip, in a pass of its own. In this pass batch norms in train
    mode normalise by the pictures' statistics; the running statistics, which the test uses, come from the
    clips alone. For items without pictures, as those of a test, the output is the task's own.

    Args:
        task: What is learned from the clips.
        still: Turns pictures (B, 1, 3, H, W) into still clips (B, T, 3, H, W).
        head: Turns the features of the still clips (B, D) into scores of P classes (B, P).
        weight: The weight w.
        entry: The model, or what is called in its place.
    """

    def __init__(
        self,
        task: Task,
        still: Callable[[Tensor], Tensor],
        head: Callable[[Tensor], Tensor],
        weight: float,
        entry: nn.Module,
    ) -> None:
        self.task, self.still, self.head, self.weight, self.entry = task, still, head, weight, entry

    @property
    def model(self) -> nn.Module:
        """The model whose parameters learn."""
        return self.task.model

    def __call__(self, batch: Batch) -> StepOutput:
        """Learn from clips, and from the batch's "pictures" (B, 1, 3, H, W) with their "picture_label" (B,).

        Returns:
            The task's output, with "clips" and "pictures" among its parts, which are the two losses, and
            "pictures_accuracy" in per cent.
        """
        output = self.task(batch)
        if "pictures" not in batch:
            return output
        with statistics_kept(self.model):
            features = self.entry(frames=self.still(batch["pictures"])).features
        scores, label = self.head(features).float(), batch["picture_label"]
        loss = torch.nn.functional.cross_entropy(scores, label)
        right = (scores.detach().argmax(dim=1) == label).float().mean()
        found = {"clips": output.loss, "pictures": loss, "pictures_accuracy": 100.0 * right}
        return output._replace(loss=output.loss + self.weight * loss, parts={**output.parts, **found})

    def measure(self, details: Details) -> dict[str, float]:
        """Measure what the task on clips measures."""
        return self.task.measure(details)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms as they are, in whatever mode these run."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:  # in eval mode it normalises by its statistics all the same
        norm.track_running_stats = norm.track_running_stats and not norm.training
    try:
        yield
    finally:
        for norm, before in zip(norms, tracked, strict=True):
            norm.track_running_stats = before
