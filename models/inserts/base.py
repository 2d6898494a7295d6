"""What modules inside a ResNet have in common: they see frames (N, C, H, W) and know how many make a clip.

Axes: B clips, T frames of a clip, N = B * T, C channels, H W cells.
"""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError


def clips_of(frames: Tensor, length: int) -> Tensor:
    """Cut frames (N, C, H, W) into clips (B, T, C, H, W) of `length` frames.

    Raises:
        UserError: The clips have another number of frames.
    """
    if len(frames) % length:
        raise UserError(
            f"{len(frames)} frames are no whole clips of {length}: a network whose modules join frames takes "
            f"the {length} frames a clip that it was built for"
        )
    return torch.unflatten(frames, 0, (-1, length))


def of_next(clips: Tensor) -> Tensor:
    """Give each frame what belongs to the next one, 0 after the last. Shape: (B, T, ...), kept."""
    return F.pad(clips[:, 1:], (0, 0) * (clips.ndim - 2) + (0, 1))


def of_previous(clips: Tensor) -> Tensor:
    """Give each frame what belongs to the previous one, 0 before the first. Shape: (B, T, ...), kept."""
    return F.pad(clips[:, :-1], (0, 0) * (clips.ndim - 2) + (1, 0))


def frames_of(clips: Tensor, like: Tensor) -> Tensor:
    """Turn clips (B, T, C, H, W) into frames (N, C, H, W) again, in the memory format of `like`."""
    last = like.is_contiguous(memory_format=torch.channels_last)
    frames = clips.flatten(0, 1)
    return frames.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


class ConvOverClips(nn.Conv2d):
    """Base of the convolutions that a module takes over: the layer and its weights' names stay.

    Attributes:
        length: Frames T of a clip.
    """

    first: ClassVar[bool]
    """Whether it is the first convolution of each residual block, or the last."""
    length: int

    @classmethod
    def take_over(cls, conv: nn.Module, length: int) -> Self:
        """Turn a convolution of a ResNet into this one, in its place."""
        assert type(conv) is nn.Conv2d, "each convolution is taken over once"
        conv.__class__ = cls
        assert isinstance(conv, cls)
        conv.length = length
        conv.begin()
        return conv

    def begin(self) -> None:
        """Add what the module needs beside the convolution."""
