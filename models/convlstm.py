"""The convolutional LSTM that Ego-RNN runs over a clip's feature maps (section 3.2).

Axes: B clips, T frames, C input channels, D hidden channels, h w cells.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GATES = ("input", "forget", "candidate", "output")  # order of the stacked channels


class ConvLSTM(nn.Module):
    """An LSTM whose state is a map and whose matrix products are convolutions, written * here.

        i = sigmoid(W_xi * x + W_hi * h + b_i)      input gate
        f = sigmoid(W_xf * x + W_hf * h + b_f)      forget gate
        c~ = tanh(W_xc * x + W_hc * h + b_c)        candidate
        o = sigmoid(W_xo * x + W_ho * h + b_o)      output gate
        c_t = i c~ + f c_(t-1)
        h_t = o tanh(c_t)

    Convolutions are 3x3 with padding 1; there are no peepholes, and c_0 = h_0 = 0. `input_conv` holds the W_x
    with the biases and `hidden_conv` the W_h, stacked along the output channels in the order of `GATES`.
    Weights start Xavier-normal, each gate's by its own fan, and biases at zero.

    Examples:
        >>> cell = ConvLSTM(in_channels=8, hidden=3)
        >>> maps = torch.randn(2, 4, 8, 7, 7)
        >>> cell(maps).shape, cell.states(maps).shape
        (torch.Size([2, 3, 7, 7]), torch.Size([2, 4, 3, 7, 7]))
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
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
        return self._run(maps)[0][-1]

    def states(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return c_1 to c_T, (B, T, D, h, w)."""
        return torch.stack(self._run(maps)[0], dim=1)

    def outputs(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return h_1 to h_T, (B, T, D, h, w)."""
        return torch.stack(self._run(maps)[1], dim=1)

    def _run(self, maps: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        convolutions = self.input_conv, self.hidden_conv
        if maps.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            convolve_input, convolve_hidden = map(as_product, convolutions)
        else:
            convolve_input, convolve_hidden = convolutions
        from_input = convolve_input(maps.flatten(0, 1))  # all frames at once: (B * T, 4D, h, w)
        from_input = from_input.view(*maps.shape[:2], *from_input.shape[1:])  # (B, T, 4D, h, w)
        cells: list[Tensor] = []
        outputs: list[Tensor] = []
        for gates in from_input.unbind(dim=1):
            if outputs:  # h_0 = 0 needs no convolution
                gates = gates + convolve_hidden(outputs[-1])
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)  # (B, D, h, w)
            cell = input_gate.sigmoid() * candidate.tanh()
            if cells:  # c_0 = 0
                cell = cell + forget_gate.sigmoid() * cells[-1]
            cells.append(cell)
            outputs.append(output_gate.sigmoid() * cell.tanh())
        return cells, outputs


def as_product(convolution: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """Return a 3x3 convolution with padding 1 as one matrix product in bfloat16, its weights cast once.

    On a CPU, bfloat16 gradients of a convolution's weights take several times as long as those of the same
    product (docs/performance.md, Epochs with loading).
    """
    weight = convolution.weight.flatten(1).bfloat16()  # (O, 9C)
    bias = None if convolution.bias is None else convolution.bias.bfloat16()

    def product(maps: Tensor) -> Tensor:
        columns = F.unfold(maps.bfloat16(), kernel_size=3, padding=1)  # (B, 9C, h w)
        found = F.linear(columns.transpose(1, 2).flatten(0, 1), weight, bias)  # (B h w, O)
        by_map = found.view(len(maps), -1, len(weight)).transpose(1, 2)  # (B, O, h w)
        return by_map.reshape(len(maps), len(weight), *maps.shape[2:])

    return product
