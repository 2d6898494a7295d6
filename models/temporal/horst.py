"""Higher-order recurrence: attention in space and time to a queue of past states (HORST, Tai et al., 2021).

Axes: B clips, T frames, S states in the queue, C channels, D features, h w cells.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.temporal.base import TemporalHead

# Of one state of the queue: K_j (B, D, h, w), f_K(K_j) (B, 1, h, w) and V_j (B, D, h, w).
_State = tuple[Tensor, Tensor, Tensor]


class _Normed(nn.Sequential):
    """A 3x3 convolution, GN: normalised over all channels and cells, with a gain and a bias a channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        super().__init__(convolution, nn.GroupNorm(1, out_channels))


class _Mask(nn.Module):
    """f: a weight in (0, 1) of each cell (B, 1, h, w), from the mean and the largest of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh the cells of maps (B, D, h, w)."""
        seen = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        weight: Tensor = self.convolution(seen)
        return weight.sigmoid()


class _ChannelGate(nn.Module):
    """SE': y + y sigmoid(MLP(mean of y over the cells)), the MLP a quarter as wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 4)
        self.mlp = nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Gate the channels of maps (B, D, h, w)."""
        gate: Tensor = self.mlp(maps.mean(dim=(2, 3)))
        return maps + maps * gate.sigmoid()[:, :, None, None]


class HORST(nn.Module):
    """A recurrence in which each frame attends to the last S states, cell by cell and as a whole.

    With * a 3x3 convolution, GN a normalisation and SE' a gate of the channels:

        e_t = SiLU(GN(W * x_t))                               `embed`
        Q = GN(W_q * e_t)                                     `query`
        K_j, V_j = GN(W_k * [e_j, a_j]), GN(W_v * [e_j, a_j])  `key`, `value`; j one of the last S frames
        g_j = sigmoid(q_j . K_j) at each cell, q_j the mean over the cells of f_K(K_j) Q
        w = softmax over j of <f_Q(Q) Q, f_K(K_j) K_j> / sqrt(D h w)
        a_t = sum over j of w_j g_j V_j
        y_t = SE'(SiLU(GN(W_o * [x_t, a_t + e_t])))           `output`, `gate`

    The masks f are `query_mask` and `key_mask`. The first frame attends to one state of zeros, which is then
    dropped. The equations are the released code's; the paper divides by sqrt(D) and has neither convolutions
    nor norms on Q, K and V. Unlike the code, this keeps the keys and values of the queue, which no query
    changes, and leaves out two layers that nothing used. A queue of one state has w = 1, so it has no f_Q.

    Args:
        in_channels: Channels C of the maps.
        hidden: Channels D of the state.
        queue: S, the number of states that a frame attends to.

    Examples:
        >>> HORST(in_channels=8, hidden=4, queue=2)(torch.zeros(2, 5, 8, 7, 7)).shape
        torch.Size([2, 5, 4, 7, 7])
    """

    def __init__(self, in_channels: int, hidden: int, queue: int) -> None:
        super().__init__()
        self.hidden, self.queue = hidden, queue
        self.embed = _Normed(in_channels, hidden)
        self.query = _Normed(hidden, hidden)
        self.key, self.value = _Normed(2 * hidden, hidden), _Normed(2 * hidden, hidden)
        self.query_mask = _Mask() if queue > 1 else None
        self.key_mask = _Mask()
        self.output = _Normed(in_channels + hidden, hidden)
        self.gate = _ChannelGate(hidden)

    def forward(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return y_1 to y_T, (B, T, D, h, w)."""
        return self._read(maps, self._context(maps))

    def last(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return y_T alone, (B, D, h, w)."""
        return self._read(maps[:, -1:], self._context(maps)[:, -1:])[:, 0]

    def _context(self, maps: Tensor) -> Tensor:
        """Return a_t + e_t, (B, T, D, h, w)."""
        embedded: Tensor = F.silu(self.embed(maps.flatten(0, 1)))  # (B * T, D, h, w)
        shape = *maps.shape[:2], *embedded.shape[1:]
        queries, embeddings = self.query(embedded).view(shape), embedded.view(shape)
        nothing = self._keep(embedded.new_zeros(len(maps), 2 * self.hidden, *maps.shape[3:]))
        states: list[_State] = []
        attended: list[Tensor] = []
        for step, query in enumerate(queries.unbind(dim=1)):
            if step:
                last = torch.cat([embeddings[:, step - 1], attended[-1]], dim=1)  # (B, 2D, h, w)
                states = [*states, self._keep(last)][-self.queue :]
            attended.append(self._attend(query, states or [nothing]))
        return torch.stack(attended, dim=1) + embeddings

    def _read(self, maps: Tensor, context: Tensor) -> Tensor:
        """Return y (B, T, D, h, w) of frames (B, T, C, h, w) and their a_t + e_t."""
        seen = torch.cat([maps, context], dim=2).flatten(0, 1)
        output: Tensor = self.gate(F.silu(self.output(seen)))
        return output.view_as(context)

    def _keep(self, state: Tensor) -> _State:
        """Turn [e_j, a_j] (B, 2D, h, w) into K_j, f_K(K_j) and V_j."""
        key = self.key(state)
        return key, self.key_mask(key), self.value(state)

    def _attend(self, query: Tensor, states: list[_State]) -> Tensor:
        """Return a_t (B, D, h, w)."""
        keys, masks, values = (torch.stack(parts, dim=1) for parts in zip(*states, strict=True))
        pooled = (masks * query[:, None]).mean(dim=(3, 4), keepdim=True)  # (B, S, D, 1, 1)
        values = values * (pooled * keys).sum(dim=2, keepdim=True).sigmoid()  # (B, S, D, h, w)
        if self.query_mask is None:
            return values[:, 0]
        masked = (self.query_mask(query) * query).flatten(1)  # (B, D * h * w)
        scores = torch.einsum("bn,bsn->bs", masked, (masks * keys).flatten(2)) / math.sqrt(masked.shape[1])
        return torch.einsum("bs,bsdhw->bdhw", scores.softmax(dim=1), values)


class HORSTHead(TemporalHead):
    """Average pool of HORST's output y_T over a queue of 8 states, as in the released code.

    Its convolutions see each frame weighted by the attention, times the number of cells, so that an even
    attention changes nothing.

    Examples:
        >>> head = HORSTHead(8, 4)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 4])
    """

    QUEUE: ClassVar[int] = 8
    """S, the number of past states that a frame attends to."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = HORST(in_channels, hidden, self.QUEUE)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, D)."""
        return self.cell.last(self.focus(maps, cam)).mean(dim=(2, 3))

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the pooled outputs y_1 to y_T, (B, T, D)."""
        return self.cell_features(maps, cam).mean(dim=(3, 4))

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the outputs y_1 to y_T, (B, T, D, h, w); the mean of the last one is the feature."""
        outputs: Tensor = self.cell(self.focus(maps, cam))
        return outputs


class FirstOrderHORSTHead(HORSTHead):
    """HORST of the first order: each frame attends to the state before it alone.

    Examples:
        >>> FirstOrderHORSTHead(8, 4)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 4])
    """

    QUEUE: ClassVar[int] = 1
