"""The target of a motion head: a clip's motion maps, pooled to one value a cell.

The maps are cropped and flipped with the clip's own frames; they are never normalised like images.
Axes: B clips, T frames, S pixels a side, n cells a side.
"""

from dataclasses import dataclass
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from selfsup.settings import MOVING_SHARE, MotionSettings, PoolingName, VariantName

_HALF_GREY = 127


@dataclass(frozen=True)
class MotionTarget:
    """How maps become targets.

    Attributes:
        variant: In classification a pixel moves when it is brighter than half grey; in regression grey
            levels count as they are.
        pooling: A cell's value is the mean of its pixels (area), its upper left pixel (nearest, as
            `torch.nn.functional.interpolate` takes it) or its central one (centre).
        threshold: Cells with more than this share count as 1 and others as 0; None keeps the share.

    Examples:
        >>> import torch
        >>> maps = torch.zeros(1, 1, 1, 4, 4, dtype=torch.uint8)
        >>> maps[..., :2, :1] = 255
        >>> MotionTarget("regression")(maps, size=2)
        tensor([[[[0.5000, 0.0000],
                  [0.0000, 0.0000]]]])
    """

    variant: VariantName
    pooling: PoolingName = "area"
    threshold: float | None = None

    @classmethod
    def of(cls, settings: MotionSettings) -> Self:
        """Make the targets that flags ask for."""
        values = settings.motion_values()
        return cls(values["ms"], values["ms_target"], values["ms_threshold"])

    def __call__(self, maps: Tensor, size: int) -> Tensor:
        """Pool maps.

        Args:
            maps: As cropped for the network, uint8. Shape: (B, T, 1, S, S).
            size: Cells a side n.

        Returns:
            Float values in [0, 1]. Shape: (B, T, n, n).
        """
        levels = binary(maps) if self.variant == "classification" else maps
        share = pool_maps(levels, size, self.pooling)
        return share if self.threshold is None else (share > self.threshold).float()

    @property
    def decision(self) -> float:
        """Value above which a cell counts as predicted to move."""
        return MOVING_SHARE if self.threshold is None else 0.5


def binary(maps: Tensor) -> Tensor:
    """Make grey levels 0 or 255, uint8; a map as data sets have it stays as it is."""
    return (maps > _HALF_GREY).to(maps.dtype) * 255


def truth(maps: Tensor, size: int) -> Tensor:
    """Return which cells move, 1 or 0, for measuring: (B, T, 1, S, S) uint8 to (B, T, n, n) float."""
    return (pool_maps(binary(maps), size, "area") > MOVING_SHARE).float()


def pool_maps(maps: Tensor, size: int, pooling: PoolingName) -> Tensor:
    """Pool maps to one value a cell.

    Args:
        maps: Grey levels, uint8. Shape: (B, T, 1, S, S).
        size: Cells a side n.
        pooling: How, see `MotionTarget`.

    Returns:
        Values in [0, 1]. Shape: (B, T, n, n).
    """
    levels = maps.flatten(0, 1).float() / 255  # (B*T, 1, S, S)
    if pooling == "area":
        cells = F.adaptive_avg_pool2d(levels, size)
    else:
        mode = {"nearest": "nearest", "centre": "nearest-exact"}[pooling]
        cells = F.interpolate(levels, size=(size, size), mode=mode)
    return cells.view(*maps.shape[:2], size, size)
