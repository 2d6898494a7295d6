"""The stages of Ego-RNN's training as data (Ego-RNN, section 4.2, and its released code).

Where the paper and the released code differ (300 or 200 epochs of stage 1), the code's value stands here,
since the published numbers came from it.
"""

from dataclasses import replace
from typing import Literal

from engine.stage import Group, Stage
from models.temporal import TemporalName

_RECURRENCE = ("temporal.*",)
_CLASSIFIER = ("classifier.*",)
# Only the convolutions: batch norm's affine parameters and the downsample convolution stay as they were. The
# backbone's own class weights learn too, through the CAM; its bias plays no part in the CAM and stays.
_LAST_STAGE = ("backbone.resnet.layer4.*.conv*.weight", "backbone.resnet.fc.weight")

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


def rgb_stage(number: Literal[1, 2], temporal: TemporalName) -> Stage:
    """Return a stage of the RGB stream; average pooling has no recurrence that could learn."""
    stage = {1: _RGB_STAGE_1, 2: _RGB_STAGE_2}[number]
    return replace(stage, groups=stage.groups[1:]) if temporal == "avgpool" else stage
