"""Networks that pool single images, and the single-frame classifier: baseline, and pre-training for the CAM.

Axes: B clips or pictures, T frames, C channels, H W pixels, h w cells, K classes.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from core.stage import Group, Stage
from models import HeatName
from models.backbone import Backbone, BackboneMaps
from models.backbones import BackboneName
from models.base import ClipModel, ClipOutput, LastMaps
from models.cam import class_activation_map, spatial_attention


class PooledImages(ClipModel):
    """Base of networks without recurrence: a clip's scores are the mean over its frames, or flow stacks.

    Their heat is the softmax of the class activation map of each image's own winning class.
    """

    backbone: Backbone

    def read(self, images: Tensor) -> BackboneMaps:
        """Run single images (B, C, H, W), or clips of them (B, T, C, H, W), through the backbone."""
        maps: BackboneMaps = self.backbone(images if images.ndim == 5 else images[:, None])
        return maps

    def heat(self, maps: BackboneMaps) -> Tensor:
        """Return the attention of each image, (B, T, h, w)."""
        weight = self.backbone.classifier.weight
        return spatial_attention(class_activation_map(maps.layer4, maps.logits, weight))

    def missing_heats(self) -> dict[HeatName, str]:
        """All heat maps can be shown."""
        return {}

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut behind layer4 of each image."""
        head, maps = self.backbone.classifier, self.read(inputs[self.takes[0]]).layer4[0]
        return LastMaps(maps, lambda maps: head(maps.mean(dim=(2, 3))).mean(dim=0, keepdim=True))

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor:
        """Weigh layer4 of each image; see `ClipModel.evidence`."""
        weight = self.backbone.classifier.weight[action]
        return torch.einsum("d,tdhw->thw", weight, self.last_maps(inputs).maps)


class FrameClassifier(PooledImages):
    """A ResNet or another backbone over single pictures; a clip's scores are the mean over its frames.

    Examples:
        >>> FrameClassifier(24, backbone="resnet18").eval()(torch.zeros(2, 3, 64, 64)).logits.shape
        torch.Size([2, 24])
    """

    takes: ClassVar[tuple[str, ...]] = ("frames",)
    reads_along: bool = True
    STAGE: ClassVar[Stage] = Stage(
        name="single frames",
        groups=(Group(("*",)),),
        train_modules=("backbone",),
        optimizer="sgd",
        lr=1e-2,
        weight_decay=5e-4,
        milestones=(15, 25),
        gamma=0.1,
        epochs=30,
    )

    def __init__(self, num_classes: int, *, backbone: BackboneName = "resnet34") -> None:
        super().__init__()
        self.backbone = Backbone(backbone, num_classes)

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify pictures (B, 3, H, W), or clips (B, T, 3, H, W) frame by frame."""
        maps = self.read(frames)
        features = maps.layer4.mean(dim=(1, 3, 4))  # (B, C)
        logits, along = maps.logits.mean(dim=1), None
        if self.every_frame:  # the mean over the frames so far
            seen = torch.arange(1, maps.logits.shape[1] + 1, device=logits.device)[:, None]
            along = maps.logits.cumsum(dim=1) / seen  # (B, T, K)
        return ClipOutput(logits, features, self.heat(maps), {"layer4": maps.layer4}, along=along)
