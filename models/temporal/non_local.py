"""Attention between all cells of all frames: the non-local block (Wang et al., CVPR 2018).

Axes: B clips, T frames, N cells of all frames, C channels, D inner channels, h w cells.
"""

import math

from torch import Tensor, nn

from models.temporal.base import TemporalHead


class NonLocalHead(TemporalHead):
    """Mean over frames and cells of maps to which every cell has added what it sees in all others.

        y_i = sum over j of softmax over j (theta(x_i) . phi(x_j) / sqrt(D)) g(x_j)
        z_i = x_i + W y_i

    i and j are cells of all frames of the clip, x is weighted by the attention, times the number of a frame's
    cells, and theta, phi, g (`query`, `key`, `value`) and W (`output`) are linear. sqrt(D) is the released
    code's; the paper does not divide. There, a batch norm whose gain starts at 0 follows W; here W itself
    starts at 0, so that the head starts as the mean of the frames and no clip depends on its batch. There is
    no max pooling before phi and g, which saves time on larger maps. Other weights start N(0, 0.01).

    Nothing tells frames apart: their order is lost. The feature is as wide as the maps, C, and `hidden` is
    the inner width D (published: C / 2).

    Examples:
        >>> import torch
        >>> head = NonLocalHead(8, 4)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 8])
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = in_channels
        self.query, self.key, self.value = (nn.Linear(in_channels, hidden) for _ in range(3))
        self.output = nn.Linear(hidden, in_channels)
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, C)."""
        return self.cell_features(maps, cam).mean(dim=(1, 3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return z of every frame (B, T, C, h, w); the mean over frames and cells is the feature."""
        cells = self.focus(maps, cam).flatten(3).transpose(2, 3)  # (B, T, h * w, C)
        nodes = cells.flatten(1, 2)  # (B, N, C)
        scores = self.query(nodes) @ self.key(nodes).transpose(1, 2) / math.sqrt(self.query.out_features)
        seen = scores.softmax(dim=2) @ self.value(nodes)
        joined: Tensor = (nodes + self.output(seen)).view_as(cells)
        return joined.transpose(2, 3).reshape(maps.shape)
