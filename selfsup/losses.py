"""The loss of a motion head, place by place, and how the places are joined.

Axes: B clips, T frames, n cells a side.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["cross_entropy", "mse", "smooth_l1", "l1", "kl"]
ActivationName = Literal["linear", "relu", "sigmoid"]
JoinName = Literal["mean", "sum"]


@dataclass(frozen=True)
class MotionLoss:
    """What a head's scores are held against.

    Attributes:
        name: "cross_entropy" over two scores a place; the others compare one value a place. "kl" is the
            divergence of a coin with the predicted share from one with the true share, so it is 0 when they
            are equal; it needs the sigmoid.
        activation: Turns a place's score into its value; unused by "cross_entropy".
        join: Mean over the places of a frame, or their sum, which weighs the motion n*n times as much (49
            times at 7x7). Frames and clips are always averaged.
    """

    name: LossName
    activation: ActivationName = "linear"
    join: JoinName = "mean"

    def __call__(self, scores: Tensor, target: Tensor, class_weights: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            scores: Of a `MotionHead`. Shape: (B, T, 2, n, n), or (B, T, n, n) in regression.
            target: Values in [0, 1], whole numbers for "cross_entropy". Shape: (B, T, n, n).
            class_weights: Weight of a static and of a moving place; a place that moves in part has a mixture.
                Shape: (2,).

        Returns:
            A scalar.
        """
        weights = class_weights[0] * (1 - target) + class_weights[1] * target
        places = self._places(scores.float(), target) * weights
        return places.mean() if self.join == "mean" else places.sum(dim=(-2, -1)).mean()

    def moving(self, scores: Tensor) -> Tensor:
        """Turn scores into the probability of moving, or in regression the predicted value. (B, T, n, n)."""
        if self.name == "cross_entropy":
            return scores.float().softmax(dim=2)[:, :, 1]
        return self._activate(scores.float())

    def _places(self, scores: Tensor, target: Tensor) -> Tensor:
        """Loss of every place, (B, T, n, n)."""
        match self.name:
            case "cross_entropy":
                pairs = scores.movedim(2, -1)  # (B, T, n, n, 2)
                losses = F.cross_entropy(pairs.flatten(0, -2), target.flatten().long(), reduction="none")
                return losses.view_as(target)
            case "mse":
                return F.mse_loss(self._activate(scores), target, reduction="none")
            case "smooth_l1":
                return F.smooth_l1_loss(self._activate(scores), target, reduction="none")
            case "l1":
                return F.l1_loss(self._activate(scores), target, reduction="none")
            case "kl":
                entropy: Tensor = torch.special.entr(target) + torch.special.entr(1 - target)
                return F.binary_cross_entropy_with_logits(scores, target, reduction="none") - entropy

    def _activate(self, scores: Tensor) -> Tensor:
        match self.activation:
            case "linear":
                return scores
            case "relu":
                return scores.relu()
            case "sigmoid":
                return scores.sigmoid()
