"""LSTA: a ConvLSTM whose attention remembers and whose output gate chooses (Sudhakaran et al., CVPR 2019).

After the equations of the code that its authors released. Axes: B clips, T frames, C channels, D features,
h w cells, K entries of the pooling.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.cam import spatial_attention
from models.convlstm import ConvLSTM
from models.temporal.base import TemporalHead

ENTRIES = 100
"""K, as published for GTEA61 (`outPoolSize`)."""


class PooledLSTM(nn.Module):
    """A ConvLSTM whose output gate sees the new memory in place of the input; * is a convolution.

        i, f = sigmoid(W * x + W' * h + b) each, c~ = tanh(W * x + W' * h + b)      as in the ConvLSTM
        c_t = i c~ + f c_(t-1)
        k = arg max over the entries of w_k . mean(c_t) + v_k . mean(x)
        o = sigmoid(U * h + V * (w_k c_t) + b_o)
        h_t = o tanh(c_t)

    h is h_(t-1), means are over the cells, and w_k weights the channels of c_t. `input_conv` holds the W with
    their biases and `hidden_conv` the W' and U, stacked in the order i, f, c, o; `memory_conv` is V with b_o,
    `entries` the w and `coupling` the v. Convolutions start Xavier-normal, each gate's by its own fan, their
    biases at zero, and the w and v as torch starts a linear layer.

    As released, v acts through the arg max alone: it never learns, and its random start goes on deciding
    which w_k is taken; of the w, those learn that are taken. `mended` puts the mean of the w_k under the
    softmax of those scores in place of the one w_k. The release applies U, and v, with the sizes of the other
    one's argument and so runs at D = C alone; here they have their own.

    Examples:
        >>> PooledLSTM(8, 3).states(torch.randn(2, 4, 8, 7, 7)).shape
        torch.Size([2, 4, 3, 7, 7])
    """

    def __init__(self, in_channels: int, hidden: int, mended: bool = False) -> None:
        super().__init__()
        self.mended = mended
        self.input_conv = nn.Conv2d(in_channels, 3 * hidden, 3, padding=1)
        self.hidden_conv = nn.Conv2d(hidden, 4 * hidden, 3, padding=1, bias=False)
        self.memory_conv = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.entries = nn.Linear(hidden, ENTRIES, bias=False)
        self.coupling = nn.Linear(in_channels, ENTRIES, bias=False)
        for convolution, gates in ((self.input_conv, 3), (self.hidden_conv, 4), (self.memory_conv, 1)):
            for gate_weight in convolution.weight.chunk(gates):
                nn.init.xavier_normal_(gate_weight)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def states(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return c_1 to c_T, (B, T, D, h, w)."""
        from_input = self.input_conv(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])  # (B, T, 3D, h, w)
        from_mean = self.coupling(maps.mean(dim=(3, 4)))  # (B, T, K)
        cells: list[Tensor] = []
        hidden: Tensor | None = None
        for gates, coupled in zip(from_input.unbind(dim=1), from_mean.unbind(dim=1), strict=True):
            output_gate: Tensor | None = None
            if hidden is not None:  # h_0 = 0 needs no convolution
                from_hidden = self.hidden_conv(hidden)  # (B, 4D, h, w)
                gates = gates + from_hidden[:, : gates.shape[1]]
                output_gate = from_hidden[:, gates.shape[1] :]
            input_gate, forget_gate, candidate = gates.chunk(3, dim=1)  # (B, D, h, w)
            cell = input_gate.sigmoid() * candidate.tanh()
            if cells:  # c_0 = 0
                cell = cell + forget_gate.sigmoid() * cells[-1]
            cells.append(cell)
            if len(cells) == maps.shape[1]:
                break  # nothing reads the last output
            chosen = self.memory_conv(self._choose(cell, coupled)[:, :, None, None] * cell)
            output_gate = chosen if output_gate is None else output_gate + chosen
            hidden = output_gate.sigmoid() * cell.tanh()
        return torch.stack(cells, dim=1)

    def _choose(self, cell: Tensor, coupled: Tensor) -> Tensor:
        """Return the weights of the memory's channels, (B, D)."""
        scores = self.entries(cell.mean(dim=(2, 3))) + coupled  # (B, K)
        weight: Tensor = self.entries.weight  # (K, D)
        return scores.softmax(dim=1) @ weight if self.mended else weight[scores.argmax(dim=1)]


class _Family(TemporalHead):
    """What LSTA, its mended form and its ablations share; the clip's feature is the mean of c_T."""

    needs_attention: ClassVar[bool] = True
    tracks: ClassVar[bool] = True
    """Whether the attention is a recurrence."""
    pools: ClassVar[bool] = True
    """Whether the output gate sees the memory pooled."""
    mended: ClassVar[bool] = False
    """Whether the coupling learns."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        if self.tracks:
            self.tracker = ConvLSTM(1, 1)
        self.cell = (
            PooledLSTM(in_channels, hidden, self.mended) if self.pools else ConvLSTM(in_channels, hidden)
        )

    def attention(self, cam: Tensor | None) -> Tensor | None:
        """Return u, the weight of each cell (B, T, h, w), from the raw maps M (B, T, h, w)."""
        if cam is None or not self.tracks:
            return super().attention(cam)
        return spatial_attention(self.tracker.outputs(cam[:, :, None])[:, :, 0] + cam)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), weighted by the attention, to (B, D)."""
        return self._pooled(self.attend(maps, cam))

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled memories c_1 to c_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the memories c_1 to c_T, (B, T, D, h, w); the mean of the last one is the feature."""
        return self.cell.states(self.attend(maps, cam))

    def cut(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut behind the weighted maps, as the base does; the attention would not stay even."""
        return self.attend(maps, cam), self._pooled

    def _pooled(self, attended: Tensor) -> Tensor:
        return self.cell.states(attended)[:, -1].mean(dim=(2, 3))


class LSTAHead(_Family):
    """LSTA as released, for g and the raw CAM M of each frame.

        i, f, o' = sigmoid(W^m * M + W^s * s + b) each, a~ = tanh(W^m * M + W^s * s + b)
        a_t = i a~ + f a_(t-1)
        s_t = o' tanh(a_t)                             attention recurrence, of one channel: `tracker`
        u = softmax over the cells of s_t + M
        x = g u
        c_t, h_t as in `PooledLSTM`                    `cell`

    c_T comes before the last output gate: with one frame the pooling changes nothing. The release's own
    training is not the head's; the stages are Ego-RNN's. `--weight-decay 5e-4` gives its weight decay; no
    flag turns shuffling off in stage 1, or makes the last frame one of those that are read.

    Examples:
        >>> head = LSTAHead(8, 3)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 3])
    """

    untrained: ClassVar[tuple[str, ...]] = ("cell.coupling.weight",)
    published_names: ClassVar[dict[str, tuple[str, ...]]] = {
        "cell.input_conv.weight": tuple(f"lsta_cell.conv_{gate}_x.weight" for gate in "ifc"),
        "cell.input_conv.bias": tuple(f"lsta_cell.conv_{gate}_x.bias" for gate in "ifc"),
        "cell.hidden_conv.weight": (
            *(f"lsta_cell.conv_{gate}_c.weight" for gate in "ifc"),
            "lsta_cell.conv_o_x.weight",
        ),
        "cell.memory_conv.weight": ("lsta_cell.conv_o_c.weight",),
        "cell.memory_conv.bias": ("lsta_cell.conv_o_x.bias",),
        "cell.entries.weight": ("lsta_cell.c_classifier.weight",),
        "cell.coupling.weight": ("lsta_cell.coupling_fc.weight",),
        "tracker.input_conv.weight": tuple(f"lsta_cell.conv_{gate}_cam.weight" for gate in "ifao"),
        "tracker.input_conv.bias": tuple(f"lsta_cell.conv_{gate}_s.bias" for gate in "ifao"),
        "tracker.hidden_conv.weight": tuple(f"lsta_cell.conv_{gate}_s.weight" for gate in "ifao"),
    }


class MendedLSTAHead(_Family):
    """LSTA whose coupling learns: the output gate takes the mean of the entries under their scores' softmax.

    In place of the one entry with the highest score; see `PooledLSTM`. Where one score is far above the
    others it is `LSTAHead`.

    Examples:
        >>> head = MendedLSTAHead(8, 3)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 3])
    """

    mended: ClassVar[bool] = True


class LSTAAttentionHead(_Family):
    """LSTA's attention recurrence before an ordinary ConvLSTM.

    Examples:
        >>> head = LSTAAttentionHead(8, 3)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 3])
    """

    pools: ClassVar[bool] = False


class LSTAGatingHead(_Family):
    """LSTA's output pooling behind Ego-RNN's attention, the softmax of each frame's own CAM.

    Examples:
        >>> head = LSTAGatingHead(8, 3)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 3])
    """

    untrained: ClassVar[tuple[str, ...]] = ("cell.coupling.weight",)
    tracks: ClassVar[bool] = False
