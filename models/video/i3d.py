"""I3D on a ResNet: a trained 2D network inflated to 3D (Carreira and Zisserman, CVPR 2017).

Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from core.stage import Stage
from models.backbones.resnet import RESNETS
from models.video.base import PARTIAL_BN, Start, VideoNetwork, load_all, read_2d, resnet_maps
from models.video.inflate import inflate, inflate_state, initialise


class InflatedResNet(VideoNetwork):
    """A ResNet whose kernels span 5 frames in the first layer and 3 in some of its blocks.

    In bottlenecks the first 1x1 convolution of every second block (in layer4 the second one) becomes 3x1x1,
    as in the non-local paper; in basic blocks the first 3x3 convolution of every block becomes 3x3x3. After
    layer1 pairs of frames are pooled. Its weights are those of the 2D network, divided by the kernel's length
    in time.

    Args:
        network: "i3d-" and the name of a ResNet.
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).
        time_padding: "replicate" repeats the first and the last frame beyond the borders, so that a still
            clip gives the 2D network's output; "zeros" is how such networks were published.

    Examples:
        >>> import torch
        >>> model = InflatedResNet("i3d-resnet18", 5, frames=7).eval()
        >>> model.net.conv1.weight.shape, model(torch.zeros(1, 7, 3, 32, 32)).heat.shape
        (torch.Size([64, 3, 5, 7, 7]), torch.Size([1, 7, 1, 1]))
    """

    START: ClassVar[Start] = "imagenet"
    PARTIAL_BN: ClassVar[Stage | None] = PARTIAL_BN
    FLAGS: ClassVar[Mapping[str, Any]] = {"time_padding": "replicate"}

    def __init__(
        self,
        network: str,
        num_classes: int,
        *,
        frames: int,
        dropout: float = 0.5,
        time_padding: Literal["replicate", "zeros"] = "replicate",
    ) -> None:
        net = RESNETS[network.removeprefix("i3d-")](weights=None, num_classes=1)
        super().__init__(network, num_classes, features=net.fc.in_features, frames=frames, dropout=dropout)
        net.fc = nn.Identity()
        inflate(net, _bottlenecks if network.endswith("50") else _basic_blocks, time_padding)
        initialise(net)
        net.layer1.append(nn.MaxPool3d((2, 1, 1), ceil_mode=True))
        self.net = net

    def start(self, source: str) -> None:
        """Load the ResNet's weights, inflated."""
        weights = read_2d(source, self.network.removeprefix("i3d-"), self.network)
        if weights is not None:
            load_all(self.net, inflate_state(weights, self.net.state_dict()), f"--weights {source}")

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        return resnet_maps(self.net, clips)


def _basic_blocks(name: str) -> int:
    """Give the length in time of a convolution of a ResNet-18 or 34."""
    return 5 if name == "conv1" else 3 if name.endswith(".conv1") else 1


def _bottlenecks(name: str) -> int:
    """Give the length in time of a convolution of a ResNet-50."""
    if name == "conv1":
        return 5
    layer, _, rest = name.partition(".")
    block, _, part = rest.partition(".")
    if part != "conv1":
        return 1
    chosen = {"layer1": True, "layer4": int(block) == 1}.get(layer, int(block) % 2 == 0)
    return 3 if chosen else 1
