"""Channel-separated convolutions (Tran et al., ICCV 2019), on torchvision's VideoResNet.

Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from torch import Tensor, nn
from torchvision.models.video.resnet import Bottleneck, VideoResNet

from models.video.base import VideoNetwork, in_turn

_BLOCKS = {"csn26": [2, 2, 2, 2], "csn50": [3, 4, 6, 3]}


class Depthwise(nn.Conv3d):
    """A 3x3x3 convolution of each channel apart: the interaction-reduced form.

    Examples:
        >>> Depthwise(8, 8).weight.shape
        torch.Size([8, 1, 3, 3, 3])
    """

    def __init__(
        self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1
    ) -> None:
        super().__init__(in_planes, out_planes, 3, stride, 1, groups=in_planes, bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Give the stride of the shortcut beside it."""
        return stride, stride, stride


class CSN(VideoNetwork):
    """An ir-CSN: bottlenecks whose 3x3x3 convolutions see one channel each; the others see no neighbours.

    The frames are halved in layer2, layer3 and layer4. It begins at random: depthwise kernels fit no 2D
    ResNet.

    Args:
        network: "csn26" or "csn50".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> CSN("csn26", 5, frames=7).eval().maps(torch.zeros(1, 7, 3, 32, 32)).shape
        torch.Size([1, 1, 2048, 1, 1])
    """

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        super().__init__(network, num_classes, features=2048, frames=frames, dropout=dropout)
        net = VideoResNet(Bottleneck, [Depthwise] * 4, _BLOCKS[network], _stem, num_classes=1)
        net.fc = nn.Identity()
        self.net = net

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        return video_resnet_maps(self.net, clips)


def video_resnet_maps(net: nn.Module, clips: Tensor) -> Tensor:
    """Run a torchvision VideoResNet on clips (B, 3, T, H, W) up to its last maps (B, C, S, h, w)."""
    return in_turn(net, ("stem", "layer1", "layer2", "layer3", "layer4"), clips)


def _stem() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, 64, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    )
