"""The stages of Ego-RNN's training as data (Ego-RNN, section 4.2, and its released code).

Where the paper and the released code differ (300 or 200 epochs of stage 1), the code's value stands here,
since the published numbers came from it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from core.stage import Group, Stage
from models.temporal import TemporalName

_RECURRENCE = ("temporal.*",)
_CLASSIFIER = ("classifier.*",)
# Only the convolutions: batch norm's affine parameters and the downsample convolution stay as they were. The
# backbone's own class weights learn too, through the CAM; its bias plays no part in the CAM and stays.
_LAST_STAGE = ("backbone.resnet.layer4.*.conv*.weight", "backbone.resnet.fc.weight")
_LAYER3 = ("backbone.resnet.layer3.*.conv*.weight",)
_MOTION = ("motion.*",)

StageName = Literal[1, 2, "joint"]

_RGB_STAGE_1 = Stage(
    name="rgb stage 1",
    groups=(Group(_RECURRENCE), Group(_CLASSIFIER)),
    train_modules=("temporal", "dropout", "classifier"),
    optimizer="adam",
    lr=1e-3,
    weight_decay=4e-5,
    eps=1e-4,
    milestones=(25, 75, 150),
    gamma=0.1,
    epochs=300,
)

_RGB_STAGE_2 = Stage(
    name="rgb stage 2",
    groups=(Group(_RECURRENCE), Group(_CLASSIFIER + _LAST_STAGE)),
    train_modules=("temporal", "dropout", "classifier"),
    optimizer="adam",
    lr=1e-4,
    weight_decay=4e-5,
    eps=1e-4,
    milestones=(25, 75),
    gamma=0.1,
    epochs=150,
)

# SparNet trains the whole backbone with the recurrence and the motion head, for 500 epochs. Optimiser and
# schedule are this project's choice: those of Ego-RNN's stage 2, falling later.
_RGB_JOINT = Stage(
    name="rgb joint",
    groups=(Group(("*",)),),
    train_modules=("backbone", "temporal", "dropout", "classifier"),
    optimizer="adam",
    lr=1e-4,
    weight_decay=4e-5,
    eps=1e-4,
    milestones=(250, 400),
    gamma=0.1,
    epochs=500,
)

FRAME = Stage(
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

FLOW = Stage(
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

FLOW_LAYER4_LR = 1e-4
# The classifier and the flow stream's layer4 alone are in train mode, so its batch norm goes on counting; the
# single streams' dropouts are off the path. The rest of what learns does so in eval mode.
_JOINT = Stage(
    name="two-stream",
    groups=(),
    train_modules=("dropout", "classifier", "flow.backbone.resnet.layer4"),
    optimizer="sgd",
    lr=1e-2,
    weight_decay=5e-4,
    milestones=None,
    gamma=0.99,
    epochs=250,
)


def rgb_stage(name: StageName, temporal: TemporalName, *, motion_layers: Sequence[str] = ()) -> Stage:
    """Return a stage of the RGB stream.

    Args:
        name: 1 and 2 are Ego-RNN's, "joint" trains everything at once (SparNet).
        temporal: What joins the frames; average pooling has nothing to learn.
        motion_layers: Feature maps with a motion head, which learns too. One on layer3 has the convolutions
            of layer3 trained beside those of layer4: else its loss could change nothing but the head.
    """
    stage = {1: _RGB_STAGE_1, 2: _RGB_STAGE_2, "joint": _RGB_JOINT}[name]
    if name == "joint":
        return stage
    groups = stage.groups[1:] if temporal == "avgpool" else stage.groups
    if motion_layers:
        groups += (Group(_MOTION + (_LAYER3 if "layer3" in motion_layers else ())),)
    return replace(stage, groups=groups)


def two_stream_stage(
    temporal: TemporalName, *, flow_lr: float = FLOW_LAYER4_LR, gamma: float = 0.99
) -> Stage:
    """Return the joint training of both streams.

    Args:
        temporal: What joins the frames of the RGB stream; average pooling has nothing to learn.
        flow_lr: Learning rate of the flow stream's layer4, which has one of its own.
        gamma: Factor of both learning rates after every epoch.
    """
    rgb = _LAST_STAGE if temporal == "avgpool" else _RECURRENCE + _LAST_STAGE
    learned = Group(_CLASSIFIER + tuple(f"rgb.{pattern}" for pattern in rgb))
    flow = Group(("flow.backbone.resnet.layer4.*",), lr=flow_lr)
    # cuDNN's LSTM has no backward pass in eval mode; the mode makes no other difference to it.
    modes = _JOINT.train_modules + (("rgb.temporal",) if temporal == "lstm" else ())
    return replace(_JOINT, groups=(learned, flow), train_modules=modes, gamma=gamma)
