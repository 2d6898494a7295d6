"""The motion-segmentation head: predicts from one feature map which cells of a frame move (SparNet).

Axes: B clips, T frames, C channels, n cells a side of the feature map, and so of the motion map.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError
from selfsup.settings import LayerName, VariantName

_STRIDES: dict[LayerName, int] = {"layer3": 16, "layer4": 32}


class MotionHead(nn.Module):
    """ReLU, 1x1 convolution, flatten, linear; applied to every frame by itself.

    Args:
        in_channels: Channels C of the feature map.
        size: Cells a side n; at 224 pixels 7 for layer4 and 14 for layer3.
        variant: Two scores a cell (static, moving), or one value a cell.
        mid_channels: Channels after the convolution.

    Examples:
        >>> head = MotionHead(in_channels=512, size=7, variant="classification")
        >>> head(torch.zeros(2, 3, 512, 7, 7)).shape
        torch.Size([2, 3, 2, 7, 7])
    """

    frequency: Tensor
    """Share of the training frames in which each cell moves, in [0, 1]; the trivial predictor that knows the
    training maps and not the frame. Shape: (n, n)."""
    class_weights: Tensor
    """Weight in the loss of a static and of a moving cell. Shape: (2,)."""

    def __init__(
        self,
        in_channels: int = 512,
        size: int = 7,
        variant: VariantName = "classification",
        mid_channels: int = 100,
    ) -> None:
        super().__init__()
        self.size = size
        self.variant = variant
        planes = 2 if variant == "classification" else 1
        # Not in place: the recurrence or the attention reads the same feature map.
        self.relu = nn.ReLU()
        self.reduce = nn.Conv2d(in_channels, mid_channels, kernel_size=1)
        self.linear = nn.Linear(mid_channels * size * size, planes * size * size)
        self.register_buffer("frequency", torch.zeros(size, size))
        self.register_buffer("class_weights", torch.ones(2))

    def forward(self, maps: Tensor) -> Tensor:
        """Score every cell of every frame.

        Args:
            maps: Feature maps. Shape: (B, T, C, n, n).

        Returns:
            Raw scores, before any softmax or activation: (B, T, 2, n, n) with the planes static and moving,
            or (B, T, n, n) in regression.

        Raises:
            UserError: The feature map has another number of cells.
        """
        if maps.shape[-2:] != (self.size, self.size):
            raise UserError(
                f"a motion head of {self.size}x{self.size} cells can't read a feature map of "
                f"{maps.shape[-2]}x{maps.shape[-1]}; at 224 pixels layer4 has 7x7 cells and layer3 14x14"
            )
        reduced = self.reduce(self.relu(maps.flatten(0, 1)))  # (B * T, mid_channels, n, n)
        scores: Tensor = self.linear(reduced.flatten(1))  # (B * T, planes * n * n)
        planes = (2, self.size, self.size) if self.variant == "classification" else (self.size, self.size)
        return scores.view(*maps.shape[:2], *planes)


class MotionHeads(nn.ModuleDict):
    """Motion heads by the name of their feature map, "layer3" or "layer4".

    Examples:
        >>> heads = MotionHeads(layer4=MotionHead(512, size=7))
        >>> heads({"layer4": torch.zeros(1, 1, 512, 7, 7)})["layer4"].shape
        torch.Size([1, 1, 2, 7, 7])
    """

    def __init__(self, **heads: MotionHead) -> None:
        super().__init__(heads)

    def by_layer(self) -> dict[str, MotionHead]:
        """Return the heads by the name of their map, typed."""
        return {layer: head for layer, head in self.items() if isinstance(head, MotionHead)}

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score with every head its own map; `maps` may hold others too."""
        return {layer: head(maps[layer]) for layer, head in self.items()}


def describe_heads(
    layers: tuple[LayerName, ...],
    variant: VariantName,
    *,
    channels: int,
    image_size: int,
    layer3_channels: int | None = None,
) -> dict[str, Any]:
    """Describe heads for `models.build_model`.

    Args:
        layers: The feature maps that get one.
        variant: The variant of all of them.
        channels: Channels of layer4.
        image_size: Pixels a side of the network's input.
        layer3_channels: Channels of layer3; half of layer4's in a ResNet.
    """
    sizes = {layer: -(-image_size // _STRIDES[layer]) for layer in layers}
    widths = {"layer3": layer3_channels or channels // 2, "layer4": channels}
    heads: dict[str, Any] = {
        layer: {"name": "MotionHead", "in_channels": widths[layer], "size": sizes[layer], "variant": variant}
        for layer in layers
    }
    return {"name": "MotionHeads", **heads}


def without_heads(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a checkpoint's architecture and weights without motion heads, if it has any."""
    architecture = {key: value for key, value in checkpoint["architecture"].items() if key != "motion"}
    state = {key: value for key, value in checkpoint["model"].items() if not key.startswith("motion.")}
    return architecture, state
