"""What turns a clip's feature maps into one clip feature: ConvLSTM, LSTM or plain averaging.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from typing import Literal

from torch import Tensor, nn

from models.convlstm import ConvLSTM

TemporalName = Literal["convlstm", "lstm", "avgpool"]


class TemporalModule(nn.Module):
    """Base of the three; `features` is the width D of what they return."""

    features: int


class ConvLSTMFeature(TemporalModule):
    """Average pool of the ConvLSTM's last cell state (Ego-RNN, section 3.2)."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build the recurrence over maps of `in_channels`."""
        super().__init__()
        self.cell = ConvLSTM(in_channels, hidden)
        self.features = hidden

    def forward(self, maps: Tensor, attention: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by attention (B, T, h, w) where there is any, to (B, D)."""
        attended = maps if attention is None else maps * attention[:, :, None]
        last_cell: Tensor = self.cell(attended)
        return last_cell.mean(dim=(2, 3))


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


def pool_frames(maps: Tensor, attention: Tensor | None) -> Tensor:
    """Pool each frame's cells: their mean, or their mean weighted by attention that sums to 1.

    Args:
        maps: Feature maps. Shape: (B, T, C, h, w).
        attention: Weight of each cell. Shape: (B, T, h, w).

    Returns:
        One vector a frame. Shape: (B, T, C).
    """
    return maps.mean(dim=(3, 4)) if attention is None else (maps * attention[:, :, None]).sum(dim=(3, 4))


def build_temporal(name: TemporalName, in_channels: int, hidden: int) -> TemporalModule:
    """Build the module called `name`."""
    match name:
        case "convlstm":
            return ConvLSTMFeature(in_channels, hidden)
        case "lstm":
            return LSTMFeature(in_channels, hidden)
        case "avgpool":
            return AveragePoolFeature(in_channels, hidden)
