"""What turns a clip's feature maps into one clip feature: ConvLSTM, LSTM or plain averaging.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from models.convlstm import ConvLSTM

TemporalName = Literal["convlstm", "lstm", "avgpool"]


class TemporalModule(nn.Module):
    """Base of the three; `features` is the width D of what they return."""

    features: int

    def cell_features(self, maps: Tensor, attention: Tensor | None) -> Tensor | None:
        """Spread the feature over the cells of the frames it comes from: for class activation maps.

        Args:
            maps: Feature maps. Shape: (B, T, C, h, w).
            attention: Weight of each cell, None for no attention. Shape: (B, T, h, w).

        Returns:
            Maps whose means over the cells are the feature as it stands after each frame, or each frame's
            part in it; None where the feature comes from pooled frames and lies on no cells. Shape:
            (B, T, D, h, w).
        """
        return None


class ConvLSTMFeature(TemporalModule):
    """Average pool of the ConvLSTM's last cell state (Ego-RNN, section 3.2)."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build the recurrence over maps of `in_channels`."""
        super().__init__()
        self.cell = ConvLSTM(in_channels, hidden)
        self.features = hidden

    def forward(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by attention (B, T, h, w) where there is any, to (B, D)."""
        last_cell: Tensor = self.cell(weighted(maps, attention))
        return last_cell.mean(dim=(2, 3))

    def cell_features(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Give the cell states c_1 to c_T, of which the mean of the last one is the feature."""
        return torch.stack(self.cell.states(weighted(maps, attention)), dim=1)


class LSTMFeature(TemporalModule):
    """A plain LSTM over pooled frames; its last hidden state."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build the recurrence over maps of `in_channels`."""
        super().__init__()
        self.cell = nn.LSTM(in_channels, hidden, batch_first=True)
        self.features = hidden

    def forward(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled with attention (B, T, h, w) where there is any, to (B, D)."""
        _, (last_hidden, _) = self.cell(pool_frames(maps, attention))
        feature: Tensor = last_hidden[-1]
        return feature


class AveragePoolFeature(TemporalModule):
    """Mean over the frames: the baseline that can't know their order. It has no width of its own."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build the baseline; `hidden` is not used."""
        super().__init__()
        self.features = in_channels

    def forward(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled with attention (B, T, h, w) where there is any, to (B, C)."""
        return pool_frames(maps, attention).mean(dim=1)

    def cell_features(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Give each frame's own maps; the mean of their means is the feature."""
        cells = 1 if attention is None else attention.shape[-2] * attention.shape[-1]
        return weighted(maps, attention) * cells


def weighted(maps: Tensor, attention: Tensor | None) -> Tensor:
    """Weight the cells of maps (B, T, C, h, w) by attention (B, T, h, w), where there is any."""
    return maps if attention is None else maps * attention[:, :, None]


def pool_frames(maps: Tensor, attention: Tensor | None) -> Tensor:
    """Pool each frame's cells: their mean, or their mean weighted by attention that sums to 1.

    Args:
        maps: Feature maps. Shape: (B, T, C, h, w).
        attention: Weight of each cell. Shape: (B, T, h, w).

    Returns:
        One vector a frame. Shape: (B, T, C).
    """
    return maps.mean(dim=(3, 4)) if attention is None else weighted(maps, attention).sum(dim=(3, 4))


def build_temporal(name: TemporalName, in_channels: int, hidden: int) -> TemporalModule:
    """Build the module called `name`."""
    match name:
        case "convlstm":
            return ConvLSTMFeature(in_channels, hidden)
        case "lstm":
            return LSTMFeature(in_channels, hidden)
        case "avgpool":
            return AveragePoolFeature(in_channels, hidden)
