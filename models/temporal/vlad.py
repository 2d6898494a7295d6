"""Residuals to visual words, weighted by the attention: after TA-VLAD (Sudhakaran and Lanz, 2018).

Axes: B clips, T frames, K words, N cells, C channels, h w cells.
"""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.temporal.base import TemporalHead


class TopDownVLADHead(TemporalHead):
    """A clip's residuals to 64 visual words, each cell's counted by its attention A.

        x = g / |g|                                      at each cell
        a_k = softmax over k of w_k . x + b_k            `assign`
        V_k = sum over frames and cells of A a_k (x - c_k)   `words` are the c

    Each V_k is divided by its length, and then all together by theirs. This is NetVLAD (Arandjelovic et al.,
    CVPR 2016) with the attention on the assignments, after the paper's idea: TA-VLAD's code was not released,
    and the recurrence that its text speaks of is not described. The attention does not weigh g, which the
    norm would undo. The order of the frames is lost.

    Words start as random directions, |c| = 1, with w_k = 2 alpha c_k and b_k = -alpha |c_k|^2; NetVLAD's
    start so from clusters of features. The feature is as wide as all words, K C, and `hidden` is not used.

    Examples:
        >>> head = TopDownVLADHead(6, 8)
        >>> head(torch.ones(2, 4, 6, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 384])
    """

    WORDS: ClassVar[int] = 64
    """K, the number of visual words."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = self.WORDS * in_channels
        self.words = nn.Parameter(F.normalize(torch.randn(self.WORDS, in_channels), dim=1))
        self.assign = nn.Linear(in_channels, self.WORDS)
        # Among 64 random directions the nearest then counts about eight times as much as the next.
        alpha = 4 * math.sqrt(in_channels)
        with torch.no_grad():
            self.assign.weight.copy_(2 * alpha * self.words)
            self.assign.bias.fill_(-alpha)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, K C)."""
        return _scaled(self._summed(maps, cam).sum(dim=1, keepdim=True))[:, 0]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the features of the frames until each, (B, T, K C)."""
        frames = self._summed(maps, cam).unbind(dim=1)
        # torch.cumsum has no deterministic kernel on a GPU.
        return _scaled(torch.stack(list(accumulate(frames, torch.add)), dim=1))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return T N times each cell's part, (B, T, K C, h, w): the mean of all is the feature."""
        unit, counted = self._counted(maps, cam)
        residuals = unit[:, :, :, None] - self.words  # (B, T, N, K, C)
        scale = _scale(self._summed(maps, cam).sum(dim=1))[:, None, None]  # (B, 1, 1, K, 1)
        parts = residuals * counted[..., None] * scale * (counted.shape[1] * counted.shape[2])
        return parts.flatten(3).transpose(2, 3).reshape(*maps.shape[:2], self.features, *maps.shape[3:])

    def cut(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut before the attention, which weighs what the head makes of the maps."""
        return maps, lambda maps: self(maps, cam)

    def _counted(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return x (B, T, N, C) and A a (B, T, N, K)."""
        unit = F.normalize(maps.flatten(3).transpose(2, 3), dim=3)
        assigned = self.assign(unit).softmax(dim=3)
        attention = self.attention(cam)
        return unit, assigned if attention is None else assigned * attention.flatten(2)[..., None]

    def _summed(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return each frame's own V (B, T, K, C)."""
        unit, counted = self._counted(maps, cam)
        return counted.transpose(2, 3) @ unit - counted.sum(dim=2)[..., None] * self.words


def _scaled(sums: Tensor) -> Tensor:
    """Normalise V (B, T, K, C) to features (B, T, K C)."""
    return (sums * _scale(sums)).flatten(2)


def _scale(sums: Tensor) -> Tensor:
    """Return what V (..., K, C) is multiplied by: (..., K, 1)."""
    words: Tensor = 1 / torch.linalg.vector_norm(sums, dim=-1, keepdim=True).clamp(min=1e-12)
    together: Tensor = torch.linalg.vector_norm(sums * words, dim=(-2, -1), keepdim=True)
    return words / together.clamp(min=1e-12)
