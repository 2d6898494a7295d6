"""Backbones by name, a file a family; `BACKBONES` is the only list of them."""

from typing import TYPE_CHECKING, Literal

from models.backbones.base import Family, LastMaps, Part
from models.backbones.efficientnet import EfficientNetLiteFamily
from models.backbones.resnet import ResNetFamily

BACKBONES: dict[str, Family] = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), ResNetFamily()),
    "efficientnet_lite0": EfficientNetLiteFamily(),
}
if TYPE_CHECKING:
    BackboneName = str
else:  # for the command line, which refuses other names
    BackboneName = Literal[tuple(BACKBONES)]

__all__ = ["BACKBONES", "BackboneName", "Family", "LastMaps", "Part"]
