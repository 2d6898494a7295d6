"""Backbones by name, a file a family; `BACKBONES` is the only list of them."""

from typing import TYPE_CHECKING, Literal

from core.names import ByName

if TYPE_CHECKING:
    from models.backbones.base import Family

# Name: its family, by file, and what it is in one line.
_LINES = {
    "resnet18": ("resnet.FAMILY", "torchvision's"),
    "resnet34": ("resnet.FAMILY", "the same, deeper"),
    "resnet50": ("resnet.FAMILY", "the same, deeper, with bottlenecks"),
    "efficientnet_lite0": ("efficientnet.FAMILY", "EfficientNet-Lite 0, of the optional package timm"),
}

BACKBONES: "ByName[Family]" = ByName(__name__, _LINES, "backbone")
if TYPE_CHECKING:
    BackboneName = str
else:  # for the command line, which refuses other names
    BackboneName = Literal[tuple(BACKBONES)]
