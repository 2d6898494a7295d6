"""Gated shifts behind every block's last convolution: GSM (Sudhakaran et al., CVPR 2020), GSF (TPAMI 2023).

A gate in [-1, 1] for each cell and each half of the channels says how much of a feature moves to a neighbour:
of the first half's channels to the frame before, of the second half's to the frame after. With the gate at 0
the network is the one of single frames, with the gate at 1 it shifts half of its channels each way.

Axes: B clips, T frames of a clip, N = B * T, C channels, H W cells.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from models.inserts.base import ConvOverClips, clips_of, frames_of, of_next, of_previous

FUSED_SHARE = 0.25
"""Share of the channels that GSF moves; the rest pass as they are."""


class GateShift(nn.Module):
    """GSM: y = moved(g x) + x - g x, with g = tanh(W * ReLU(BN(x))) and W a convolution over time and cells.

    Equations 1 to 6 of the paper: `norm` is the batch norm, `plane` W, which makes one plane g for each half
    of the channels from that half; "moved" takes the first half from the next frame and the second from the
    previous one. W begins at 0, and with it g, so that the network begins as the one of single frames.

    The released code then interleaves the two quarters of each half of the channels, as a regularisation. In
    a pre-trained network the next layer meets its channels in another order and nothing is left of what it
    has learned, so here it is an option.

    Args:
        channels: C, even; with `shuffle` a multiple of 4.
        shuffle: Interleave the channels, to read released weights or to repeat the release.

    Examples:
        >>> GateShift(8)(torch.zeros(2, 5, 8, 4, 4)).shape
        torch.Size([2, 5, 8, 4, 4])
    """

    def __init__(self, channels: int, *, shuffle: bool = False) -> None:
        super().__init__()
        multiple = 4 if shuffle else 2
        if channels % multiple or not channels:
            raise UserError(f"a gate needs a multiple of {multiple} channels, not {channels}")
        self.shuffle = shuffle
        self.norm = nn.BatchNorm3d(channels)
        self.plane = nn.Conv3d(channels, 2, 3, padding=1, groups=2)
        nn.init.zeros_(self.plane.weight)
        assert self.plane.bias is not None
        nn.init.zeros_(self.plane.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Move a part of each feature to a neighbour. Shape: (B, T, C, H, W), kept."""
        moved, stayed = self.parts(clips)
        joined = moved + stayed
        if self.shuffle:
            quarters = torch.unflatten(joined, 2, (2, 2, -1))
            joined = quarters.transpose(3, 4).flatten(2, 4)
        return joined

    def parts(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return what arrives at each feature and what stays of it, both of shape (B, T, C, H, W)."""
        gate = torch.tanh(self.plane(torch.relu(self.norm(clips.transpose(1, 2)))))  # (B, 2, T, H, W)
        gate = gate.transpose(1, 2)[:, :, :, None]  # (B, T, 2, 1, H, W)
        halves = torch.unflatten(clips, 2, (2, -1))  # (B, T, 2, C/2, H, W)
        going = gate * halves
        moved = torch.cat([of_next(going[:, :, 0]), of_previous(going[:, :, 1])], dim=2)
        return moved, (halves - going).flatten(2, 3)


class GateShiftFuse(nn.Module):
    """GSF: y = w moved(g x) + (1 - w) (x - g x) in a quarter of the channels, with w for channel and frame.

    `gate` makes g and both parts as in `GateShift`. For each half of the channels, the means of both parts
    over the cells are a picture of two planes, channels by frames; w is the sigmoid of a 3 x 3 convolution of
    it (`fuse`, two planes in, one out, for each half).

    Deviations: in the released code neither convolution begins at 0, so that w begins near 1/2 and every
    feature is halved. Here both do, and the bias of `fuse` begins at -4: w is then 0.018, and the module
    begins within 2 % of the network of single frames. The release interleaves channels as GSM's does; here
    they keep their order.

    Args:
        channels: C; the first quarter of them, made even, passes through the module.

    Examples:
        >>> fuse = GateShiftFuse(16)
        >>> x = torch.randn(2, 5, 16, 4, 4)
        >>> torch.allclose(fuse(x), x, rtol=0.02), fuse(x)[:, :, 4:].equal(x[:, :, 4:])
        (True, True)
    """

    START: ClassVar[float] = -4.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fused = int(channels * FUSED_SHARE) // 2 * 2
        if self.fused == 0:
            raise UserError(f"gsf needs {round(2 / FUSED_SHARE)} channels or more, not {channels}")
        self.gate = GateShift(self.fused)
        self.fuse = nn.Conv2d(4, 2, 3, padding=1, groups=2)
        nn.init.zeros_(self.fuse.weight)
        assert self.fuse.bias is not None
        nn.init.constant_(self.fuse.bias, self.START)

    def forward(self, clips: Tensor) -> Tensor:
        """Weigh what moves against what stays. Shape: (B, T, C, H, W), kept."""
        fused, own = torch.split(clips, [self.fused, clips.shape[2] - self.fused], dim=2)
        parts = torch.stack(self.gate.parts(fused), dim=2)  # (B, T, 2, F, H, W): moved, stayed
        means = torch.unflatten(parts.mean(dim=(4, 5)), 3, (2, -1))  # (B, T, 2, 2, F/2)
        pictures = means.permute(0, 3, 2, 4, 1).flatten(1, 2)  # (B, 2 * 2, F/2, T): each half's two planes
        weight = torch.sigmoid(self.fuse(pictures)).flatten(1, 2)  # (B, F, T)
        weight = weight.transpose(1, 2)[..., None, None]  # (B, T, F, 1, 1)
        moved, stayed = parts.unbind(dim=2)
        return torch.cat([weight * moved + (1 - weight) * stayed, own], dim=2)


class GatedConv2d(ConvOverClips):
    """GSM in the ResNet: a convolution whose maps pass through a gate, before the batch norm that follows.

    Examples:
        >>> conv = GatedConv2d.take_over(nn.Conv2d(3, 8, 3, padding=1), 5)
        >>> conv(torch.zeros(10, 3, 6, 6)).shape
        torch.Size([10, 8, 6, 6])
    """

    first: ClassVar[bool] = False
    gate: nn.Module

    def begin(self) -> None:
        """Add the gate."""
        self.gate = GateShift(self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve frames (N, C, H, W), then let a part of them move within their clips."""
        maps = super().forward(x)
        gated: Tensor = self.gate(clips_of(maps, self.length))
        return frames_of(gated, maps)


class ShuffledGatedConv2d(GatedConv2d):
    """GSM as released, with the channels interleaved: for networks that are trained from scratch.

    Examples:
        >>> ShuffledGatedConv2d.take_over(nn.Conv2d(3, 8, 3, padding=1), 5).gate.shuffle
        True
    """

    def begin(self) -> None:
        """Add the gate."""
        self.gate = GateShift(self.out_channels, shuffle=True)


class FusedConv2d(GatedConv2d):
    """GSF in the ResNet: a convolution with GSF behind it.

    Examples:
        >>> FusedConv2d.take_over(nn.Conv2d(3, 16, 3, padding=1), 5).gate.fused
        4
    """

    def begin(self) -> None:
        """Add the gate."""
        self.gate = GateShiftFuse(self.out_channels)
