"""A recurrence over windows of frames that recalls all of its past cells: E3D-LSTM (Wang et al., ICLR 2019).

Axes: B clips, T frames, L frames of a window, C channels, D features, h w cells.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.temporal.base import TemporalHead


class _Conv(nn.Conv3d):
    """A 2x3x3 convolution, padded by zeros to keep its input's size; the spare frame of zeros comes last."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, (2, 3, 3), bias=bias)
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve maps (B, C, L, h, w) to (B, D, L, h, w)."""
        return super().forward(F.pad(maps, (1, 1, 1, 1, 0, 1)))


class E3DLSTM(nn.Module):
    """An LSTM whose state holds a window of L frames, with 3D convolutions, written *, and recall.

    LN normalises a clip's channels and cells, with a gain and a bias a channel. From a window x, zeros before
    the first frame, and the last h, c and M, all zero at first:

        i, g, r, i', f', g', o = LN(W_x * x)          `input`, normalised together
        i, g, r, o += LN(W_h * h)                     `hidden_gates`
        i', f', g', m += LN(W_m * M)                  `memory`
        recall = softmax(sigmoid(r) . H) H            over the cells of H, all past c and the zeros
        c_t = LN(c + recall) + sigmoid(i) tanh(g)     `cell_norm`
        M_t = sigmoid(f' + 1) tanh(m) + sigmoid(i') tanh(g')
        o = tanh(o + W_c * c_t + W_M * M_t + b)       `output_cell`, `output_memory`
        h_t = sigmoid(o) tanh(W_1x1 [c_t, M_t])       `mix`

    The authors' cell hands on the old M in place of M_t, so that their memory stays zero; this hands on M_t.
    Their kernels are 2x5x5, their LN adds 1e-12 to the variance, this one 1e-5. Weights start
    Xavier-uniform, biases at zero.

    Args:
        in_channels: Channels C of the maps.
        hidden: Channels D of the state.
        window: L, frames of a window.

    Examples:
        >>> E3DLSTM(in_channels=8, hidden=4, window=2)(torch.zeros(2, 5, 8, 7, 7)).shape
        torch.Size([2, 5, 4, 2, 7, 7])
    """

    def __init__(self, in_channels: int, hidden: int, window: int) -> None:
        super().__init__()
        self.hidden, self.window = hidden, window
        self.input = _normed(in_channels, 7 * hidden)
        self.hidden_gates = _normed(hidden, 4 * hidden)
        self.memory = _normed(hidden, 4 * hidden)
        self.cell_norm = nn.GroupNorm(1, hidden)
        self.output_cell = _Conv(hidden, hidden, bias=True)
        self.output_memory = _Conv(hidden, hidden, bias=False)
        self.mix = nn.Conv3d(2 * hidden, hidden, 1)
        nn.init.xavier_uniform_(self.mix.weight)
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return h_1 to h_T, (B, T, D, L, h, w)."""
        clips, frames = maps.shape[:2]
        padded = F.pad(maps, (0, 0, 0, 0, 0, 0, self.window - 1, 0))
        windows = torch.stack([padded[:, n : n + frames] for n in range(self.window)], dim=3)
        from_input: Tensor = self.input(windows.flatten(0, 1))  # (B * T, 7D, L, h, w)
        gates = from_input.view(clips, frames, *from_input.shape[1:])
        hidden = memory = from_input.new_zeros(clips, self.hidden, *from_input.shape[2:])
        cells, outputs = [hidden], []
        for gate in gates.unbind(dim=1):
            cell, memory, output_gate = self._update(gate, hidden, cells, memory)
            cells.append(cell)
            output_gate = output_gate + self.output_cell(cell) + self.output_memory(memory)
            hidden = output_gate.tanh().sigmoid() * self.mix(torch.cat([cell, memory], dim=1)).tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)

    def _update(
        self, gates: Tensor, hidden: Tensor, cells: list[Tensor], memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return c_t, M_t and what x and h give to the output gate, each (B, D, L, h, w)."""
        i, g, r, i_memory, f_memory, g_memory, o = gates.chunk(7, dim=1)
        i_hidden, g_hidden, r_hidden, o_hidden = self.hidden_gates(hidden).chunk(4, dim=1)
        recall = _recall((r + r_hidden).sigmoid(), cells)
        new: Tensor = self.cell_norm(cells[-1] + recall)
        new = new + (i + i_hidden).sigmoid() * (g + g_hidden).tanh()
        i_old, f_old, g_old, m = self.memory(memory).chunk(4, dim=1)
        kept = (f_memory + f_old + 1).sigmoid() * m.tanh()
        return new, kept + (i_memory + i_old).sigmoid() * (g_memory + g_old).tanh(), o + o_hidden


def _normed(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_Conv(in_channels, out_channels, bias=False), nn.GroupNorm(1, out_channels))


def _recall(query: Tensor, cells: list[Tensor]) -> Tensor:
    """Attend, unscaled, from each place of a query (B, D, L, h, w) to all places of all past cells."""
    keys = torch.stack(cells, dim=1).movedim(2, -1).flatten(1, -2)  # (B, past * L * h * w, D)
    scores = query.flatten(2).transpose(1, 2) @ keys.transpose(1, 2)
    return (scores.softmax(dim=-1) @ keys).transpose(1, 2).view_as(query)


class E3DHead(TemporalHead):
    """Mean of E3D-LSTM's last output h_T over its window of 2 frames and the cells.

    One layer of at most 64 channels, with kernels 2x3x3: the published width of a network for recognition is
    not known, its code was not released, and at 512 channels a layer has 81 million weights. Its convolutions
    see each frame weighted by the attention, times the number of cells, so that an even attention changes
    nothing.

    Examples:
        >>> E3DHead(8, 4)(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 4])
    """

    WINDOW: ClassVar[int] = 2
    """L, the frames of a window."""
    largest_hidden: ClassVar[int | None] = 64

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = E3DLSTM(in_channels, hidden, self.WINDOW)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, D)."""
        return self.states(maps, cam)[:, -1]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled outputs h_1 to h_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the outputs h_1 to h_T, averaged over the window, (B, T, D, h, w)."""
        outputs: Tensor = self.cell(self.focus(maps, cam))
        return outputs.mean(dim=3)
