"""The motion-segmentation head: which places of a frame move, told from one feature map (SparNet).

Axes: B clips, T frames, C channels, n cells a side of the feature map, and so of the motion map.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.errors import UserError

VariantName = Literal["classification", "regression"]
LayerName = Literal["layer3", "layer4"]
_STRIDES: dict[LayerName, int] = {"layer3": 16, "layer4": 32}


class MotionHead(nn.Module):
    """ReLU, 1x1 convolution, flatten, linear; the same for every frame, which is seen alone.

    Attributes:
        frequency: How often each place moves in the training clips, in [0, 1]; the trivial predictor that
            knows the training maps and not the frame. Shape: (n, n).
        class_weights: Weight in the loss of a static and of a moving place. Shape: (2,).
    """

    frequency: Tensor
    class_weights: Tensor

    def __init__(
        self,
        in_channels: int = 512,
        size: int = 7,
        variant: VariantName = "classification",
        mid_channels: int = 100,
    ) -> None:
        """Build an untrained head.

        Args:
            in_channels: Channels C of the feature map.
            size: Cells a side n; at 224 pixels 7 for layer4 and 14 for layer3.
            variant: Two scores a place (static, moving), or one value a place.
            mid_channels: Channels after the convolution.
        """
        super().__init__()
        self.size = size
        self.variant = variant
        planes = 2 if variant == "classification" else 1
        # Not in place: the feature map is also what the recurrence or the attention sees.
        self.relu = nn.ReLU()
        self.reduce = nn.Conv2d(in_channels, mid_channels, kernel_size=1)
        self.linear = nn.Linear(mid_channels * size * size, planes * size * size)
        self.register_buffer("frequency", torch.zeros(size, size))
        self.register_buffer("class_weights", torch.ones(2))

    def forward(self, maps: Tensor) -> Tensor:
        """Score every place of every frame.

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
        reduced = self.reduce(self.relu(maps.flatten(0, 1)))
        scores: Tensor = self.linear(reduced.flatten(1))
        planes = (2, self.size, self.size) if self.variant == "classification" else (self.size, self.size)
        return scores.view(*maps.shape[:2], *planes)


class MotionHeads(nn.ModuleDict):
    """A head for each feature map that has one, by the map's name."""

    def __init__(self, **heads: MotionHead) -> None:
        """Take heads by the name of their map, "layer3" or "layer4"."""
        super().__init__(heads)

    def by_layer(self) -> dict[str, MotionHead]:
        """Give the heads by the name of their map."""
        return {layer: head for layer, head in self.items() if isinstance(head, MotionHead)}

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the scores of every head by the name of its map, of which `maps` may hold more."""
        return {layer: head(maps[layer]) for layer, head in self.items()}


def describe_heads(
    layers: tuple[LayerName, ...], variant: VariantName, *, channels: int, image_size: int
) -> dict[str, Any]:
    """Describe heads for `models.build_model`.

    Args:
        layers: The feature maps that get one.
        variant: Of all of them.
        channels: Channels of layer4; layer3 has half of them.
        image_size: Pixels a side of the network's input.
    """
    sizes = {layer: -(-image_size // _STRIDES[layer]) for layer in layers}
    widths = {"layer3": channels // 2, "layer4": channels}
    heads: dict[str, Any] = {
        layer: {"name": "MotionHead", "in_channels": widths[layer], "size": sizes[layer], "variant": variant}
        for layer in layers
    }
    return {"name": "MotionHeads", **heads}


def without_heads(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give a checkpoint's architecture and weights without motion heads, whether it has any or not."""
    architecture = {key: value for key, value in checkpoint["architecture"].items() if key != "motion"}
    state = {key: value for key, value in checkpoint["model"].items() if not key.startswith("motion.")}
    return architecture, state
