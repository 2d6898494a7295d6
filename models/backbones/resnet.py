"""torchvision's ResNets, the backbone of Ego-RNN.

Axes: N frames, C channels, h w cells.
"""

from collections.abc import Callable
from typing import ClassVar
from urllib.error import URLError

from torch import Tensor, nn
from torchvision.models import (
    ResNet,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    resnet18,
    resnet34,
    resnet50,
)

from core.errors import UserError
from models.backbones.base import Family, LastMaps, Part

RESNETS: dict[str, Callable[..., ResNet]] = {
    model.__name__: model for model in (resnet18, resnet34, resnet50)
}
_IMAGENET = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}


class ResNetFamily(Family):
    """ResNets: `f` is ReLU(BN(conv) + residual) of the last block, `g` its conv + residual.

    Examples:
        >>> import torch
        >>> net = ResNetFamily().build("resnet18", 5).eval()
        >>> ResNetFamily().last(net, torch.zeros(1, 256, 4, 4)).layer4.shape
        torch.Size([1, 512, 2, 2])
    """

    title: ClassVar[str] = "ResNet"
    key: ClassVar[str] = "resnet"
    first: ClassVar[str] = "conv1"
    classifier: ClassVar[str] = "fc"
    mark: ClassVar[str] = "layer1.0.conv1.weight"
    last_stage: ClassVar[tuple[str, ...]] = ("layer4",)
    # Only the convolutions: batch norm's affine parameters and the downsample convolution stay as they were.
    last_convolutions: ClassVar[tuple[str, ...]] = ("layer4.*.conv?.weight",)
    layer3_convolutions: ClassVar[tuple[str, ...]] = ("layer3.*.conv?.weight",)

    def build(self, name: str, num_classes: int) -> ResNet:
        """Build torchvision's."""
        return RESNETS[name](weights=None, num_classes=num_classes)

    def imagenet(self, name: str) -> dict[str, Tensor]:
        """Download torchvision's, with its hash check."""
        try:
            weights: dict[str, Tensor] = _IMAGENET[name].get_state_dict(progress=True, check_hash=True)
        except (URLError, OSError, RuntimeError) as error:
            raise UserError(
                f"ImageNet weights of {name} can't be downloaded ({error}). Three ways on: --weights PATH to "
                "a state_dict with torchvision's names; --backbone efficientnet_lite0, whose weights come as "
                "a package; or pre-train a backbone with train_frame.py and give its run directory as "
                "--weights"
            ) from None
        return weights

    def trunk(self, network: nn.Module) -> tuple[Part, ...]:
        """Cut in front of layer3, which a motion head may train."""
        net = _resnet(network)

        def stem(frames: Tensor) -> Tensor:
            maps: Tensor = net.maxpool(net.relu(net.bn1(net.conv1(frames))))
            return net.layer2(net.layer1(maps))  # type: ignore[no-any-return]

        return Part((net.conv1, net.bn1, net.layer1, net.layer2), stem), Part((net.layer3,), net.layer3)

    def last(self, network: nn.Module, layer3: Tensor) -> LastMaps:
        """Write the last block out, since g stands inside it."""
        net = _resnet(network)
        residual = net.layer4[:-1](layer3)
        # g is "conv + residual": the reference code reads the sum before batch norm and ReLU.
        convolved, layer4 = _run_block(net.layer4[-1], residual)
        logits = net.fc(net.avgpool(layer4).flatten(1))
        return LastMaps(layer4, convolved + residual, logits)

    def layer3_channels(self, network: nn.Module) -> int:
        """Count half of layer4's."""
        return int(_resnet(network).fc.in_features) // 2


def _resnet(network: nn.Module) -> ResNet:
    assert isinstance(network, ResNet)
    return network


def _run_block(block: nn.Module, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Run a residual block written out; return its last convolution's output and its own."""
    numbers = (1, 2, 3) if hasattr(block, "conv3") else (1, 2)  # bottlenecks have a third convolution
    maps = residual
    for number in numbers:
        convolved = block.get_submodule(f"conv{number}")(maps)
        maps = block.get_submodule(f"bn{number}")(convolved)
        maps = (maps if number < numbers[-1] else maps + residual).relu_()
    return convolved, maps


FAMILY = ResNetFamily()
