"""The convolutional LSTM that Ego-RNN runs over a clip's feature maps (section 3.2).

Axes: B clips, T frames, C input channels, D hidden channels, h w cells.
"""

import torch
from torch import Tensor, nn

GATES = ("input", "forget", "candidate", "output")  # order of the stacked channels


class ConvLSTM(nn.Module):
    """i, f, o = sigmoid(Wx*x + Wh*h + b); c~ = tanh(Wx*x + Wh*h + b); c = i c~ + f c'; h = o tanh(c).

    Convolutions are 3x3 with padding 1, biases belong to the input convolutions alone, there are no
    peepholes, and the state starts at zero. The gates are stacked along the channels in the order of `GATES`.
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build a cell with Xavier-normal weights (each gate by its own fan) and zero biases."""
        super().__init__()
        self.hidden = hidden
        self.input_conv = nn.Conv2d(in_channels, len(GATES) * hidden, 3, padding=1)
        self.hidden_conv = nn.Conv2d(hidden, len(GATES) * hidden, 3, padding=1, bias=False)
        assert self.input_conv.bias is not None
        for convolution in (self.input_conv, self.hidden_conv):
            for gate_weight in convolution.weight.chunk(len(GATES)):
                nn.init.xavier_normal_(gate_weight)
        nn.init.zeros_(self.input_conv.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return the cell state after it, c_T (B, D, h, w)."""
        return self.states(maps)[-1]

    def states(self, maps: Tensor) -> list[Tensor]:
        """Run over a clip and return the cell state after each frame.

        The clip feature of Ego-RNN is the cell state c_T, not h_T, so the last output gate is never computed;
        and with h_0 = 0 the first step needs no recurrent convolution. Both leave the result as it is.

        Args:
            maps: One map a frame. Shape: (B, T, C, h, w).

        Returns:
            c_1 to c_T. Shapes: (B, D, h, w).
        """
        clips, frames = maps.shape[:2]
        from_input = self.input_conv(maps.flatten(0, 1)).unflatten(0, (clips, frames))  # (B, T, 4D, h, w)
        gates = from_input[:, 0]
        cells = [_first_cell(gates)]
        for step in range(1, frames):
            output = gates.chunk(len(GATES), dim=1)[3].sigmoid()
            gates = from_input[:, step] + self.hidden_conv(output * cells[-1].tanh())
            cells.append(_next_cell(gates, cells[-1]))
        return cells


def _first_cell(gates: Tensor) -> Tensor:
    take, _, candidate, _ = gates.chunk(len(GATES), dim=1)
    return take.sigmoid() * candidate.tanh()


def _next_cell(gates: Tensor, cell: Tensor) -> Tensor:
    take, keep, candidate, _ = gates.chunk(len(GATES), dim=1)
    return torch.addcmul(keep.sigmoid() * cell, take.sigmoid(), candidate.tanh())
