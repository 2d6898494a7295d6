"""A recurrence of messages between the cells of a frame: MPNNEL (Tai et al., 2022).

Axes: B clips, T frames, N cells, the nodes of a graph, C channels, D features, h w cells.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from core.seeding import deterministic_attention
from models.temporal.base import TemporalHead


class _Messages(nn.Module):
    """FFN(MHA(LN v) + v): attention of 8 heads among the nodes of a frame, then two layers as wide."""

    HEADS: ClassVar[int] = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, self.HEADS, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, nodes: Tensor) -> Tensor:
        """Pass messages between the nodes of each frame (B, N, D), every one with every other."""
        normed = self.norm(nodes)
        with deterministic_attention():
            heard, _ = self.attention(normed, normed, normed, need_weights=False)
        joined: Tensor = self.feed_forward(heard + nodes)
        return joined


class MPNNELHead(TemporalHead):
    """Mean over the cells of what a graph of them says after the last frame, its edges left to attention.

    With LN a layer norm, M(v) = FFN(MHA(LN v) + v), and s the nodes' state, zero before the first frame:

        x = A N ReLU(LN(W_x g))                      `embed`; A is the attention
        p = W_p [x, s],  z = LN(p) sigmoid(MLP(p))   `join`, `join_norm`, `join_gate`
        m = M(z)                                     `messages`
        s = tanh(W_s M([m, z]))                      `update`, `to_state`
        y = M(W_y s)                                 `to_output`, `readout`

    Without positions the nodes are a bag: permuting the cells of all frames alike changes nothing. The
    attention weighs what is embedded, times the number of cells; before the norm it would do next to
    nothing. Of the authors' three kinds of edges this has the implicit one, without the norm that nothing
    used; how wide the gate's MLP is (an eighth) is this project's choice.

    Examples:
        >>> head = MPNNELHead(6, 8)
        >>> head(torch.zeros(2, 4, 6, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 8])
    """

    hidden_step: ClassVar[int] = _Messages.HEADS

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        narrow = hidden // 8
        self.embed = nn.Sequential(nn.Linear(in_channels, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.join, self.join_norm = nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden)
        self.join_gate = nn.Sequential(nn.Linear(hidden, narrow), nn.ReLU(), nn.Linear(narrow, hidden))
        self.messages = _Messages(hidden)
        self.update, self.to_state = _Messages(2 * hidden), nn.Linear(2 * hidden, hidden)
        self.to_output, self.readout = nn.Linear(hidden, hidden), _Messages(hidden)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, D)."""
        return self._read(self._run(maps, cam)[:, -1:]).mean(dim=2)[:, 0]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the means of y_1 to y_T, (B, T, D)."""
        return self._read(self._run(maps, cam)).mean(dim=2)

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return y_1 to y_T, (B, T, D, h, w)."""
        outputs = self._read(self._run(maps, cam)).transpose(2, 3)  # (B, T, D, N)
        return outputs.reshape(*outputs.shape[:3], *maps.shape[3:])

    def cut(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut before the attention, which follows a layer of the head's own."""
        return maps, lambda maps: self(maps, cam)

    def _run(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the nodes' states s_1 to s_T, (B, T, N, D)."""
        embedded = self.embed(maps.flatten(3).transpose(2, 3))  # (B, T, N, D)
        if (attention := self.attention(cam)) is not None:
            weight = attention.flatten(2)  # (B, T, N)
            embedded = embedded * (weight * weight.shape[2])[..., None]
        state, states = torch.zeros_like(embedded[:, 0]), []
        for nodes in embedded.unbind(dim=1):
            pair = self.join(torch.cat([nodes, state], dim=2))
            joined = self.join_norm(pair) * self.join_gate(pair).sigmoid()
            updated = self.update(torch.cat([self.messages(joined), joined], dim=2))
            state = self.to_state(updated).tanh()
            states.append(state)
        return torch.stack(states, dim=1)

    def _read(self, states: Tensor) -> Tensor:
        """Turn states (B, T, N, D) into outputs y (B, T, N, D)."""
        read: Tensor = self.readout(self.to_output(states).flatten(0, 1))
        return read.view_as(states)
