"""Temporal shift: some channels of a frame come from its neighbours (Lin et al., TSM, ICCV 2019, section 3).

Every block's first convolution sees channels [0, f) of the next frame, [f, 2f) of the previous one and the
rest of its own, f = floor(C / 8); beyond the ends of a clip is 0. The shortcut is not shifted ("residual
shift"). The shift has no parameters. A network trained on single frames stays close to itself: it only meets
an eighth of the channels early and an eighth late.

Axes: B clips, T frames of a clip, N = B * T, C channels, H W cells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from models.inserts.base import ConvOverClips, clips_of, frames_of, of_next, of_previous

PARTS = 8
"""One part in so many of the channels is shifted each way."""


def shift(clips: Tensor, fold: int) -> Tensor:
    """Take channels [0, fold) from the next frame and [fold, 2 fold) from the previous one.

    Args:
        clips: Shape: (B, T, C, H, W).
        fold: Channels shifted each way.

    Returns:
        The shifted clips. Shape: (B, T, C, H, W).
    """
    later, earlier, own = torch.split(clips, [fold, fold, clips.shape[2] - 2 * fold], dim=2)
    return torch.cat([of_next(later), of_previous(earlier), own], dim=2)


class ShiftedConv2d(ConvOverClips):
    """A convolution over maps shifted both ways.

    Attributes:
        fold: Channels f shifted each way.

    Examples:
        >>> conv = ShiftedConv2d.take_over(nn.Conv2d(8, 4, 3, padding=1), 5)
        >>> conv.fold, conv(torch.zeros(10, 8, 6, 6)).shape
        (1, torch.Size([10, 4, 6, 6]))
    """

    first: ClassVar[bool] = True
    fold: int

    def begin(self) -> None:
        """Choose the channels.

        Raises:
            UserError: There are too few to shift one.
        """
        self.fold = self.in_channels // PARTS
        if self.fold == 0:
            raise UserError(f"a temporal shift needs {PARTS} channels or more, not {self.in_channels}")

    def forward(self, x: Tensor) -> Tensor:
        """Shift frames (N, C, H, W) within their clips, then convolve them."""
        shifted = shift(clips_of(x, self.length), self.fold)
        return super().forward(frames_of(shifted, x))


class CausalShiftedConv2d(ShiftedConv2d):
    """A convolution over maps of which channels [0, f) come from the previous frame, none from the next.

    No frame's maps depend on later frames, so that a video can pass frame by frame: see `frame_by_frame`.

    Examples:
        >>> conv = CausalShiftedConv2d.take_over(nn.Conv2d(8, 4, 3, padding=1), 5)
        >>> conv(torch.zeros(10, 8, 6, 6)).shape
        torch.Size([10, 4, 6, 6])
    """

    streams: bool = False
    """Whether each call brings the next frame of B clips, in place of whole clips."""
    previous: Tensor | None = None
    """In a stream: the shifted channels of the frame before, (B, f, H, W); None before the first."""

    def forward(self, x: Tensor) -> Tensor:
        """Shift frames (N, C, H, W) within their clips, then convolve them."""
        moved, own = torch.split(x, [self.fold, self.in_channels - self.fold], dim=1)
        if self.streams:
            before = torch.zeros_like(moved) if self.previous is None else self.previous
            self.previous = moved
        else:
            before = of_previous(clips_of(moved, self.length)).flatten(0, 1)
        return nn.Conv2d.forward(self, torch.cat([before, own], dim=1))


@contextmanager
def frame_by_frame(network: nn.Module) -> Iterator[None]:
    """Inside, each call of a network with "tsm-causal" takes one more frame of each of B clips.

    What a shift remembers of a frame is a part in eight of its channels in each block. It begins empty and is
    forgotten at the end, so that no clip leaks into the next. B stays the same inside.

    Args:
        network: A ResNet, or any network around one.

    Raises:
        UserError: It has no such shifts.

    Examples:
        >>> from models.backbone import Backbone
        >>> backbone = Backbone("resnet18", 5, module="tsm-causal", frames=3).eval()
        >>> clips = torch.randn(2, 3, 3, 32, 32)
        >>> with frame_by_frame(backbone):
        ...     one_by_one = [backbone(clips[:, t : t + 1]).logits for t in range(3)]
        >>> torch.allclose(torch.cat(one_by_one, dim=1), backbone(clips).logits, atol=1e-5)
        True
    """
    shifts = [module for module in network.modules() if isinstance(module, CausalShiftedConv2d)]
    if not shifts:
        raise UserError("only a network with --module tsm-causal takes a clip frame by frame")
    try:
        for module in shifts:
            module.streams, module.previous = True, None
        yield
    finally:
        for module in shifts:
            module.streams, module.previous = False, None


def takes_single_frames(network: nn.Module) -> bool:
    """Whether a network is inside `frame_by_frame`."""
    return any(isinstance(module, CausalShiftedConv2d) and module.streams for module in network.modules())
