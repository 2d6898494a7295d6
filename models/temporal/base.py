"""The interface of temporal heads: a clip's feature maps in, one feature out.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.cam import spatial_attention


class TemporalHead(nn.Module):
    """Base of the heads, built as `head(in_channels, hidden)`.

    `forward(maps, cam)` turns feature maps (B, T, C, h, w) into a feature (B, D). `cam` is the class
    activation map (B, T, h, w) before its softmax, or None without attention; a head that attends by other
    means may ignore it.
    """

    learns: ClassVar[bool] = True
    """Whether the head has parameters."""
    needs_train_mode: ClassVar[bool] = False
    """Whether its backward pass works in train mode only."""
    no_cells: ClassVar[str] = "joins the frames by a head whose score lies on no cells"
    """Why its feature lies on no cells, for heads without `cell_features`."""
    features: int
    """Width D of the feature."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.features = hidden

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the feature as it stands after each frame, (B, T, D); recurrences need one pass for all."""
        ends = range(1, maps.shape[1] + 1)
        return torch.stack(
            [self(maps[:, :end], None if cam is None else cam[:, :end]) for end in ends], dim=1
        )

    def attention(self, cam: Tensor | None) -> Tensor | None:
        """Return the weight of each cell (B, T, h, w), summing to 1 over a frame; None without attention."""
        return None if cam is None else spatial_attention(cam)

    def attend(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Weight the cells of maps (B, T, C, h, w) by the attention, where there is any."""
        attention = self.attention(cam)
        return maps if attention is None else maps * attention[:, :, None]

    def pool(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Pool each frame's cells to (B, T, C): their mean, or their mean weighted by the attention."""
        return maps.mean(dim=(3, 4)) if cam is None else self.attend(maps, cam).sum(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor | None:
        """Spread the feature over the cells of the frames it comes from, for class activation maps.

        Returns:
            Maps (B, T, D, h, w) whose means over the cells are the feature as it stands after each frame, or
            each frame's part in it; None where the feature comes from pooled frames.
        """
        return None

    @property
    def lies_on_cells(self) -> bool:
        """Whether the head spreads its feature over cells."""
        return type(self).cell_features is not TemporalHead.cell_features
