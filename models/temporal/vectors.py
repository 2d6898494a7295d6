"""Heads over pooled frames, a vector each: plain LSTMs, and a perceptron over all frames at once."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from models.temporal.base import TemporalHead


class FullPrecisionLSTM(nn.LSTM):
    """torch's LSTM, which on a CPU computes in float32 under autocast too.

    oneDNN has a bfloat16 LSTM for CPUs with AVX-512 alone; elsewhere torch fails in it.
    """

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """Map (B, T, C) to all outputs (B, T, D), and to h_T and c_T of every layer and direction."""
        if frames.is_cuda or not torch.is_autocast_enabled("cpu"):
            found: tuple[Tensor, tuple[Tensor, Tensor]] = super().forward(frames)
            return found
        with torch.autocast("cpu", enabled=False):
            found = super().forward(frames.float())
        return found


class LSTMHead(TemporalHead):
    """The last hidden state h_T of an LSTM, a row of Ego-RNN's table.

    Examples:
        >>> import torch
        >>> LSTMHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 3])
    """

    # cuDNN's LSTM has no backward pass in eval mode; the mode makes no other difference to it.
    needs_train_mode: ClassVar[bool] = True
    no_cells: ClassVar[str] = "joins pooled frames by an LSTM, whose score lies on no cells"
    layers: ClassVar[int] = 1
    """LSTMs on top of each other."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.cell = FullPrecisionLSTM(in_channels, hidden, self.layers, batch_first=True)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, D)."""
        _, (last_hidden, _) = self.cell(self.pool(maps, cam))
        feature: Tensor = last_hidden[-1]
        return feature

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the top layer's hidden states h_1 to h_T, (B, T, D)."""
        hidden: Tensor = self.cell(self.pool(maps, cam))[0]
        return hidden


class DeepLSTMHead(LSTMHead):
    """The top layer's h_T of five LSTMs on top of each other (Ng et al., Beyond Short Snippets, CVPR 2015).

    Published with 512 units a layer and a loss at every frame, whose weight rises over the clip; the loss
    here is the training's own.

    Examples:
        >>> import torch
        >>> DeepLSTMHead(8, 3).states(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 4, 3])
    """

    layers: ClassVar[int] = 5


class BidirectionalLSTMHead(TemporalHead):
    """Two layers of LSTMs that read the clip both ways (DB-LSTM, Ullah et al., IEEE Access 2018).

    Both directions feed both directions of the second layer. The feature joins what each direction of it
    holds at its own end, h_T of the one that reads forwards and h_1 of the other, so it is 2D wide. The
    second depends on the clip's end: states are found from their definition, each from a pass of its own.

    Examples:
        >>> import torch
        >>> BidirectionalLSTMHead(8, 3)(torch.zeros(2, 4, 8, 7, 7), cam=None).shape
        torch.Size([2, 6])
    """

    needs_train_mode: ClassVar[bool] = True  # as `LSTMHead`
    no_cells: ClassVar[str] = "joins pooled frames by LSTMs, whose score lies on no cells"

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__(in_channels, hidden)
        self.features = 2 * hidden
        self.cell = FullPrecisionLSTM(in_channels, hidden, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, 2D)."""
        _, (last_hidden, _) = self.cell(self.pool(maps, cam))  # (4, B, D)
        return torch.cat([last_hidden[-2], last_hidden[-1]], dim=1)


class ConcatHead(TemporalHead):
    """Late fusion: ReLU(W [x_1, ..., x_T] + b) of the pooled frames x_t, with weights for each place.

    The classifier is the second layer of this perceptron. It is built for T frames; where a clip, or the part
    of it seen so far, has fewer, the last one stands in the places that are left.

    Examples:
        >>> import torch
        >>> head = ConcatHead(8, 3, frames=4)
        >>> head(torch.zeros(2, 4, 8, 7, 7), cam=None).shape, head(torch.zeros(2, 1, 8, 7, 7), None).shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    needs_frames: ClassVar[bool] = True
    no_cells: ClassVar[str] = "joins pooled frames by a perceptron, whose score lies on no cells"

    def __init__(self, in_channels: int, hidden: int, frames: int) -> None:
        super().__init__(in_channels, hidden)
        self.frames = frames
        self.fuse = nn.Linear(frames * in_channels, hidden)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, D).

        Raises:
            UserError: The clips have more frames than the head was built for.
        """
        pooled = self.pool(maps, cam)
        left = self.frames - pooled.shape[1]
        if left < 0:
            raise UserError(f"--temporal concat was built for {self.frames} frames, got {pooled.shape[1]}")
        pooled = torch.cat([pooled, pooled[:, -1:].expand(-1, left, -1)], dim=1)
        fused: Tensor = self.fuse(pooled.flatten(1)).relu()
        return fused
