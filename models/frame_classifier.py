"""The single-frame classifier: a ResNet that sees no time. Baseline, and pre-training for the CAM.

Axes: B clips or pictures, T frames, C channels, H W pixels, h w cells, K classes.
"""

from torch import Tensor, nn

from models.backbone import Backbone, BackboneName
from models.cam import class_activation_map, spatial_attention
from models.outputs import ClipOutput, by_clip


class FrameClassifier(nn.Module):
    """A torchvision ResNet over single pictures; a clip's scores are the mean over its frames."""

    def __init__(self, num_classes: int, *, backbone: BackboneName = "resnet34") -> None:
        """Build an untrained classifier of `num_classes` classes."""
        super().__init__()
        self.backbone = Backbone(backbone, num_classes)

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify pictures (B, 3, H, W), or clips (B, T, 3, H, W) frame by frame.

        `heat` is the attention that `models.cam` reads off the network's own winning class.
        """
        clips = frames if frames.ndim == 5 else frames[:, None]
        maps = self.backbone(clips.flatten(0, 1))
        activation = class_activation_map(maps.layer4, maps.logits, self.backbone.resnet.fc.weight)
        heat = by_clip(spatial_attention(activation), len(clips))
        layer4 = by_clip(maps.layer4, len(clips))
        features = layer4.mean(dim=(1, 3, 4))
        logits = by_clip(maps.logits, len(clips)).mean(dim=1)
        return ClipOutput(logits, features, heat, {"layer4": layer4})
