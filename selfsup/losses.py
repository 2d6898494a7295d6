"""The loss of a motion head, cell by cell, and its reduction over the cells of a frame.

Axes: B clips, T frames, n cells a side.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.settings import ActivationName, LossName, MotionSettings, ReductionName


@dataclass(frozen=True)
class MotionLoss:
    """The loss between a head's scores and its target.

    Attributes:
        name: "cross_entropy" over two scores a cell; the others compare one value a cell. "kl" is the
            Kullback-Leibler divergence of the predicted share from the true one, each taken as the
            probability of a coin; it is 0 when they are equal and needs the sigmoid.
        activation: Turns a cell's score into its value; unused by "cross_entropy".
        reduction: Mean over the cells of a frame, or their sum, which weighs the motion n*n times as much (49
            times at 7x7). Frames and clips are always averaged.

    Examples:
        >>> loss = MotionLoss("mse", reduction="sum")
        >>> float(loss(torch.ones(1, 2, 7, 7), torch.zeros(1, 2, 7, 7), class_weights=torch.ones(2)))
        49.0
    """

    name: LossName
    activation: ActivationName = "linear"
    reduction: ReductionName = "mean"

    @classmethod
    def of(cls, settings: MotionSettings) -> Self:
        """Make the loss that flags ask for."""
        values = settings.motion_values()
        return cls(values["ms_loss"], values["ms_activation"] or "linear", values["ms_join"])

    def __call__(self, scores: Tensor, target: Tensor, class_weights: Tensor) -> Tensor:
        """Compute the loss of a batch, a scalar.

        Args:
            scores: Output of a `MotionHead`. Shape: (B, T, 2, n, n), or (B, T, n, n) in regression.
            target: Values in [0, 1], whole numbers for "cross_entropy". Shape: (B, T, n, n).
            class_weights: Weight of a static and of a moving cell; one that moves in part has a mixture of
                both. Shape: (2,).
        """
        weights = class_weights[0] * (1 - target) + class_weights[1] * target
        cells = self._cells(scores.float(), target) * weights  # (B, T, n, n)
        return cells.mean() if self.reduction == "mean" else cells.sum(dim=(-2, -1)).mean()

    def moving(self, scores: Tensor) -> Tensor:
        """Turn scores into the probability of moving, or in regression the predicted value. (B, T, n, n)."""
        if self.name == "cross_entropy":
            return scores.float().softmax(dim=2)[:, :, 1]
        return self._activate(scores.float())

    def _cells(self, scores: Tensor, target: Tensor) -> Tensor:
        match self.name:
            case "cross_entropy":
                pairs = scores.movedim(2, -1)  # (B, T, n, n, 2)
                losses = F.cross_entropy(pairs.flatten(0, -2), target.flatten().long(), reduction="none")
                return losses.view_as(target)
            case "kl":
                entropy: Tensor = torch.special.entr(target) + torch.special.entr(1 - target)
                return F.binary_cross_entropy_with_logits(scores, target, reduction="none") - entropy
            case name:
                distance = {"mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss}[name]
                return distance(self._activate(scores), target, reduction="none")

    def _activate(self, scores: Tensor) -> Tensor:
        match self.activation:
            case "linear":
                return scores
            case "relu":
                return scores.relu()
            case "sigmoid":
                return scores.sigmoid()
