"""Convolutional recurrences simpler than the ConvLSTM: one without gates, and the gated recurrent unit.

Both pool their last state h_T over the cells. * is a convolution, 3x3 with padding 1, and h_0 = 0; weights
start orthogonal, each gate's kernels flattened to a matrix (D, C * 9), and biases at zero.
Axes: B clips, T frames, C channels, D features, h w cells.
"""

import torch
from torch import Tensor, nn

from models.temporal.base import TemporalHead


class _ConvRecurrence(TemporalHead):
    """What both do with the states that `cell_features` finds."""

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by the attention, to (B, D)."""
        return self._run(self.attend(maps, cam))[-1].mean(dim=(2, 3))

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled states h_1 to h_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the states h_1 to h_T, (B, T, D, h, w); the mean of the last one is the feature."""
        return torch.stack(self._run(self.attend(maps, cam)), dim=1)

    def _run(self, maps: Tensor) -> list[Tensor]:
        """Turn weighted maps (B, T, C, h, w) into h_1 to h_T, (B, D, h, w) each."""
        raise NotImplementedError


class ConvRNNHead(_ConvRecurrence):
    """A recurrence without gates: h_t = tanh(A * h_(t-1) + B * x_t + b).

    `input_conv` holds B with b, and `hidden_conv` A. Nothing guards its gradient, which shrinks or grows with
    every frame that it passes.

    Examples:
        >>> ConvRNNHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 3])
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.input_conv = _orthogonal(nn.Conv2d(in_channels, hidden, 3, padding=1))
        self.hidden_conv = _orthogonal(nn.Conv2d(hidden, hidden, 3, padding=1, bias=False))

    def _run(self, maps: Tensor) -> list[Tensor]:
        hidden: list[Tensor] = []
        for state in _on_all_frames(self.input_conv, maps).unbind(dim=1):
            if hidden:  # h_0 = 0 needs no convolution
                state = state + self.hidden_conv(hidden[-1])
            hidden.append(state.tanh())
        return hidden


class ConvGRUHead(_ConvRecurrence):
    """The gated recurrent unit with convolutions (Ballas et al., ICLR 2016).

        r = sigmoid(A_r * h_(t-1) + B_r * x + b_r)              reset gate
        u = sigmoid(A_u * h_(t-1) + B_u * x + b_u)              update gate
        s = tanh(A_s * (r h_(t-1)) + B_s * x + b_s)             candidate
        h_t = u h_(t-1) + (1 - u) s

    r multiplies the state before the convolution, where torch's nn.GRU multiplies the product. Written with
    u and 1 - u exchanged it is the same function, whose update gate has the opposite weights. `input_conv`
    holds the B with the biases, in the order r, u, s; `gate_conv` A_r and A_u; `candidate_conv` A_s.

    Examples:
        >>> ConvGRUHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 3])
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.input_conv = _orthogonal(nn.Conv2d(in_channels, 3 * hidden, 3, padding=1), gates=3)
        self.gate_conv = _orthogonal(nn.Conv2d(hidden, 2 * hidden, 3, padding=1, bias=False), gates=2)
        self.candidate_conv = _orthogonal(nn.Conv2d(hidden, hidden, 3, padding=1, bias=False))

    def _run(self, maps: Tensor) -> list[Tensor]:
        width = self.features
        hidden: list[Tensor] = []
        for from_input in _on_all_frames(self.input_conv, maps).unbind(dim=1):
            gates, candidate = from_input[:, : 2 * width], from_input[:, 2 * width :]
            if not hidden:  # h_0 = 0
                hidden.append((1 - gates[:, width:].sigmoid()) * candidate.tanh())
                continue
            reset, update = (gates + self.gate_conv(hidden[-1])).sigmoid().chunk(2, dim=1)
            candidate = (candidate + self.candidate_conv(reset * hidden[-1])).tanh()
            hidden.append(update * hidden[-1] + (1 - update) * candidate)
        return hidden


def _orthogonal(convolution: nn.Conv2d, gates: int = 1) -> nn.Conv2d:
    for gate_weight in convolution.weight.chunk(gates):
        nn.init.orthogonal_(gate_weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _on_all_frames(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """Convolve all frames of (B, T, C, h, w) at once."""
    found: Tensor = convolution(maps.flatten(0, 1))
    return found.view(*maps.shape[:2], *found.shape[1:])
