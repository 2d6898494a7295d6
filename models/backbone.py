"""The ResNet under both streams, torchvision's own, read at the places Ego-RNN needs.

Axes: N frames (clips and time folded together), C channels, H W pixels, h w cells, L backbone classes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet34, resnet50

BackboneName = Literal["resnet18", "resnet34", "resnet50"]
_STRIDE_OF_LAYER3 = 16
_BUILDERS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}


class BackboneMaps(NamedTuple):
    """What a frame gives on its way through the backbone.

    Attributes:
        layer3: Output of the third stage. Shape: (N, C/2, 2h, 2w).
        layer4: `f`, output of the last block: ReLU(BN(conv) + residual). Shape: (N, C, h, w).
        pre_activation: `g`, the last block's conv + residual, no batch norm, no ReLU. Shape: (N, C, h, w).
        logits: The backbone's own class scores. Shape: (N, L).
    """

    layer3: Tensor
    layer4: Tensor
    pre_activation: Tensor
    logits: Tensor


class Backbone(nn.Module):
    """A torchvision ResNet that also gives the maps the attention and the recurrence are built from.

    Frames pass in chunks where batch norm is in eval mode, which makes chunks exact; on a CPU a chunk that
    stays in the cache is faster, on a GPU one call is.
    """

    CPU_CHUNK_PIXELS = 8 * 224 * 224

    def __init__(
        self, name: BackboneName = "resnet34", num_classes: int = 1000, *, in_channels: int = 3
    ) -> None:
        """Build an untrained backbone.

        Args:
            name: Which ResNet.
            num_classes: Classes of the backbone's own classifier, 1000 for ImageNet weights.
            in_channels: Channels of the input, 3 for RGB.
        """
        super().__init__()
        self.resnet: ResNet = _BUILDERS[name](weights=None, num_classes=num_classes)
        if in_channels != 3:
            self.resnet.conv1 = _first_convolution(in_channels, self.resnet.conv1.out_channels)
        self.channels: int = self.resnet.fc.in_features

    def forward(self, frames: Tensor) -> BackboneMaps:
        """Run frames through the whole backbone.

        Args:
            frames: Normalised pictures. Shape: (N, in_channels, H, W).
        """
        return self.last_stage(self.trunk(frames))

    def trunk(self, frames: Tensor) -> Tensor:
        """Everything up to layer3: to (N, C/2, 2h, 2w).

        Ego-RNN's own stages train none of it; a motion head on layer3 has layer3 trained.
        """
        size = self._chunk_size(frames, frames.shape[-2] * frames.shape[-1], self.frozen_modules())
        return torch.cat([self._trunk(chunk) for chunk in torch.split(frames, size)])

    def last_stage(self, layer3: Tensor) -> BackboneMaps:
        """From layer3's output to the two maps of the last block and the backbone's logits."""
        pixels = _STRIDE_OF_LAYER3**2 * layer3.shape[-2] * layer3.shape[-1]
        size = self._chunk_size(layer3, pixels, (self.resnet.layer4,))
        parts = [self._last_stage(chunk) for chunk in torch.split(layer3, size)]
        layer4, pre_activation, logits = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return BackboneMaps(layer3, layer4, pre_activation, logits)

    def frozen_modules(self) -> tuple[nn.Module, ...]:
        """The modules of the trunk, which none of Ego-RNN's own stages train."""
        net = self.resnet
        return net.conv1, net.bn1, net.layer1, net.layer2, net.layer3

    def _trunk(self, frames: Tensor) -> Tensor:
        net = self.resnet
        # A quarter faster on a CPU; but batch norm in train mode is far less accurate so in float32.
        trains = any(module.training for module in self.frozen_modules())
        if not frames.is_cuda and (not trains or torch.is_autocast_enabled("cpu")):
            frames = frames.contiguous(memory_format=torch.channels_last)
        with _full_precision_if_frozen(net.conv1, net.bn1, net.layer1, net.layer2):
            stem = net.maxpool(net.relu(net.bn1(net.conv1(frames))))
            layer2 = net.layer2(net.layer1(stem))
        with _full_precision_if_frozen(net.layer3):
            maps: Tensor = net.layer3(layer2)
        return maps.contiguous()

    def _last_stage(self, layer3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        net = self.resnet
        with _full_precision_if_frozen(net.layer4):
            residual = net.layer4[:-1](layer3)
            # g is "conv + residual": the reference code reads the sum before batch norm and ReLU.
            convolved, layer4 = _run_block(net.layer4[-1], residual)
            logits = net.fc(net.avgpool(layer4).flatten(1))
        return layer4, convolved + residual, logits

    def _chunk_size(self, tensor: Tensor, pixels: int, modules: Iterable[nn.Module]) -> int:
        # In joint training layer4 alone is in train mode: each part is asked, not the backbone.
        whole = any(module.training for module in modules)
        if tensor.is_cuda or whole or tensor.shape[0] == 0:
            return max(1, tensor.shape[0])
        return max(1, self.CPU_CHUNK_PIXELS // pixels)


def _first_convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The first layer of torchvision's ResNet, with its first weights, for another number of channels."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _run_block(block: nn.Module, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Run the last residual block of a stage, written out; give its last convolution's output and its own."""
    numbers = (1, 2, 3) if hasattr(block, "conv3") else (1, 2)
    maps = residual
    for number in numbers:
        convolved = block.get_submodule(f"conv{number}")(maps)
        maps = block.get_submodule(f"bn{number}")(convolved)
        maps = (maps if number < numbers[-1] else maps + residual).relu_()
    return convolved, maps


@contextmanager
def _full_precision_if_frozen(*modules: nn.Module) -> Iterator[None]:
    """Switch autocast off where nothing is trained: in bf16 the CAM's arg max would move."""
    trained = any(p.requires_grad for module in modules for p in module.parameters())
    device = next(modules[0].parameters()).device.type
    with torch.autocast(device, enabled=trained and torch.is_autocast_enabled(device)):
        yield
