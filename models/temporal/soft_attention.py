"""Learned spatial attention in place of the CAM's: the soft attention LSTM.

Axes: B clips, T frames, P clips cut short, N = h w cells, C channels, D features.
"""

from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.temporal.base import TemporalHead


class SoftAttentionHead(TemporalHead):
    """The last hidden state h_T of an LSTM that chooses itself where to look (Sharma et al., 2015).

        e_i = U tanh(W_c x_i + W_d h_(t-1) + b)         score of cell i
        a = softmax over the cells of e
        x = sum over i of a_i x_i
        h_t, c_t = LSTM(x, h_(t-1), c_(t-1))
        h_0 = tanh(W_s m + b_s), c_0 = tanh(W_m m + b_m)

    `of_cell` is W_c with b, `of_state` W_d, `score` U; `first_hidden` and `first_memory` are W_s and W_m with
    their biases. The scores' own bias is left out, since the softmax takes it away again. The CAM plays no
    part; a is what Ego-RNN shows as its attention, with --attention none too.

    m is the mean over all cells and frames of the clip, as published, and so looks ahead: the attention of
    the first frame depends on the last. A clip that was seen in part is therefore a clip of its own, with the
    m of what was seen. States keep to this definition and are found for all ends of the clip side by side.

    The scores look at the cells, as in the released code; the paper's equation 4 has W_d h_(t-1) alone. Left
    out are the losses of every step (a training's own choice here), the tanh layer before its classifier, and
    the penalty on cells that no frame looks at, which was switched off in the release.

    Examples:
        >>> head, maps = SoftAttentionHead(8, 3), torch.zeros(2, 4, 8, 7, 7)
        >>> feature, heat = head.with_heat(maps, cam=None)
        >>> feature.shape, heat.shape
        (torch.Size([2, 3]), torch.Size([2, 4, 7, 7]))
    """

    own_attention: ClassVar[bool] = True
    no_cells: ClassVar[str] = "joins the frames by an LSTM, whose score lies on no cells"

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.of_cell = nn.Linear(in_channels, in_channels)
        self.of_state = nn.Linear(hidden, in_channels, bias=False)
        self.score = nn.Linear(in_channels, 1, bias=False)
        self.first_hidden = nn.Linear(in_channels, hidden)
        self.first_memory = nn.Linear(in_channels, hidden)
        self.cell = nn.LSTMCell(in_channels, hidden)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w) to (B, D)."""
        return self.with_heat(maps, cam)[0]

    def with_heat(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the feature (B, D) and a, the weight of each cell (B, T, h, w)."""
        states, weights = self._read(maps, maps.mean(dim=(1, 3, 4))[:, None])
        return states[:, 0], weights.view(*maps.shape[:2], *maps.shape[3:])

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the feature of the clip that ends after each frame, (B, T, D)."""
        counts = torch.arange(1, maps.shape[1] + 1, device=maps.device)
        # torch.cumsum has no deterministic kernel on a GPU.
        sums = torch.stack(list(accumulate(maps.mean(dim=(3, 4)).unbind(dim=1), torch.add)), dim=1)
        return self._read(maps, sums / counts[:, None])[0]

    def _read(self, maps: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Read the P clips that end with each of the last P frames, side by side.

        Args:
            maps: The clip's maps. Shape: (B, T, C, h, w).
            means: m of each of the P clips, the shortest first. Shape: (B, P, C).

        Returns:
            Their features (B, P, D), and the weights (B, T, N) of the longest.
        """
        cells = maps.flatten(3).transpose(2, 3)  # (B, T, N, C)
        seen = self.of_cell(cells)  # (B, T, N, C)
        hidden, memory = self.first_hidden(means).tanh(), self.first_memory(means).tanh()  # (B, P, D)
        ended: list[Tensor] = []
        weights: list[Tensor] = []
        for frame in range(maps.shape[1]):
            if frame > maps.shape[1] - means.shape[1]:  # the shortest clip is over
                ended.append(hidden[:, 0])
                hidden, memory = hidden[:, 1:], memory[:, 1:]
            scores = self.score((seen[:, frame, None] + self.of_state(hidden)[:, :, None]).tanh())
            weight = scores.squeeze(3).softmax(dim=2)  # (B, P, N)
            weights.append(weight[:, -1])
            looked_at = weight @ cells[:, frame]  # (B, P, C)
            before = (hidden.flatten(0, 1), memory.flatten(0, 1))
            hidden, memory = (
                state.unflatten(0, looked_at.shape[:2])
                for state in self.cell(looked_at.flatten(0, 1), before)
            )
        return torch.stack([*ended, hidden[:, 0]], dim=1), torch.stack(weights, dim=1)
