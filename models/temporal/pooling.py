"""The baseline that can't know the order of the frames: their mean."""

from typing import ClassVar

from torch import Tensor

from models.temporal.base import TemporalHead


class AveragePoolHead(TemporalHead):
    """Mean over the frames; the feature has the maps' own width C, and `hidden` is not used.

    Examples:
        >>> import torch
        >>> AveragePoolHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 8])
    """

    learns: ClassVar[bool] = False

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = in_channels

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, C)."""
        return self.pool(maps, cam).mean(dim=1)

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return each frame's own maps (B, T, C, h, w); the mean of their means is the feature."""
        cells = 1 if cam is None else cam.shape[-2] * cam.shape[-1]
        return self.attend(maps, cam) * cells
