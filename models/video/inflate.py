"""2D networks turned into 3D ones: kernels repeated over time and divided by their length (I3D, section 2.1).

A still clip then gives what the 2D network gives of its picture, if nothing but that clip enters: with the
border frames repeated. Zeros beyond the borders, as in every release, spoil it, since at 7 frames nothing is
far from a border.

Axes: B clips, C channels, T frames, H W pixels.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

TimePadding = Literal["replicate", "zeros", "valid"]


class TimeConv3d(nn.Conv3d):
    """A 3D convolution that chooses what lies beyond the first and the last frame.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Time, height and width.
        stride: Likewise.
        padding: Zeros around height and width.
        time_padding: "replicate" repeats the first and the last frame, "zeros" adds zeros, "valid" nothing.
        bias: Whether there is one.

    Examples:
        >>> conv = TimeConv3d(1, 1, (3, 1, 1), (1, 1, 1), (0, 0), "replicate")
        >>> _ = nn.init.constant_(conv.weight, 1 / 3)
        >>> conv(torch.ones(1, 1, 4, 1, 1)).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        stride: tuple[int, int, int],
        padding: tuple[int, int],
        time_padding: TimePadding = "replicate",
        *,
        bias: bool = False,
    ) -> None:
        border = 0 if time_padding == "valid" else kernel_size[0] // 2
        zeros = border if time_padding == "zeros" else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, (zeros, *padding), bias=bias)
        self.repeated = border - zeros

    def forward(self, clips: Tensor) -> Tensor:
        """Convolve clips (B, C, T, H, W)."""
        if self.repeated:
            first, last = (clips[:, :, at].unsqueeze(2) for at in (0, -1))
            clips = torch.cat([first] * self.repeated + [clips] + [last] * self.repeated, dim=2)
        return super().forward(clips)


def inflate(
    module: nn.Module,
    length: Callable[[str], int],
    time_padding: TimePadding = "replicate",
    time_stride: Callable[[str], int] = lambda name: 1,
) -> None:
    """Turn the convolutions, norms and pools inside a 2D network into 3D ones; their names stay.

    Args:
        module: The network, changed in place. Its weights are inflated too.
        length: Kernel size along time of the convolution of a name.
        time_padding: What lies beyond the borders.
        time_stride: Stride along time of the convolution of a name.
    """
    for name, child in list(module.named_modules()):
        parent = module.get_submodule(name.rpartition(".")[0])
        if isinstance(child, nn.Conv2d):
            new: nn.Module = _inflated_convolution(child, length(name), time_stride(name), time_padding)
        elif isinstance(child, nn.BatchNorm2d):
            new = nn.BatchNorm3d(child.num_features, child.eps, child.momentum)
            new.load_state_dict(child.state_dict())
        elif isinstance(child, nn.MaxPool2d):
            size, stride, padding = (_pair(v) for v in (child.kernel_size, child.stride, child.padding))
            new = nn.MaxPool3d((1, *size), (1, *stride), (0, *padding))
        else:
            continue
        setattr(parent, name.rpartition(".")[2], new)


def inflate_weight(weight: Tensor, length: int) -> Tensor:
    """Repeat a kernel over time and divide it by the length: (O, I, k, k) to (O, I, length, k, k)."""
    return weight.unsqueeze(2).repeat(1, 1, length, 1, 1) / length


def inflate_state(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inflate the weights of a 2D network to those of the 3D one with the same names.

    Args:
        weights: 2D weights.
        own: The 3D network's state, which tells the lengths.
    """
    return {
        key: inflate_weight(value, own[key].shape[2])
        if key in own and value.ndim == 4 and own[key].ndim == 5
        else value
        for key, value in weights.items()
    }


def initialise(module: nn.Module) -> None:
    """Draw the first weights of 3D convolutions as torchvision does; norms begin at 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm3d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def _inflated_convolution(
    flat: nn.Conv2d, length: int, time_stride: int, time_padding: TimePadding
) -> TimeConv3d:
    assert flat.bias is None and flat.groups == 1, "ResNets have neither"
    kernel, stride, padding = (_pair(v) for v in (flat.kernel_size, flat.stride, flat.padding))
    new = TimeConv3d(
        flat.in_channels,
        flat.out_channels,
        (length, *kernel),
        (time_stride, *stride),
        padding,
        time_padding,
    )
    with torch.no_grad():
        new.weight.copy_(inflate_weight(flat.weight, length))
    return new


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    assert isinstance(value, tuple)
    down, across = value
    return int(down), int(across)
