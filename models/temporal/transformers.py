"""Transformers over pooled frames: AVT's causal one, and the temporal half of ViViT.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.seeding import deterministic_attention
from models.temporal.base import TemporalHead

_NO_CELLS = "joins pooled frames by a transformer, whose score lies on no cells"


def _blocks(
    width: int, heads: int, depth: int, dropout: float, gelu: Callable[[Tensor], Tensor]
) -> nn.TransformerEncoder:
    """Build pre-norm blocks with a final norm; linear weights N(0, 0.02), biases 0."""
    block = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=dropout, activation=gelu, batch_first=True, norm_first=True
    )
    blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)
    for name, parameter in blocks.named_parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return blocks


class AVTHead(TemporalHead):
    """AVT-h (Girdhar and Grauman, ICCV 2021): a causal transformer's output at the last frame.

        v_t = W_e pool(g_t) + p_t                 `encode`, `positions`
        z_1 .. z_T = W_d LN(GPT2(v_1 .. v_T))     `blocks`, `decode`

    GPT2 is 2 blocks of 4 heads with GELU in its tanh form and dropout 0.1; W_e and W_d have no bias. In AVT,
    z_t stands for the frame to come and is learned with two more losses, on that frame's feature and on the
    actions before; here the loss of z_T's score is the only one. Published networks are 2048 wide and 2 to 12
    blocks deep. The feature is as wide as the maps, C, and `hidden` is the transformer's width.

    Examples:
        >>> head = AVTHead(6, 8, frames=4)
        >>> head(torch.zeros(2, 4, 6, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 6])
    """

    HEADS: ClassVar[int] = 4
    DEPTH: ClassVar[int] = 2
    needs_frames: ClassVar[bool] = True
    hidden_step: ClassVar[int] = HEADS
    no_cells: ClassVar[str] = _NO_CELLS

    def __init__(self, in_channels: int, hidden: int, frames: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = in_channels
        self.encode = nn.Linear(in_channels, hidden, bias=False)
        self.positions = nn.Parameter(0.02 * torch.randn(frames, hidden))
        self.dropout = nn.Dropout(0.1)
        self.blocks = _blocks(hidden, self.HEADS, self.DEPTH, 0.1, partial(F.gelu, approximate="tanh"))
        self.decode = nn.Linear(hidden, in_channels, bias=False)
        for linear in (self.encode, self.decode):
            nn.init.normal_(linear.weight, std=0.01)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, C)."""
        return self.states(maps, cam)[:, -1]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return z_1 to z_T, (B, T, C)."""
        frames = maps.shape[1]
        assert frames <= len(self.positions), f"built for {len(self.positions)} frames, got {frames}"
        tokens = self.dropout(self.encode(self.pool(maps, cam)) + self.positions[:frames])
        later = torch.ones(frames, frames, dtype=torch.bool, device=maps.device).triu(diagonal=1)
        with deterministic_attention():
            states: Tensor = self.decode(self.blocks(tokens, mask=later, is_causal=True))
        return states


class TransformerHead(TemporalHead):
    """The temporal half of ViViT's model 2 (Arnab et al., ICCV 2021): a class token sees all frames.

        v_0 = c + p_0,  v_t = W_e pool(g_t) + p_t     `token`, `encode`, `positions`
        z_0 .. z_T = LN(blocks(v_0 .. v_T))           `blocks`; the feature is z_0

    A frame's pooled maps stand where ViViT has the class token of the frame's own transformer. As there, 4
    pre-norm blocks with GELU; 8 heads. The class token starts at zero. Positions start N(0, 0.2), ten times
    as far apart as a vision transformer's, whose trainings are long enough to tell them apart all the same.

    Examples:
        >>> head = TransformerHead(6, 8, frames=4)
        >>> head(torch.zeros(2, 4, 6, 7, 7), cam=torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 8])
    """

    HEADS: ClassVar[int] = 8
    DEPTH: ClassVar[int] = 4
    needs_frames: ClassVar[bool] = True
    hidden_step: ClassVar[int] = HEADS
    no_cells: ClassVar[str] = _NO_CELLS

    def __init__(self, in_channels: int, hidden: int, frames: int) -> None:
        super().__init__(in_channels, hidden)
        self.encode = nn.Linear(in_channels, hidden)
        self.token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.positions = nn.Parameter(0.2 * torch.randn(1 + frames, hidden))
        self.blocks = _blocks(hidden, self.HEADS, self.DEPTH, 0.0, F.gelu)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, D)."""
        most, given = len(self.positions) - 1, maps.shape[1]
        assert given <= most, f"built for {most} frames, got {given}"
        tokens = torch.cat([self.token.expand(len(maps), -1, -1), self.encode(self.pool(maps, cam))], dim=1)
        with deterministic_attention():
            feature: Tensor = self.blocks(tokens + self.positions[: 1 + given])[:, 0]
        return feature
