"""Frames joined early: as channels of the first layer, or step by step (Karpathy et al., CVPR 2014).

Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from typing import ClassVar

from torch import Tensor, nn

from core.stage import Stage
from models.backbones.resnet import RESNETS
from models.video.base import PARTIAL_BN, Start, VideoNetwork, laid_out, load_all, read_2d, resnet_maps
from models.video.inflate import inflate, inflate_state, initialise


class EarlyFusion(VideoNetwork):
    """A 2D ResNet over all frames of a clip at once, as 3T channels of its first layer.

    It begins with a T-th of the 2D network's first layer for each frame, so that a still clip gives what the
    2D network gives of its picture. The cheapest of all: one pass for a whole clip.

    Args:
        network: "early" (ResNet-18), or "early-" and the name of a ResNet.
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> model = EarlyFusion("early", 5, frames=7).eval()
        >>> model(torch.zeros(1, 7, 3, 32, 32)).logits.shape, model.net.conv1.in_channels
        (torch.Size([1, 5]), 21)
    """

    START: ClassVar[Start] = "imagenet"
    PARTIAL_BN: ClassVar[Stage | None] = PARTIAL_BN

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        net = RESNETS[_resnet(network)](weights=None, num_classes=1)
        super().__init__(network, num_classes, features=net.fc.in_features, frames=frames, dropout=dropout)
        net.fc = nn.Identity()
        flat = net.conv1.weight
        net.conv1 = nn.Conv2d(3 * frames, len(flat), 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.net = net

    def start(self, source: str) -> None:
        """Load the ResNet's weights, the first layer's divided among the frames."""
        weights = read_2d(source, _resnet(self.network), self.network)
        if weights is not None:
            if (first := weights.get("conv1.weight")) is not None and first.ndim == 4:
                weights["conv1.weight"] = first.repeat(1, self.frames, 1, 1) / self.frames
            load_all(self.net, weights, f"--weights {source}")

    def maps(self, frames: Tensor) -> Tensor:
        """Turn clips (B, T, 3, H, W) into last maps of one step, (B, 1, C, h, w).

        Raises:
            UserError: It was built for another number of frames.
        """
        self.require_length(frames)
        return resnet_maps(self.net, laid_out(frames.flatten(1, 2), self)).unsqueeze(1)


class SlowFusion(VideoNetwork):
    """A ResNet-18 that joins neighbouring frames in three steps: 10 frames become 4, 2 and 1.

    The paper's extents in time, 4, 2 and 2 with stride 2 and no padding, lie in the first layer and in the
    first blocks of layer2 and layer3, with their shortcuts, since a ResNet's layers can't shrink apart from
    these. Each 8 frames more leave a step more, and the mean of the steps is taken; clips that lie between
    repeat their last frame.

    Args:
        network: "slowfusion".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> model = SlowFusion("slowfusion", 5, frames=7).eval()
        >>> model.maps(torch.zeros(1, 7, 3, 32, 32)).shape[1]
        1
    """

    START: ClassVar[Start] = "imagenet"
    PARTIAL_BN: ClassVar[Stage | None] = PARTIAL_BN
    LEAST: ClassVar[int] = 10
    MULTIPLE: ClassVar[int] = 8
    EXTENTS: ClassVar[dict[str, int]] = {
        "conv1": 4,
        **{f"layer{n}.0.{part}": 2 for n in (2, 3) for part in ("conv1", "downsample.0")},
    }

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        net = RESNETS["resnet18"](weights=None, num_classes=1)
        super().__init__(network, num_classes, features=net.fc.in_features, frames=frames, dropout=dropout)
        net.fc = nn.Identity()
        inflate(
            net,
            lambda name: self.EXTENTS.get(name, 1),
            "valid",
            time_stride=lambda name: 2 if name in self.EXTENTS else 1,
        )
        initialise(net)
        self.net = net

    def start(self, source: str) -> None:
        """Load the ResNet's weights, inflated."""
        weights = read_2d(source, "resnet18", self.network)
        if weights is not None:
            load_all(self.net, inflate_state(weights, self.net.state_dict()), f"--weights {source}")

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        return resnet_maps(self.net, clips)


def _resnet(network: str) -> str:
    """Name the ResNet of a network that is called "early" or "early-resnet34"."""
    return network.partition("-")[2] or "resnet18"
