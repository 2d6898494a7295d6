"""Ego-RNN's own head: the ConvLSTM's cell state, averaged over the cells (section 3.2)."""

from typing import ClassVar

from torch import Tensor

from models.convlstm import GATES, ConvLSTM
from models.temporal.base import TemporalHead


class ConvLSTMHead(TemporalHead):
    """Average pool of the ConvLSTM's last cell state c_T.

    Examples:
        >>> import torch
        >>> head = ConvLSTMHead(8, 3)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 3])
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = ConvLSTM(in_channels, hidden)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by the attention, to (B, D)."""
        last_cell: Tensor = self.cell(self.attend(maps, cam))
        return last_cell.mean(dim=(2, 3))

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled cell states c_1 to c_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the cell states c_1 to c_T, (B, T, D, h, w); the mean of the last one is the feature."""
        return self.cell.states(self.attend(maps, cam))

    # Published gate by gate, by the first letter of `GATES`.
    published_names: ClassVar[dict[str, tuple[str, ...]]] = {
        f"cell.{own}": tuple(f"lstm_cell.conv_{gate[0]}_{name}" for gate in GATES)
        for own, name in (
            ("input_conv.weight", "xx.weight"),
            ("input_conv.bias", "xx.bias"),
            ("hidden_conv.weight", "hh.weight"),
        )
    }
