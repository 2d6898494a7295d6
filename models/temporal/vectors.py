"""A plain LSTM over pooled frames: recurrence without cells, a row of Ego-RNN's table."""

from typing import ClassVar

from torch import Tensor, nn

from models.temporal.base import TemporalHead


class LSTMHead(TemporalHead):
    """The LSTM's last hidden state h_T.

    Examples:
        >>> import torch
        >>> LSTMHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 3])
    """

    # cuDNN's LSTM has no backward pass in eval mode; the mode makes no other difference to it.
    needs_train_mode: ClassVar[bool] = True
    no_cells: ClassVar[str] = "joins pooled frames by an LSTM, whose score lies on no cells"

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = nn.LSTM(in_channels, hidden, batch_first=True)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, D)."""
        _, (last_hidden, _) = self.cell(self.pool(maps, cam))
        feature: Tensor = last_hidden[-1]
        return feature

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the hidden states h_1 to h_T, (B, T, D)."""
        hidden: Tensor = self.cell(self.pool(maps, cam))[0]
        return hidden
