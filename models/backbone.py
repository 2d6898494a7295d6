"""The ResNet under both streams, torchvision's own, read at the places Ego-RNN needs.

Axes: B clips, T frames (or flow stacks), N = B * T, C channels, H W pixels, h w cells, L backbone classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet34, resnet50

from core.errors import UserError
from models.inserts import ModuleName, insert, takes_single_frames

BackboneName = Literal["resnet18", "resnet34", "resnet50"]
BACKBONES: dict[str, Callable[..., ResNet]] = {
    model.__name__: model for model in (resnet18, resnet34, resnet50)
}
_STRIDE_OF_LAYER3 = 16


class BackboneMaps(NamedTuple):
    """The maps of each frame on its way through the backbone.

    Attributes:
        layer3: Output of the third stage. Shape: (B, T, C/2, 2h, 2w).
        layer4: `f`, output of the last block: ReLU(BN(conv) + residual). Shape: (B, T, C, h, w).
        pre_activation: `g`, the last block's conv + residual, no batch norm, no ReLU. Shape: (B, T, C, h, w).
        logits: The backbone's own class scores. Shape: (B, T, L).
    """

    layer3: Tensor
    layer4: Tensor
    pre_activation: Tensor
    logits: Tensor


class Backbone(nn.Module):
    """An untrained torchvision ResNet that also gives the maps of the attention and the recurrence.

    How a part of it (the trunk up to layer3, or layer4) is computed follows from what the stage does with
    that part (`core.stage.Stage`); it changes speed and rounding, never what is computed:

    - The part is in train mode, so its batch norm counts: all clips pass at once, in the plain memory format,
      since batch norm in train mode is far less accurate in channels_last.
    - It is in eval mode, on a CPU: whole clips pass in chunks that stay in the processor's cache, the trunk's
      in channels_last, a quarter faster there.
    - Nothing of it learns: it is computed in float32 even under autocast, or the CAM's arg max would move.

    Args:
        name: Which ResNet.
        num_classes: Classes of the backbone's own classifier, 1000 for ImageNet weights.
        in_channels: Channels of the input, 3 for RGB.
        module: What is put into the ResNet so that the frames of a clip know of each other
            (`models.inserts`).
        frames: Frames T of a clip, which a module needs to know.

    Raises:
        UserError: The network has no place for the module, or T leaves it nothing to join.

    Examples:
        >>> maps = Backbone("resnet18", num_classes=5).eval()(torch.zeros(2, 3, 3, 64, 64))
        >>> maps.layer4.shape, maps.logits.shape
        (torch.Size([2, 3, 512, 2, 2]), torch.Size([2, 3, 5]))
    """

    CPU_CHUNK_PIXELS = 8 * 224 * 224

    def __init__(
        self,
        name: BackboneName = "resnet34",
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        module: ModuleName = "none",
        frames: int | None = None,
    ) -> None:
        super().__init__()
        self.resnet: ResNet = BACKBONES[name](weights=None, num_classes=num_classes)
        if in_channels != 3:  # the first layer initialised as torchvision does it
            first = nn.Conv2d(in_channels, self.resnet.conv1.out_channels, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            self.resnet.conv1 = first
        own = self.resnet.state_dict().keys()
        self.module, self.frames = module, frames
        if module != "none":
            assert frames is not None, "a module needs to know the frames of a clip"
            insert(self.resnet, module, frames)
        self.inserted = frozenset(self.resnet.state_dict().keys() - own)
        """Names of the module's weights, below `resnet`."""
        self.channels: int = self.resnet.fc.in_features

    def tell_apart(self, part: str) -> str:
        """Name a part so that what is kept of it is told from the same part with another module.

        Weights alone don't tell them apart: a shift has none.
        """
        return part if self.module == "none" else f"{part} {self.module}"

    @property
    def trunk_modules(self) -> tuple[nn.Module, ...]:
        """The modules up to layer3, which no stage of Ego-RNN's own trains."""
        net = self.resnet
        return net.conv1, net.bn1, net.layer1, net.layer2, net.layer3

    def forward(self, clips: Tensor) -> BackboneMaps:
        """Run normalised clips (B, T, in_channels, H, W) through the whole backbone."""
        return self.last_stage(self.trunk(clips))

    def trunk(self, clips: Tensor) -> Tensor:
        """Run clips (B, T, in_channels, H, W) up to layer3: (B, T, C/2, 2h, 2w)."""
        pixels = clips.shape[-2] * clips.shape[-1]
        (layer3,) = self._over_clips(self._trunk, clips, pixels, self.trunk_modules)
        return layer3

    def last_stage(self, layer3: Tensor) -> BackboneMaps:
        """From layer3's output (B, T, C/2, 2h, 2w) to the two maps of the last block and the logits."""
        pixels = _STRIDE_OF_LAYER3**2 * layer3.shape[-2] * layer3.shape[-1]
        last = self._over_clips(self._last_stage, layer3, pixels, (self.resnet.layer4,))
        return BackboneMaps(layer3, *last)

    def _over_clips(
        self,
        layers: Callable[[Tensor], tuple[Tensor, ...]],
        clips: Tensor,
        pixels: int,
        modules: tuple[nn.Module, ...],
    ) -> tuple[Tensor, ...]:
        """Run `layers` over frames (N, ...) in chunks of whole clips; `pixels` is the size of a frame."""
        one_by_one = self._takes_single_frames(clips.shape[1])
        at_once = len(clips)
        # In joint training layer4 alone is in train mode, so each part is asked and not the backbone.
        if not clips.is_cuda and not _in_train_mode(modules) and not one_by_one:
            at_once = self.CPU_CHUNK_PIXELS // (pixels * clips.shape[1])
        chunks = torch.split(clips, max(1, at_once))
        parts = [layers(chunk.flatten(0, 1)) for chunk in chunks]  # (N, ...)
        joined = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return tuple(tensor.view(*clips.shape[:2], *tensor.shape[1:]) for tensor in joined)  # (B, T, ...)

    def _takes_single_frames(self, length: int) -> bool:
        """Check the length of clips against that of a module; it may get frame by frame what it remembers."""
        if self.module == "none" or length == self.frames:
            return False
        if length == 1 and takes_single_frames(self.resnet):
            return True
        raise UserError(
            f"clips of {length} frames: the network joins its frames with the module {self.module} and was "
            f"built for clips of {self.frames}"
        )

    def _trunk(self, frames: Tensor) -> tuple[Tensor]:
        net = self.resnet
        in_eval_mode = not _in_train_mode(self.trunk_modules)
        if not frames.is_cuda and (in_eval_mode or torch.is_autocast_enabled("cpu")):
            frames = frames.contiguous(memory_format=torch.channels_last)
        with _full_precision_if_frozen(net.conv1, net.bn1, net.layer1, net.layer2):
            stem = net.maxpool(net.relu(net.bn1(net.conv1(frames))))
            layer2 = net.layer2(net.layer1(stem))
        with _full_precision_if_frozen(net.layer3):
            layer3: Tensor = net.layer3(layer2)
        return (layer3.contiguous(),)

    def _last_stage(self, layer3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        net = self.resnet
        with _full_precision_if_frozen(net.layer4):
            residual = net.layer4[:-1](layer3)
            # g is "conv + residual": the reference code reads the sum before batch norm and ReLU.
            convolved, layer4 = _run_block(net.layer4[-1], residual)
            logits = net.fc(net.avgpool(layer4).flatten(1))
        return layer4, convolved + residual, logits


def _run_block(block: nn.Module, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Run a residual block written out; return its last convolution's output and its own."""
    numbers = (1, 2, 3) if hasattr(block, "conv3") else (1, 2)  # bottlenecks have a third convolution
    maps = residual
    for number in numbers:
        convolved = block.get_submodule(f"conv{number}")(maps)
        maps = block.get_submodule(f"bn{number}")(convolved)
        maps = (maps if number < numbers[-1] else maps + residual).relu_()
    return convolved, maps


def _in_train_mode(modules: tuple[nn.Module, ...]) -> bool:
    return any(module.training for module in modules)


@contextmanager
def _full_precision_if_frozen(*modules: nn.Module) -> Iterator[None]:
    learns = any(p.requires_grad for module in modules for p in module.parameters())
    device = next(modules[0].parameters()).device.type
    with torch.autocast(device, enabled=learns and torch.is_autocast_enabled(device)):
        yield
