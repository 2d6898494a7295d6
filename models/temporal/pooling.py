"""Heads without parameters, which can't know the order of the frames: their mean and their maximum."""

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


class MaxPoolHead(TemporalHead):
    """Each cell's maximum over the frames, pooled over the cells; the width is C, and `hidden` is not used.

    "Conv pooling" of Beyond Short Snippets (Ng et al., CVPR 2015), the best of its five poolings: the maximum
    of the last convolutional maps over the frames, cell by cell. There fully connected layers follow that
    have a weight for each cell; here the cells are averaged, or summed where the attention weights them.

    Examples:
        >>> import torch
        >>> MaxPoolHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 8])
    """

    learns: ClassVar[bool] = False

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = in_channels

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, C)."""
        highest = self.attend(maps, cam).amax(dim=1)  # (B, C, h, w)
        return highest.mean(dim=(2, 3)) if cam is None else highest.sum(dim=(2, 3))

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled maxima of the frames until each one, (B, T, C)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the maxima of the frames until each one, (B, T, C, h, w); the last one's mean counts."""
        cells = 1 if cam is None else cam.shape[-2] * cam.shape[-1]
        return self.attend(maps, cam).cummax(dim=1).values * cells
