"""Ego-RNN's flow stream: a ResNet over stacks of optical flow images (Ego-RNN, section 3.3).

Axes: B clips, S stacks of a clip, C channels, H W pixels, h w cells, K classes.
"""

from torch import Tensor, nn

from models.backbone import Backbone, BackboneName
from models.cam import class_activation_map, spatial_attention
from models.outputs import ClipOutput, by_clip


class FlowStream(nn.Module):
    """Stacks of flow images to action scores; the backbone's own classifier is the stream's."""

    def __init__(
        self,
        num_classes: int,
        *,
        stack: int = 5,
        backbone: BackboneName = "resnet34",
        dropout: float = 0.5,
    ) -> None:
        """Build an untrained stream.

        Args:
            num_classes: Number of actions K.
            stack: Flow images (pairs of x and y) in a stack.
            backbone: Which ResNet.
            dropout: Probability of dropping a feature before the classifier, in [0, 1).
        """
        super().__init__()
        self.backbone = Backbone(backbone, num_classes, in_channels=2 * stack)
        self.dropout = nn.Dropout(dropout)

    @property
    def features(self) -> int:
        """Width of a clip's feature."""
        return self.backbone.channels

    def forward(self, flow: Tensor) -> ClipOutput:
        """Classify clips by one stack each, or by the mean of the logits of several.

        Args:
            flow: Normalised flow, channels x1, y1, x2, y2 and so on. Shape: (B, 2*stack, H, W), or
                (B, S, 2*stack, H, W).

        Returns:
            Scores and features (B, C), which are means over the stacks; `heat` (B, S, h, w) is the attention
            that `models.cam` reads off the network's own winning class; the map "layer4" is (B, S, C, h, w).
        """
        stacks = flow if flow.ndim == 5 else flow[:, None]
        net, maps = self.backbone.resnet, self.backbone(stacks.flatten(0, 1))
        features = maps.layer4.mean(dim=(2, 3))
        logits = net.fc(self.dropout(features))
        heat = spatial_attention(class_activation_map(maps.layer4, maps.logits, net.fc.weight))
        per_stack = (by_clip(tensor, len(stacks)) for tensor in (logits, features, heat, maps.layer4))
        logits, features, heat, layer4 = per_stack
        return ClipOutput(logits.mean(dim=1), features.mean(dim=1), heat, {"layer4": layer4})
