"""Ego-RNN's RGB stream: backbone, CAM attention, ConvLSTM, classifier (Ego-RNN, section 3).

Axes: B clips, T frames, C channels, D features, H W pixels, h w cells, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.stage import Group, Stage
from models import AttentionName, HeatName, StageName
from models.backbone import Backbone, BackboneMaps
from models.backbones import BACKBONES, BackboneName
from models.base import ClipModel, ClipOutput, LastMaps, Prefix, State
from models.cam import class_activation_map
from models.inserts import ModuleName, sees_ahead
from models.published import below, load_over, prefixed, resnet_name, size_of
from models.temporal import HEADS, TemporalName, build_temporal, require_head

# What learns, as patterns of parameter names.
RECURRENCE = ("temporal.*",)
CLASSIFIER = ("classifier.*",)


def last_stage(backbone: BackboneName) -> tuple[str, ...]:
    """Return what stage 2 adds, as patterns: the convolutions of the last stage, and the class weights.

    The backbone's own class weights learn through the CAM; their bias plays no part in it and stays.
    """
    family = BACKBONES[backbone]
    learned = (*family.last_convolutions, family.classifier_weights()[0])
    return tuple(f"backbone.{family.key}.{name}" for name in learned)


# Ego-RNN, section 4.2, and its released code. Where the two differ (300 or 200 epochs of stage 1), the code's
# value stands here, since the published numbers came from it.
_STAGE_1 = Stage(
    name="rgb stage 1",
    groups=(Group(RECURRENCE), Group(CLASSIFIER)),
    train_modules=("temporal", "dropout", "classifier"),
    optimizer="adam",
    lr=1e-3,
    weight_decay=4e-5,
    eps=1e-4,
    milestones=(25, 75, 150),
    gamma=0.1,
    epochs=300,
)
_STAGE_2 = replace(
    _STAGE_1,
    name="rgb stage 2",
    lr=1e-4,
    milestones=(25, 75),
    epochs=150,
)
# SparNet trains the whole backbone with the recurrence and the motion head, for 500 epochs. Optimiser and
# schedule are this project's choice: those of Ego-RNN's stage 2, with later steps.
_JOINT = replace(
    _STAGE_2,
    name="rgb joint",
    groups=(Group(("*",)),),
    train_modules=("backbone", "temporal", "dropout", "classifier"),
    milestones=(250, 400),
    epochs=500,
)


class EgoRNN(ClipModel):
    """Clips of RGB frames to action scores.

    With attention the recurrence's input is g, the last block before its batch norm and ReLU, weighted by the
    frame's attention A; without, it is the block's output f. The network freezes nothing by itself: a stage
    does.

    Args:
        num_classes: Number of actions K.
        backbone: Which network reads the frames.
        attention: "cam", or "none" for the rows of the table without it.
        temporal: The head that joins the frames.
        hidden: Channels of the recurrence (unused by heads that only pool).
        dropout: Probability of dropping a feature before the classifier, in [0, 1).
        backbone_classes: Classes of the backbone's own classifier, which the CAM is computed from.
        motion: Motion heads over the backbone's maps (`selfsup.MotionHeads`), for training with a second
            task; they change nothing of the action scores.
        module: A module in the ResNet that exchanges information between the frames, below the CAM and the
            head (`models.inserts`).
        frames: Frames T of a clip, for heads and modules that are built for a number of them.

    Raises:
        UserError: There is no such head, or it or the module can't be built so.

    Examples:
        >>> model = EgoRNN(num_classes=61, backbone="resnet18", hidden=8).eval()
        >>> output = model(torch.zeros(1, 2, 3, 64, 64))
        >>> output.logits.shape, output.heat.shape
        (torch.Size([1, 61]), torch.Size([1, 2, 2, 2]))
        >>> EgoRNN.stage(1, "convlstm").epochs
        300
    """

    takes: ClassVar[tuple[str, ...]] = ("frames",)
    reads_along: bool = True

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
        module: ModuleName = "none",
        frames: int | None = None,
    ) -> None:
        super().__init__()
        require_head(temporal, attention=attention == "cam", hidden=hidden, frames=frames)
        self.attention = attention
        self.reads_along = not sees_ahead(module)
        self.backbone = Backbone(backbone, backbone_classes, module=module, frames=frames)
        self.temporal = build_temporal(temporal, self.backbone.channels, hidden, frames)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.temporal.features, num_classes)
        self.motion = motion

    @staticmethod
    def stage(
        name: StageName,
        temporal: TemporalName,
        motion_layers: Sequence[str] = (),
        backbone: BackboneName = "resnet34",
    ) -> Stage:
        """Return a stage of the RGB stream's training.

        Args:
            name: 1 and 2 are Ego-RNN's, "joint" trains everything at once (SparNet).
            temporal: The head that joins the frames.
            motion_layers: Feature maps with a motion head, which learns too. With a head on layer3, stage 2
                trains the convolutions of layer3 as well, or that loss could change nothing but the head.
            backbone: Which network; the layers that learn are named by its family.
        """
        stage = {1: _STAGE_1, 2: _STAGE_2, "joint": _JOINT}[name]
        if name == "joint":
            return stage
        classifier = CLASSIFIER + (last_stage(backbone) if name == 2 else ())
        groups = [*([Group(RECURRENCE)] if HEADS[temporal].learns else []), Group(classifier)]
        if motion_layers:
            family = BACKBONES[backbone]
            layer3 = [f"backbone.{family.key}.{name}" for name in family.layer3_convolutions]
            groups.append(Group(("motion.*", *(layer3 if "layer3" in motion_layers else ()))))
        return replace(stage, groups=tuple(groups))

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify clips of normalised frames (B, T, 3, H, W); the maps are the fields of `BackboneMaps`."""
        return self._from_maps(self.backbone(frames))

    def prefixes(self, stage: Stage) -> tuple[Prefix, ...]:
        """Return the trunk, where no stage trains it, and in stage 1 also layer4 with the attention.

        The kept outputs are "layer3" (B, T, C/2, 2h, 2w); then "recurrent_input" (B, T, C, h, w) and, with
        attention, "cam" (B, T, h, w).
        """
        trunk, last = self.trunk_prefix(), self._attention_prefix()
        if not stage.leaves(self, trunk.modules):
            return ()
        # Motion heads read the maps that the second prefix drops.
        return (trunk, last) if stage.leaves(self, last.modules) and self.motion is None else (trunk,)

    def trunk_prefix(self) -> Prefix:
        """Return the layers from frames to "layer3"."""
        backbone = self.backbone
        name = backbone.tell_apart("layer3")
        return Prefix(name, backbone.trunk_modules, lambda frames: {"layer3": backbone.trunk(frames)})

    def _attention_prefix(self) -> Prefix:
        def run(layer3: Tensor) -> dict[str, Tensor]:
            recurrent_input, cam = self.attend(self.backbone.last_stage(layer3))
            return {"recurrent_input": recurrent_input} | ({} if cam is None else {"cam": cam})

        # The CAM goes through a softmax, for which 16 bits are too coarse.
        exact = () if self.attention == "none" else ("cam",)
        name = self.backbone.tell_apart(f"attention {self.attention}")
        return Prefix(name, (*self.backbone.last_modules, self.backbone.classifier), run, exact)

    def after(self, **given: Tensor) -> ClipOutput:
        """Classify clips from "layer3", or from "recurrent_input" and, with attention, "cam".

        In the second case the output has neither maps nor motion.
        """
        if "layer3" in given:
            return self._from_maps(self.backbone.last_stage(given["layer3"]))
        return self._classify(given["recurrent_input"], given.get("cam"), {})

    def attend(self, maps: BackboneMaps) -> tuple[Tensor, Tensor | None]:
        """Return the recurrence's input (B, T, C, h, w) before its weighting, and the CAM (B, T, h, w)."""
        if self.attention == "none":
            return maps.layer4, None
        weight = self.backbone.classifier.weight
        return maps.pre_activation, class_activation_map(maps.layer4, maps.logits, weight)

    def _from_maps(self, maps: BackboneMaps) -> ClipOutput:
        named = {"layer3": maps.layer3, "layer4": maps.layer4, "pre_activation": maps.pre_activation}
        return self._classify(*self.attend(maps), named)

    def _classify(self, recurrent_input: Tensor, cam: Tensor | None, maps: dict[str, Tensor]) -> ClipOutput:
        states = None
        if self.every_frame:
            states = self.temporal.states(recurrent_input, cam)  # (B, T, D)
        if states is None or self.temporal.own_attention:  # whose heat comes with the feature
            features, heat = self.temporal.with_heat(recurrent_input, cam)  # (B, D), (B, T, h, w)
        else:
            features, heat = states[:, -1], self.temporal.attention(cam)
        motion = self.motion(maps) if self.motion is not None and maps else {}
        if states is None:
            logits = self.classifier(self.dropout(features))  # (B, K)
            return ClipOutput(logits, features, heat, maps, motion)
        along = self.classifier(self.dropout(states))  # (B, T, K)
        return ClipOutput(along[:, -1], features, heat, maps, motion, along)

    def head_cost(self, frames: int, image_size: int, device: torch.device) -> dict[str, float]:
        """Measure the temporal head over maps of the backbone's size."""
        from models.cost import head_cost  # no training needs it before its end

        side = -(-image_size // 32)
        shape = (frames, self.backbone.channels, side, side)
        return head_cost(self.temporal, device, shape, self.attention == "cam")

    def missing_heats(self) -> dict[HeatName, str]:
        """Without the CAM few heads attend, and the features of some lie on no cells."""
        missing: dict[HeatName, str] = {}
        if self.attention == "none" and not self.temporal.own_attention:
            missing["attention"] = "was trained with --attention none"
        if not self.temporal.lies_on_cells:
            missing["cam"] = self.temporal.no_cells
        return missing

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """Weigh the head's features, cell by cell; see `ClipModel.evidence`."""
        maps = self.cell_features(inputs["frames"])
        return None if maps is None else torch.einsum("d,tdhw->thw", self.classifier.weight[action], maps)

    def cell_features(self, frames: Tensor) -> Tensor | None:
        """Spread the feature of one clip (1, T, 3, H, W) over cells: (T, D, h, w); None where it has none."""
        maps = self.temporal.cell_features(*self.attend(self.backbone(frames)))
        return None if maps is None else maps[0]

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut behind the weighted input of the recurrence, g * A, or behind f without attention.

        Heads with attention of their own are cut before their weighting.
        """
        maps, features = self.last_features(inputs["frames"])
        return LastMaps(maps, lambda maps: self.classifier(features(maps)))

    def last_features(self, frames: Tensor) -> LastMaps:
        """Cut like `last_maps`, but up to the feature (1, D) in place of the scores."""
        maps, feature = self.temporal.cut(*self.attend(self.backbone(frames)))
        return LastMaps(maps[0], lambda maps: feature(maps[None]))

    published_marks: ClassVar[tuple[str, ...]] = ("resNet.",)
    # An alias is a second name under which the published networks save the same tensor.
    published_aliases: ClassVar[dict[str, str]] = {
        "weight_softmax": "resNet.fc.weight",
        "classifier.1.weight": "fc.weight",
        "classifier.1.bias": "fc.bias",
    }

    @classmethod
    def published_architecture(cls, state: State, prefix: str = "") -> dict[str, Any]:
        """Tell the architecture; sizes whose tensor is missing are the published ones."""
        names = {head: sum(kind.published_names.values(), ()) for head, kind in HEADS.items()}
        head = next((h for h, own in names.items() if any(prefix + n in state for n in own)), "convlstm")
        return {
            "name": "EgoRNN",
            "num_classes": size_of(state, f"{prefix}fc.weight", 0, 61),
            "backbone": resnet_name(state, f"{prefix}resNet."),
            "attention": "cam",
            "temporal": head,
            "hidden": size_of(state, prefix + names[head][0], 0, 512),
            "backbone_classes": size_of(state, f"{prefix}resNet.fc.weight", 0, 1000),
        }

    def published_state(self) -> State:
        """Return the weights under the published names; motion heads have none and are left out."""
        if self.attention != "cam":
            raise UserError(
                "published checkpoints have CAM attention; a run with --attention none has no such form"
            )
        state = prefixed("resNet.", self.backbone.published().state_dict()) | self.temporal.published_state()
        return state | prefixed("fc.", self.classifier.state_dict())

    def load_published(self, state: State) -> None:
        """Copy published weights, the head's under the names that it says."""
        load_over(self.backbone.published(), below("resNet.", state))
        self.classifier.load_state_dict(below("fc.", state))
        self.temporal.load_published(state)
