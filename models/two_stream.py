"""Both streams under one classifier, trained jointly (Ego-RNN, section 3.3).

Axes: B clips, T frames, S flow stacks of a clip, C channels, H W pixels, h w cells, K classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.stage import Group, Stage
from models import HeatName
from models.backbones import BACKBONES, BackboneName
from models.base import ClipModel, ClipOutput, LastMaps, Prefix, State
from models.egornn import CLASSIFIER, RECURRENCE, EgoRNN, last_stage
from models.flow_stream import FlowStream
from models.published import below, prefixed, size_of
from models.temporal import HEADS, TemporalName

# The classifier and the flow stream's layer4 alone are in train mode, so that layer4's batch norm goes on
# counting. The single streams' dropouts are off the path. Whatever else learns does so in eval mode.
_JOINT = Stage(
    name="two-stream",
    groups=(),
    train_modules=("dropout", "classifier"),
    optimizer="sgd",
    lr=1e-2,
    weight_decay=5e-4,
    milestones=None,
    gamma=0.99,
    epochs=250,
)
_RGB, _FLOW = "frameModel.", "flowModel."


class TwoStream(ClipModel):
    """The features of the flow stream and of the RGB stream, in this order, to action scores.

    The streams' own classifiers and dropouts stay with them but are off the path.

    Args:
        rgb: The RGB stream, which is not copied.
        flow: The flow stream, which is not copied.
        num_classes: Number of actions K.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> rgb = EgoRNN(61, backbone="resnet18", hidden=8)
        >>> model = TwoStream(rgb, FlowStream(61, backbone="resnet18"), 61).eval()
        >>> model(torch.zeros(1, 2, 3, 64, 64), torch.zeros(1, 10, 64, 64)).logits.shape
        torch.Size([1, 61])
    """

    takes: ClassVar[tuple[str, ...]] = ("frames", "flow")

    def __init__(self, rgb: EgoRNN, flow: FlowStream, num_classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.rgb = rgb
        self.flow = flow
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(flow.features + rgb.temporal.features, num_classes)

    @staticmethod
    def stage(
        temporal: TemporalName,
        *,
        flow_lr: float = 1e-4,
        gamma: float = 0.99,
        backbones: tuple[BackboneName, BackboneName] = ("resnet34", "resnet34"),
    ) -> Stage:
        """Return the joint training of both streams (Ego-RNN, section 4.2).

        Args:
            temporal: The head that joins the frames of the RGB stream.
            flow_lr: Learning rate of the flow stream's layer4, which has one of its own.
            gamma: Factor of both learning rates after every epoch.
            backbones: Which network is under the RGB and which under the flow stream.
        """
        head = HEADS[temporal]
        last = last_stage(backbones[0])
        rgb = RECURRENCE + last if head.learns else last
        learned = Group(CLASSIFIER + tuple(f"rgb.{pattern}" for pattern in rgb))
        family = BACKBONES[backbones[1]]
        parts = tuple(f"flow.backbone.{family.key}.{part}" for part in family.last_stage)
        flow = Group(tuple(f"{part}.*" for part in parts), lr=flow_lr)
        modes = (*_JOINT.train_modules, *parts, *(("rgb.temporal",) if head.needs_train_mode else ()))
        return replace(_JOINT, groups=(learned, flow), train_modules=modes, gamma=gamma)

    def forward(self, frames: Tensor, flow: Tensor) -> ClipOutput:
        """Classify clips.

        Args:
            frames: Normalised frames. Shape: (B, T, 3, H, W).
            flow: Normalised flow of the same clips, cropped and flipped as the frames are. Shape:
                (B, 2*stack, H, W), or (B, S, 2*stack, H, W), whose features are averaged.

        Returns:
            `heat` and the maps "layer3", "layer4" and "pre_activation" are the RGB stream's; the map
            "flow_layer4" (B, S, C, h, w) is the flow stream's.
        """
        return self._join(self.rgb(frames), self.flow(flow))

    def prefixes(self, stage: Stage) -> tuple[Prefix, ...]:
        """Return the RGB stream's trunk, from frames to "layer3", where the stage leaves it as it is."""
        trunk = self.rgb.trunk_prefix()
        return (trunk,) if stage.leaves(self, trunk.modules) else ()

    def after(self, **given: Tensor) -> ClipOutput:
        """Classify clips from the RGB stream's "layer3" (B, T, C/2, 2h, 2w) and from "flow"."""
        return self._join(self.rgb.after(layer3=given["layer3"]), self.flow(given["flow"]))

    def _join(self, rgb: ClipOutput, flow: ClipOutput) -> ClipOutput:
        features = torch.cat([flow.features, rgb.features], dim=1)  # (B, C + D)
        maps = rgb.maps | {"flow_layer4": flow.maps["layer4"]}
        return ClipOutput(self.classifier(self.dropout(features)), features, rgb.heat, maps)

    def missing_heats(self) -> dict[HeatName, str]:
        """Heat is the RGB stream's."""
        return self.rgb.missing_heats()

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """Weigh the RGB stream's features, cell by cell; see `ClipModel.evidence`."""
        maps = self.rgb.cell_features(inputs["frames"])
        weight = self.classifier.weight[action, self.flow.features :]  # the flow's features stand first
        return None if maps is None else torch.einsum("d,tdhw->thw", weight, maps)

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut the RGB stream; the flow stream's feature of the clip stays as it is."""
        maps, features = self.rgb.last_features(inputs["frames"])
        flow = self.flow(inputs["flow"]).features
        return LastMaps(maps, lambda maps: self.classifier(torch.cat([flow, features(maps)], dim=1)))

    published_marks: ClassVar[tuple[str, ...]] = (_FLOW, _RGB)
    published_aliases: ClassVar[dict[str, str]] = {
        **{_RGB + alias: _RGB + key for alias, key in EgoRNN.published_aliases.items()},
        "classifier.1.weight": "fc2.weight",
        "classifier.1.bias": "fc2.bias",
    }

    @classmethod
    def published_architecture(cls, state: State, prefix: str = "") -> dict[str, Any]:
        """Tell the architectures of both streams; sizes whose tensor is missing are the published ones."""
        return {
            "name": "TwoStream",
            "rgb": EgoRNN.published_architecture(state, prefix + _RGB),
            "flow": FlowStream.published_architecture(state, prefix + _FLOW),
            "num_classes": size_of(state, f"{prefix}fc2.weight", 0, 61),
        }

    def published_state(self) -> State:
        """Return the weights under the published names, each stream's below its own prefix."""
        streams = prefixed(_FLOW, self.flow.published_state()) | prefixed(_RGB, self.rgb.published_state())
        return streams | prefixed("fc2.", self.classifier.state_dict())

    def load_published(self, state: State) -> None:
        """Copy published weights into both streams and the classifier."""
        self.flow.load_published(below(_FLOW, state))
        self.rgb.load_published(below(_RGB, state))
        self.classifier.load_state_dict(below("fc2.", state))
