"""SlowFast: a wide pathway over few frames and a thin one over all (Feichtenhofer et al., ICCV 2019).

Axes: B clips, T frames, S slow frames, C channels, H W pixels, h w cells.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.video.base import Start, VideoNetwork, load_all, read_2d
from models.video.inflate import TimeConv3d, inflate, inflate_state, initialise

_BLOCKS = {"slowfast18": (BasicBlock, (2, 2, 2, 2)), "slowfast50": (Bottleneck, (3, 4, 6, 3))}
_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
# Length in time of the first convolution of each stage's blocks.
_SLOW, _FAST = (1, 1, 1, 3, 3), (5, 3, 3, 3, 3)


class SlowFast(VideoNetwork):
    """Two ResNets: the slow one sees every 4th frame, the fast one all with an eighth of the channels.

    After the stem and the first three stages a lateral convolution over 7 frames with stride 4 brings the
    fast maps to the slow pathway, as further channels. Both pathways' means are joined, the slow one's first.
    Clips are lengthened to a multiple of 4 frames, and the slow frames are the first of each four, where the
    lateral convolutions are centred; the authors' code takes frames spread from the first to the last, which
    do not meet the lateral ones. Beyond the borders the first and the last frame are repeated, where the
    release has zeros: of 8 frames the slow pathway has two.

    With 2D weights the slow pathway begins as that network, and the channels from the fast one at random.
    Where they make a ResNet-18's first shortcut a convolution, it begins as the identity, with a batch norm.

    Args:
        network: "slowfast18" or "slowfast50".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).
        width: Channels of the slow pathway's first layer, 64 as published.

    Examples:
        >>> model = SlowFast("slowfast18", 5, frames=7, width=8).eval()
        >>> model.maps(torch.zeros(1, 7, 3, 32, 32)).shape  # 64 slow channels and 8 fast ones
        torch.Size([1, 2, 72, 1, 1])
    """

    START: ClassVar[Start] = "imagenet"
    ALPHA: ClassVar[int] = 4
    BETA: ClassVar[int] = 8
    LEAST: ClassVar[int] = 4
    MULTIPLE: ClassVar[int] = 4

    def __init__(
        self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5, width: int = 64
    ) -> None:
        block, blocks = _BLOCKS[network]
        thin, wide = width // self.BETA, block.expansion
        features = 8 * wide * (width + thin)
        super().__init__(network, num_classes, features=features, frames=frames, dropout=dropout)
        self.slow, self.fast, self.lateral = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        slow_inputs, fast_inputs = 3, 3
        for number, stage in enumerate(_STAGES):
            for pathway, inputs, planes, lengths in (
                (self.slow, slow_inputs, width, _SLOW),
                (self.fast, fast_inputs, thin, _FAST),
            ):
                if stage == "stem":
                    pathway[stage] = _stem(planes)
                else:
                    made = _stage(block, inputs, planes * 2 ** (number - 1), blocks[number - 1], number > 1)
                    pathway[stage] = made
                _over_time(pathway[stage], lengths[number])
            grown = 1 if stage == "stem" else wide * 2 ** (number - 1)
            slow_inputs, fast_inputs = width * grown, thin * grown
            if stage != "layer4":
                self.lateral[stage] = _lateral(fast_inputs, self.ALPHA)
                slow_inputs += 2 * fast_inputs
        initialise(self)
        for part in self.modules():  # the last norm of a block begins at 0, so that a block is its shortcut
            if isinstance(part, BasicBlock | Bottleneck):
                nn.init.zeros_((part.bn3 if isinstance(part, Bottleneck) else part.bn2).weight)

    def start(self, source: str) -> None:
        """Load a ResNet's weights into the slow pathway, but for the channels from the fast one."""
        backbone = self.network.replace("slowfast", "resnet")
        weights = read_2d(source, backbone, self.network)
        if weights is None:
            return
        names = {"conv1.weight": "stem.0.weight"}
        names |= {f"bn1.{part}": f"stem.1.{part}" for part in nn.BatchNorm3d(1).state_dict()}
        own = self.slow.state_dict()
        for key in own:  # a ResNet-18 has no convolution there; the further channels need one
            if key.startswith("layer1.0.downsample.") and key not in weights:
                shape = own[key].shape
                weights[key] = torch.eye(*shape[:2]).view(shape) if len(shape) > 1 else own[key]
        found = inflate_state({names.get(key, key): value for key, value in weights.items()}, own)
        for key, value in found.items():
            if key in own and value.ndim == 5 and value.shape[1] < own[key].shape[1]:
                if value.shape != own[key][:, : value.shape[1]].shape:
                    continue  # of another network, as `load_all` will say
                found[key] = torch.cat([value, own[key][:, value.shape[1] :]], dim=1)
        load_all(self.slow, found, f"--weights {source}")

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w), the fast ones means of four frames."""
        slow, fast = clips[:, :, :: self.ALPHA], clips
        for stage in _STAGES:
            slow, fast = self.slow[stage](slow), self.fast[stage](fast)
            if stage in self.lateral:
                slow = torch.cat([slow, self.lateral[stage](fast)], dim=1)
        fours = fast.reshape(*fast.shape[:2], -1, self.ALPHA, *fast.shape[3:])
        return torch.cat([slow, fours.mean(dim=3)], dim=1)


def _stem(planes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, planes, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(planes),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, blocks: int, halves: bool
) -> nn.Sequential:
    """Make a stage of torchvision's residual blocks, still flat."""
    outputs, stride = planes * block.expansion, 2 if halves else 1
    shortcut = None
    if halves or inputs != outputs:
        flat = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        shortcut = nn.Sequential(flat, nn.BatchNorm2d(outputs))
    rest = [block(outputs, planes) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, planes, stride, shortcut), *rest)


def _over_time(stage: nn.Module, length: int) -> None:
    """Inflate a stage: the stem's convolution, or the first one of each block, spans `length` frames."""
    inflate(stage, lambda name: length if name == "0" or name.endswith(".conv1") else 1)


def _lateral(channels: int, alpha: int) -> nn.Sequential:
    return nn.Sequential(
        TimeConv3d(channels, 2 * channels, (7, 1, 1), (alpha, 1, 1), (0, 0)),
        nn.BatchNorm3d(2 * channels),
        nn.ReLU(inplace=True),
    )
