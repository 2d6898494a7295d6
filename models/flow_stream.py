"""Ego-RNN's flow stream: a network over stacks of optical flow images (Ego-RNN, section 3.3).

Axes: B clips, S stacks of a clip, C channels, H W pixels, h w cells, K classes.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from core.stage import Group, Stage
from models.backbone import Backbone
from models.backbones import BackboneName
from models.base import ClipOutput, State
from models.frame_classifier import PooledImages
from models.published import load_over, resnet_name, size_of


class FlowStream(PooledImages):
    """Stacks of flow images to action scores; the backbone's own classifier is the stream's.

    Args:
        num_classes: Number of actions K.
        stack: Flow images (pairs of x and y) in a stack.
        backbone: Which network.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> stream = FlowStream(61, stack=5, backbone="resnet18").eval()
        >>> stream(torch.zeros(2, 10, 64, 64)).logits.shape
        torch.Size([2, 61])
    """

    takes: ClassVar[tuple[str, ...]] = ("flow",)
    STAGE: ClassVar[Stage] = Stage(
        name="flow",
        groups=(Group(("*",)),),
        train_modules=("backbone", "dropout"),
        optimizer="sgd",
        lr=1e-2,
        weight_decay=5e-4,
        milestones=(150, 300, 500),
        gamma=0.5,
        epochs=750,
    )

    def __init__(
        self, num_classes: int, *, stack: int = 5, backbone: BackboneName = "resnet34", dropout: float = 0.5
    ) -> None:
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
            Scores and features (B, C), which are means over the stacks; `heat` (B, S, h, w) and the map
            "layer4" (B, S, C, h, w) of each stack.
        """
        maps = self.read(flow)
        features = maps.layer4.mean(dim=(3, 4))  # (B, S, C)
        logits = self.backbone.classifier(self.dropout(features))  # (B, S, K)
        heat = self.heat(maps)
        return ClipOutput(logits.mean(dim=1), features.mean(dim=1), heat, {"layer4": maps.layer4})

    published_marks: ClassVar[tuple[str, ...]] = ("fc_action.",)

    @classmethod
    def published_architecture(cls, state: State, prefix: str = "") -> dict[str, Any]:
        """Tell the architecture; sizes whose tensor is missing are the published ones."""
        return {
            "name": "FlowStream",
            "num_classes": size_of(state, f"{prefix}fc_action.weight", 0, 61),
            "backbone": resnet_name(state, prefix),
            "stack": size_of(state, f"{prefix}conv1.weight", 1, 10) // 2,
        }

    def published_state(self) -> State:
        """Return the weights by torchvision's names, but for the classifier's."""
        own = self.backbone.published().state_dict()
        return {f"fc_action.{key[3:]}" if key.startswith("fc.") else key: own[key] for key in own}

    def load_published(self, state: State) -> None:
        """Copy published weights."""
        load_over(
            self.backbone.published(), {key.replace("fc_action.", "fc.", 1): state[key] for key in state}
        )
