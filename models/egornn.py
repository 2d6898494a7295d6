"""Ego-RNN's RGB stream: backbone, CAM attention, ConvLSTM, classifier (Ego-RNN, section 3).

Axes: B clips, T frames, C channels, H W pixels, h w cells, K classes.
"""

from typing import Literal

from torch import Tensor, nn

from models.backbone import Backbone, BackboneMaps, BackboneName
from models.cam import class_activation_map, spatial_attention
from models.outputs import ClipOutput, by_clip
from models.temporal import TemporalName, build_temporal

AttentionName = Literal["cam", "none"]


class EgoRNN(nn.Module):
    """Clips of RGB frames to action scores.

    With attention the recurrence sees g * A, where g is the last block before its batch norm and ReLU and A
    the frame's attention; without, it sees the block's output f. Nothing is trained or frozen here: that is
    a stage's business (`models.stages`).
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: BackboneName = "resnet34",
        attention: AttentionName = "cam",
        temporal: TemporalName = "convlstm",
        hidden: int = 512,
        dropout: float = 0.7,
        backbone_classes: int = 1000,
        motion: nn.Module | None = None,
    ) -> None:
        """Build an untrained network.

        Args:
            num_classes: Number of actions K.
            backbone: Which ResNet.
            attention: "cam", or "none" for the rows of the table without it.
            temporal: What joins the frames.
            hidden: Channels of the recurrence (unused by "avgpool").
            dropout: Probability of dropping a feature before the classifier, in [0, 1).
            backbone_classes: Classes of the backbone's own classifier, which the CAM is computed from.
            motion: Motion heads over the backbone's maps (`selfsup.MotionHeads`), for training with a second
                task; they change nothing of the action scores.
        """
        super().__init__()
        self.attention = attention
        self.backbone = Backbone(backbone, backbone_classes)
        self.temporal = build_temporal(temporal, self.backbone.channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.temporal.features, num_classes)
        self.motion = motion

    def forward(
        self,
        frames: Tensor | None = None,
        layer3: Tensor | None = None,
        seen: Tensor | None = None,
        heat: Tensor | None = None,
    ) -> ClipOutput:
        """Classify clips, from their frames or from what layers that are not trained made of them.

        Args:
            frames: Normalised frames. Shape: (B, T, 3, H, W).
            layer3: In place of frames, the output of the backbone's layer3. Shape: (B, T, C/2, 2h, 2w).
            seen: In place of both, what the recurrence sees, as `see` gives it. Shape: (B, T, C, h, w).
            heat: With `seen`, the attention. Shape: (B, T, h, w).

        Returns:
            The scores; its `maps` "layer3", "layer4" and "pre_activation", and the motion that is told from
            them, are left out where `seen` is given.
        """
        if seen is not None:
            return self.recognise(seen, heat, {})
        given = frames if layer3 is None else layer3
        assert given is not None, "frames, layer3 or seen is needed"
        clips, folded = given.shape[0], given.flatten(0, 1)
        maps = self.backbone.last_stage(self.backbone.trunk(folded) if layer3 is None else folded)
        seen, heat = self.see(maps)
        named = {"layer3": maps.layer3, "layer4": maps.layer4, "pre_activation": maps.pre_activation}
        return self.recognise(
            by_clip(seen, clips),
            None if heat is None else by_clip(heat, clips),
            {name: by_clip(tensor, clips) for name, tensor in named.items()},
        )

    def see(self, maps: BackboneMaps) -> tuple[Tensor, Tensor | None]:
        """From the backbone's maps to what the recurrence sees (N, C, h, w), and its attention (N, h, w)."""
        if self.attention == "none":
            return maps.layer4, None
        weight: Tensor = self.backbone.resnet.fc.weight
        heat = spatial_attention(class_activation_map(maps.layer4, maps.logits, weight))
        return maps.pre_activation, heat

    def recognise(self, seen: Tensor, heat: Tensor | None, maps: dict[str, Tensor]) -> ClipOutput:
        """From what the recurrence sees (B, T, C, h, w) and the attention (B, T, h, w) to the scores."""
        features = self.temporal(seen, heat)
        motion = self.motion(maps) if self.motion is not None and maps else {}
        return ClipOutput(self.classifier(self.dropout(features)), features, heat, maps, motion)
