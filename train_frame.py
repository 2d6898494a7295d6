"""Trains a single-frame classifier: the baseline that sees no time, and the pre-training of a backbone.

On clips (--data) it learns actions from single frames and is tested on the mean over a clip's frames. On
class folders of pictures (--images) it learns what is in them; its class weights then give the CAM of
train_rgb.py a meaning where ImageNet weights can't be downloaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from core.cli import run
from core.config import COSTS_MEMORY
from core.ranks import Ranks, join_ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything, set_up_numerics
from core.stage import Stage
from core.task import Classification
from data.parts import ClipInput, SingleFrames
from data.transforms import Preprocessing
from metrics.predictions import Relations
from models import FrameClassifier
from models.backbone import BackboneName
from models.weights import load_backbone_body, read_backbone_weights
from training.batches import (
    ClipTrainConfig,
    Split,
    action_relations,
    clip_sets,
    open_pictures,
    open_split,
    picture_sets,
)
from training.parents import refuse_seen_users
from training.run import Description, Sets, prepare_model, result_line, train_and_evaluate


class Config(ClipTrainConfig):
    """Train a ResNet on single frames of clips (--data) or on pictures in class folders (--images)."""

    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights",)

    data: Path | None = None  # type: ignore[assignment]
    """Tree of clips."""
    images: Path | None = None
    """Folder of pictures in class folders, as ImageNet has them."""
    image_size: int = Field(224, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels; the short side of a frame is scaled to 8/7 of it."""
    frames: int = Field(7, ge=1, json_schema_extra=COSTS_MEMORY)
    """With --data: random frames of every clip in an epoch, and frames averaged over in the test."""
    backbone: BackboneName = "resnet34"
    """Which torchvision ResNet."""
    weights: str = "imagenet"
    """imagenet, none, a state_dict file, or a run directory; the last layer always starts anew."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """With --images: share of each class's pictures that is tested on."""

    @model_validator(mode="after")
    def _one_source(self) -> "Config":
        if (self.data is None) == (self.images is None):
            raise ValueError("give either --data (a tree of clips) or --images (pictures in class folders)")
        if self.images is not None and self.val_fraction > 0:
            raise ValueError("--val-fraction belongs to --data; with --images use --held-out")
        return self


def resolve(config: Config, parents: Mapping[str, Mapping[str, Any]]) -> tuple[Config, Stage]:
    """Fill the schedule with the stage's own values where it was left out."""
    stage = FrameClassifier.STAGE.override(lr=config.lr, epochs=config.epochs, milestones=config.milestones)
    return config.replace(lr=stage.lr, epochs=stage.epochs, milestones=stage.milestones), stage


def open_sets(config: Config, inputs: ClipInput, ranks: Ranks) -> tuple[Sets, tuple[str, ...], Relations]:
    """Index the source and make its batches; returns them, the class names and their relations."""
    if config.images is not None:
        pictures = open_pictures(config.images)
        sets = picture_sets(pictures, config, config.held_out, inputs.sizes, ranks)
        return sets, pictures.class_names, Relations()
    split: Split = open_split(config, inputs.kinds, ranks)
    refuse_seen_users(config.weights, config.test_users)
    return clip_sets(split, config, inputs, ranks), split.class_names, action_relations(split.class_names)


def main(config: Config) -> None:
    """Train and measure, in as many processes as torchrun has started."""
    with join_ranks(config.device) as ranks:
        _train(config, ranks)


def _train(config: Config, ranks: Ranks) -> None:
    """Train the classifier and measure it on the test users, or on the held-out pictures."""
    set_up_numerics()
    ranks.batch_size(config.batch_size)  # refused before anything is written
    config, stage = resolve(config, {})
    RunDirectory(config.out).refuse_if_taken(config, ranks)
    inputs = ClipInput(SingleFrames(config.frames, Preprocessing.rgb(config.image_size)))
    sets, class_names, relations = open_sets(config, inputs, ranks)
    seed_everything(config.seed)
    model = FrameClassifier(len(class_names), backbone=config.backbone)
    weights = read_backbone_weights(config.weights, config.backbone)
    if weights is not None:
        load_backbone_body(model.backbone, weights)
    architecture = {"name": "FrameClassifier", "num_classes": len(class_names), "backbone": config.backbone}
    task = Classification(prepare_model(model, config, ranks), inputs.names)
    about = Description(architecture, class_names, inputs.to_dict(), relations)
    with RunDirectory.begin(config, ranks) as directory:
        summary = train_and_evaluate(config, directory, task, stage, sets, about, ranks=ranks)
    ranks.say(result_line(summary))


if __name__ == "__main__":
    run(main, Config)
