"""What a motion head should say: a clip's motion maps, reduced to one value a place.

The maps come through the crop and the flip of the clip's own frames; they are never normalised like images.
Axes: B clips, T frames, S pixels a side, n cells a side.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from selfsup.head import VariantName

ReductionName = Literal["area", "nearest", "centre"]

# Measured everywhere against the same truth, whatever the head learns: a place moves when more than a tenth
# of its pixels do, which in GTEA61's maps is about one place in eight.
MOVING_SHARE = 0.1
_HALF_GREY = 127


@dataclass(frozen=True)
class MotionTarget:
    """How maps become targets.

    Attributes:
        variant: In classification a pixel moves when it is brighter than half grey; in regression grey
            levels count as they are.
        reduction: A place's value is the mean of its pixels (area), its upper left pixel (nearest, as
            `torch.nn.functional.interpolate` takes it) or its central one (centre).
        threshold: Places with more than this share count as 1 and others as 0; None keeps the share.
    """

    variant: VariantName
    reduction: ReductionName = "area"
    threshold: float | None = None

    def __call__(self, maps: Tensor, size: int) -> Tensor:
        """Reduce maps.

        Args:
            maps: As cropped for the network, uint8. Shape: (B, T, 1, S, S).
            size: Cells a side n.

        Returns:
            Float values in [0, 1]. Shape: (B, T, n, n).
        """
        levels = binary(maps) if self.variant == "classification" else maps
        share = reduce_maps(levels, size, self.reduction)
        return share if self.threshold is None else (share > self.threshold).float()

    @property
    def decision(self) -> float:
        """Value above which a prediction says that a place moves."""
        return MOVING_SHARE if self.threshold is None else 0.5


def binary(maps: Tensor) -> Tensor:
    """Make grey levels 0 or 255, uint8; a map as data sets have it stays as it is."""
    return (maps > _HALF_GREY).to(maps.dtype) * 255


def truth(maps: Tensor, size: int) -> Tensor:
    """Say which places move, 1 or 0, for measuring: (B, T, 1, S, S) uint8 to (B, T, n, n) float."""
    return (reduce_maps(binary(maps), size, "area") > MOVING_SHARE).float()


def reduce_maps(maps: Tensor, size: int, reduction: ReductionName) -> Tensor:
    """Reduce maps to one value a place.

    Args:
        maps: Grey levels, uint8. Shape: (B, T, 1, S, S).
        size: Cells a side n.
        reduction: How, see `MotionTarget`.

    Returns:
        Values in [0, 1]. Shape: (B, T, n, n).
    """
    levels = maps.flatten(0, 1).float() / 255  # (B*T, 1, S, S)
    if reduction == "area":
        places = F.adaptive_avg_pool2d(levels, size)
    else:
        mode = {"nearest": "nearest", "centre": "nearest-exact"}[reduction]
        places = F.interpolate(levels, size=(size, size), mode=mode)
    return places.view(*maps.shape[:2], size, size)
