"""Pseudo-3D ResNet: convolutions in space and in time apart, joined in three ways (Qiu et al., ICCV 2017).

Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from itertools import cycle
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones.resnet import RESNETS
from models.video.base import Start, VideoNetwork, load_all, read_2d, resnet_maps
from models.video.inflate import TimeConv3d, inflate, inflate_state

Kind = Literal["A", "B", "C"]
_LITTLE = 1e-5
"""What the norm in time of kind B begins with; its gradient does not depend on it, but at 0 there is none."""


class PseudoConv(nn.Module):
    """The middle of a bottleneck: S in space (1x3x3), T in time (3x1x1), batch norm and ReLU after each.

    Kind A is T(S(x)), B is S(x) + T(x), C is half of S(x) + T(S(x)), as the authors' code has it; the paper's
    C is the plain sum.

    Args:
        kind: Which of the three.
        space: The convolution in space.
        norm: Its batch norm.

    Attributes:
        time: The convolution in time. Its batch norm is `time_norm`.

    Examples:
        >>> space = TimeConv3d(4, 4, (1, 3, 3), (1, 2, 2), (1, 1))
        >>> PseudoConv("B", space, nn.BatchNorm3d(4))(torch.zeros(1, 4, 3, 8, 8)).shape
        torch.Size([1, 4, 3, 4, 4])
    """

    def __init__(self, kind: Kind, space: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
        super().__init__()
        self.kind = kind
        self.space, self.norm = space, norm
        channels = space.out_channels
        stride = space.stride[1] if kind == "B" else 1
        self.time = TimeConv3d(
            space.in_channels if kind == "B" else channels, channels, (3, 1, 1), (1, stride, stride), (0, 0)
        )
        self.time_norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.time.weight, mode="fan_out", nonlinearity="relu")

    def begin_flat(self) -> None:
        """Let nothing but S be felt: the convolution in time is the identity, kind B's scaled to almost 0.

        At 0 the ReLU behind it would pass no gradient, so that kind B would never learn in time.
        """
        if self.kind == "B":
            nn.init.constant_(self.time_norm.weight, _LITTLE)
            return
        nn.init.zeros_(self.time.weight)
        with torch.no_grad():
            self.time.weight[:, :, 1, 0, 0] = torch.eye(len(self.time.weight))

    def forward(self, clips: Tensor) -> Tensor:
        """Convolve clips (B, C, T, H, W)."""
        space: Tensor = self.relu(self.norm(self.space(clips)))
        time: Tensor = self.time_norm(self.time(clips if self.kind == "B" else space))
        if self.kind == "A":
            return time  # its ReLU is the block's own, which follows
        joined: Tensor = space + self.relu(time)
        return joined if self.kind == "B" else joined / 2


class P3D(VideoNetwork):
    """A ResNet-50 whose 3x3 convolutions become `PseudoConv`s of kinds A, B and C in turn, up to layer3.

    Pools halve the frames after the first layer, layer1, layer2 and layer3, and layer4 is 2D. In eval mode
    it begins as the 2D network: convolutions in time are the identity, or almost 0 beside S. In train mode
    the norms behind them, which the release froze, normalise once more what a ReLU has cut. Strides lie in
    the 3x3 convolutions, as in torchvision's weights; the published network has them in the 1x1 convolutions
    before.

    Args:
        network: "p3d50".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> P3D("p3d50", 5, frames=4).eval().maps(torch.zeros(1, 4, 3, 32, 32)).shape
        torch.Size([1, 1, 2048, 1, 1])
    """

    START: ClassVar[Start] = "imagenet"
    STEP: ClassVar[int | None] = 16

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        net = RESNETS["resnet50"](weights=None, num_classes=1)
        super().__init__(network, num_classes, features=net.fc.in_features, frames=frames, dropout=dropout)
        net.fc = nn.Identity()
        inflate(net, lambda name: 1)
        kinds: cycle[Kind] = cycle(("A", "B", "C"))
        for layer in (net.layer1, net.layer2, net.layer3):
            for block, kind in zip(layer, kinds, strict=False):  # the kinds go on in the next layer
                block.conv2, block.bn2 = PseudoConv(kind, block.conv2, block.bn2), nn.Identity()
            layer.append(nn.MaxPool3d((2, 1, 1), ceil_mode=True))
        net.maxpool = nn.Sequential(net.maxpool, nn.MaxPool3d((2, 1, 1), ceil_mode=True))
        self.net = net

    def start(self, source: str) -> None:
        """Load the ResNet's weights, and let it begin as that 2D network."""
        weights = read_2d(source, "resnet50", self.network)
        if weights is None:
            return
        own = self.net.state_dict()
        moved = {_own_name(key): value for key, value in weights.items()}
        in_time = [key for key in own if ".time" in key]
        load_all(self.net, inflate_state(moved, own), f"--weights {source}", skip=in_time)
        for part in self.net.modules():
            if isinstance(part, PseudoConv):
                part.begin_flat()

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        return resnet_maps(self.net, clips)


def _own_name(name: str) -> str:
    """Rename a weight of a ResNet-50 to where a P3D has it."""
    if name.startswith("layer4"):
        return name
    return name.replace(".conv2.", ".conv2.space.").replace(".bn2.", ".conv2.norm.")
