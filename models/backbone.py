"""The network under both streams, a ResNet or another (`models.backbones`), read where Ego-RNN needs it.

Axes: B clips, T frames (or flow stacks), N = B * T, C channels, H W pixels, h w cells, L backbone classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from core.errors import UserError
from models.backbones import BACKBONES, BackboneName
from models.inserts import ModuleName
from models.inserts.insert import insert
from models.inserts.tsm import takes_single_frames

_STRIDE_OF_LAYER3 = 16


class BackboneMaps(NamedTuple):
    """The maps of each frame on its way through the backbone.

    Attributes:
        layer3: The last map of stride 16. A ResNet's has C' = C/2 channels. Shape: (B, T, C', 2h, 2w).
        layer4: `f`, the last map. A ResNet's is ReLU(BN(conv) + residual). Shape: (B, T, C, h, w).
        pre_activation: `g`, the same without batch norm and activation. A ResNet's is the last block's
            conv + residual. Shape: (B, T, C, h, w).
        logits: The backbone's own class scores. Shape: (B, T, L).
    """

    layer3: Tensor
    layer4: Tensor
    pre_activation: Tensor
    logits: Tensor


class Backbone(nn.Module):
    """An untrained network that also gives the maps of the attention and the recurrence.

    How a part of it (the trunk up to layer3, or layer4) is computed follows from what the stage does with
    that part (`core.stage.Stage`); it changes speed and rounding, never what is computed:

    - The part is in train mode, so its batch norm counts: all clips pass at once, in the plain memory format,
      since batch norm in train mode is far less accurate in channels_last.
    - It is in eval mode, on a CPU: whole clips pass in chunks that stay in the processor's cache, the trunk's
      in channels_last, a quarter faster there.
    - Nothing of it learns: it is computed in float32 even under autocast, or the CAM's arg max would move.

    Args:
        name: Which network.
        num_classes: Classes of the backbone's own classifier, 1000 for ImageNet weights.
        in_channels: Channels of the input, 3 for RGB.
        module: A module in the ResNet that exchanges information between the frames of a clip
            (`models.inserts`).
        frames: Frames T of a clip, which a module needs to know.

    Raises:
        UserError: The network has no place for the module, T leaves it nothing to join, or a package is
            missing.

    Examples:
        >>> maps = Backbone("resnet18", num_classes=5).eval()(torch.zeros(2, 3, 3, 64, 64))
        >>> maps.layer4.shape, maps.logits.shape
        (torch.Size([2, 3, 512, 2, 2]), torch.Size([2, 3, 5]))
    """

    CPU_CHUNK_PIXELS = 8 * 224 * 224
    resnet: ResNet
    """The network, where it is a ResNet; see `network`."""

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
        self.family = BACKBONES[name]
        network = self.family.build(name, num_classes)
        if in_channels != 3:
            self.family.take_channels(network, in_channels)
        own = network.state_dict().keys()
        self.module, self.frames = module, frames
        if module != "none":
            assert frames is not None, "a module needs to know the frames of a clip"
            insert(network, module, frames)
        self.inserted = frozenset(network.state_dict().keys() - own)
        """Names of the module's weights, in `network`."""
        self.add_module(self.family.key, network)
        self.channels: int = self.classifier.in_features
        self.layer3_channels = self.family.layer3_channels(network)

    @property
    def network(self) -> nn.Module:
        """The network itself, whose weights' names are its own."""
        return self.get_submodule(self.family.key)

    @property
    def classifier(self) -> nn.Linear:
        """The layer that classifies the pooled last map; class activation maps are made of its weight."""
        return self.family.linear(self.network)

    def tell_apart(self, part: str) -> str:
        """Name a part so that what is kept of it is told from the same part with another module.

        Weights alone don't tell them apart: a shift has none.
        """
        return part if self.module == "none" else f"{part} {self.module}"

    @property
    def trunk_modules(self) -> tuple[nn.Module, ...]:
        """The modules up to layer3, which no stage of Ego-RNN's own trains."""
        return tuple(module for part in self.family.trunk(self.network) for module in part.modules)

    @property
    def last_modules(self) -> tuple[nn.Module, ...]:
        """The modules from layer3 to the last map."""
        return self.family.last_modules(self.network)

    def published(self) -> ResNet:
        """Return the ResNet as published checkpoints hold it.

        Raises:
            UserError: It is another network, or has a module in it.
        """
        network = self.network
        if not isinstance(network, ResNet):
            raise UserError("published checkpoints hold ResNets; this run has another --backbone")
        if self.module != "none":
            raise UserError(
                f"published checkpoints have no modules in the ResNet; a run with --module {self.module} has "
                "no such form"
            )
        return network

    def forward(self, clips: Tensor) -> BackboneMaps:
        """Run normalised clips (B, T, in_channels, H, W) through the whole backbone."""
        return self.last_stage(self.trunk(clips))

    def trunk(self, clips: Tensor) -> Tensor:
        """Run clips (B, T, in_channels, H, W) up to layer3: (B, T, C', 2h, 2w)."""
        pixels = clips.shape[-2] * clips.shape[-1]
        (layer3,) = self._over_clips(self._trunk, clips, pixels, self.trunk_modules)
        return layer3

    def last_stage(self, layer3: Tensor) -> BackboneMaps:
        """Turn layer3's output (B, T, C', 2h, 2w) into all maps and the logits."""
        pixels = _STRIDE_OF_LAYER3**2 * layer3.shape[-2] * layer3.shape[-1]
        last = self._over_clips(self._last_stage, layer3, pixels, self.last_modules)
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
        if length == 1 and takes_single_frames(self.network):
            return True
        raise UserError(
            f"clips of {length} frames: the network joins its frames with the module {self.module} and was "
            f"built for clips of {self.frames}"
        )

    def _trunk(self, frames: Tensor) -> tuple[Tensor]:
        in_eval_mode = not _in_train_mode(self.trunk_modules)
        if not frames.is_cuda and (in_eval_mode or torch.is_autocast_enabled("cpu")):
            frames = frames.contiguous(memory_format=torch.channels_last)
        for part in self.family.trunk(self.network):
            with _full_precision_if_frozen(*part.modules):
                frames = part.run(frames)
        return (frames.contiguous(),)

    def _last_stage(self, layer3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with _full_precision_if_frozen(*self.last_modules):
            return self.family.last(self.network, layer3)


def _in_train_mode(modules: tuple[nn.Module, ...]) -> bool:
    return any(module.training for module in modules)


@contextmanager
def _full_precision_if_frozen(*modules: nn.Module) -> Iterator[None]:
    learns = any(p.requires_grad for module in modules for p in module.parameters())
    device = next(modules[0].parameters()).device.type
    if not torch.amp.is_autocast_available(device):  # the meta device, where operations are only counted
        yield
        return
    with torch.autocast(device, enabled=learns and torch.is_autocast_enabled(device)):
        yield
