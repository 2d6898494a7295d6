"""A ConvLSTM of higher order, its kernel a train of small ones: Conv-TT-LSTM (Su et al., NeurIPS 2020).

Axes: B clips, T frames, C channels, D features, R rank, h w cells.
"""

import torch
from torch import Tensor, nn

from models.convlstm import GATES
from models.temporal.base import TemporalHead


class ConvTTLSTM(nn.Module):
    """A ConvLSTM whose gates see the last N outputs, the older ones through more convolutions.

    Over the outputs H, oldest first and zeros before the first frame, with L = N - M + 1 and * a convolution
    over 3x3 cells (P's over L outputs as well):

        v_0 = P_0 * H[0:L]
        v_l = P_l * H[l:l+L] + G_(l-1) * v_(l-1)        for l = 1 .. M-1
        i, f, c~, o = G_(M-1) * [x, v_(M-1)]
        c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(c~)
        h_t = sigmoid(o) tanh(c_t)

    `windows` holds the P and `cores` G_0 to G_(M-2); G_(M-1) is `input_conv`, its part over x with the bias,
    and `train_conv`, its part over v, with their gates stacked as in `models.convlstm.ConvLSTM`. With M = N =
    1, R = D and the identity as P_0 it is that ConvLSTM. Weights start Xavier-uniform, biases at zero;
    the release draws those of `input_conv` and `train_conv` as one convolution's, so smaller.

    The authors' evaluation code counts the outputs modulo M; for N > M, which they did not publish, that is
    not their equation. Here they are counted modulo N.

    Args:
        in_channels: Channels C of the maps.
        hidden: Channels D of the state.
        order: M, the length of the train.
        steps: N, the number of outputs it sees, at least M.
        rank: R, the channels between its kernels.

    Examples:
        >>> cell = ConvTTLSTM(in_channels=8, hidden=4)
        >>> cell(torch.zeros(2, 5, 8, 7, 7)).shape
        torch.Size([2, 5, 4, 7, 7])
    """

    def __init__(
        self, in_channels: int, hidden: int, *, order: int = 3, steps: int = 3, rank: int = 8
    ) -> None:
        super().__init__()
        assert 1 <= order <= steps
        self.hidden, self.steps, self.lags = hidden, steps, steps - order + 1
        gates, seen = len(GATES) * hidden, self.lags * hidden
        self.windows = nn.ModuleList(nn.Conv2d(seen, rank, 3, padding=1) for _ in range(order))
        self.cores = nn.ModuleList(nn.Conv2d(rank, rank, 3, padding=1) for _ in range(order - 1))
        self.input_conv = nn.Conv2d(in_channels, gates, 3, padding=1)
        self.train_conv = nn.Conv2d(rank, gates, 3, padding=1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return the cell states c_1 to c_T, (B, T, D, h, w)."""
        from_input = self.input_conv(maps.flatten(0, 1))  # all frames at once: (B * T, 4D, h, w)
        from_input = from_input.view(*maps.shape[:2], *from_input.shape[1:])  # (B, T, 4D, h, w)
        zeros = from_input.new_zeros(len(maps), self.hidden, *maps.shape[3:])  # (B, D, h, w)
        cells: list[Tensor] = []
        cell, outputs = zeros, [zeros] * self.steps
        for gates in from_input.unbind(dim=1):
            gates = gates + self.train_conv(self.join(outputs))
            input_gate, forget_gate, candidate, output_gate = gates.chunk(len(GATES), dim=1)  # (B, D, h, w)
            cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
            cells.append(cell)
            outputs = [*outputs[1:], output_gate.sigmoid() * cell.tanh()]
        return torch.stack(cells, dim=1)

    def join(self, outputs: list[Tensor]) -> Tensor:
        """Join the last N outputs (B, D, h, w), oldest first, to v_(M-1) (B, R, h, w)."""
        joined: Tensor = self.windows[0](torch.cat(outputs[: self.lags], dim=1))
        for first, core in enumerate(self.cores, start=1):
            window = torch.cat(outputs[first : first + self.lags], dim=1)
            joined = self.windows[first](window) + core(joined)
        return joined


class ConvTTHead(TemporalHead):
    """Average pool of the last cell state c_T of a Conv-TT-LSTM of order 3 over 3 outputs, of rank 8.

    Order, rank and outputs are those of the published network, which predicts video by 12 layers with kernels
    of 5x5; here it is one layer with 3x3. How its authors recognise actions early was not released, so the
    feature is that of Ego-RNN's ConvLSTM.

    Examples:
        >>> head = ConvTTHead(8, 4)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 4])
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = ConvTTLSTM(in_channels, hidden)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by the attention, to (B, D)."""
        return self.states(maps, cam)[:, -1]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled cell states c_1 to c_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the cell states c_1 to c_T, (B, T, D, h, w); the mean of the last one is the feature."""
        states: Tensor = self.cell(self.attend(maps, cam))
        return states
