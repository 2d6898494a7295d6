"""Trains a single-frame classifier: the baseline that sees no time, and the pre-training of a backbone.

On clips (--data) it learns actions from single frames and is tested on the mean over a clip's frames. On
class folders of pictures (--images) it learns their classes; its class weights then give the CAM of
train_rgb.py a meaning where ImageNet weights can't be downloaded. In metrics.csv, `clips_per_sec` of the
training counts the single frames, or the pictures.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY
from core.train_config import ClipTrainConfig
from models.backbones import BackboneName


class Config(ClipTrainConfig):
    """Train a ResNet on single frames of clips (--data) or on pictures in class folders (--images)."""

    GROUPS: ClassVar[dict[str, str]] = {
        "data": "data images held_out frames image_size",
        "network": "backbone weights",
    }
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
    """Which network reads the images: a ResNet, or efficientnet_lite0 (of the optional package timm)."""
    weights: str = "imagenet"
    """imagenet, none, a state_dict file, or a run directory; the last layer starts from random weights."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """With --images: share of each class's pictures that is tested on."""

    @model_validator(mode="after")
    def _one_source(self) -> "Config":
        if (self.data is None) == (self.images is None):
            raise ValueError("give either --data (a tree of clips) or --images (pictures in class folders)")
        if self.images is not None and self.val_fraction > 0:
            raise ValueError("--val-fraction belongs to --data; with --images use --held-out")
        return self


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.ranks import ONE, Ranks
from core.seeding import choose_device
from core.stage import Stage
from data.epochs import EpochSampler, evaluation_keys
from data.parts import ClipInput, SingleFrames
from data.pictures import PictureIndex, Pictures, picture_key
from data.split import first_names, stratified_split
from data.transforms import Preprocessing
from metrics.predictions import Relations
from models import FrameClassifier
from models.weights import load_backbone_body, read_backbone_weights
from training.batches import Data, KeyBatches, LoaderSettings, MakeBatches, by_epoch, open_clips
from training.fit import EvaluationSet, Sets, TrainingSet
from training.pictures import load_pictures
from training.run import Architecture, Parents, Settings, Training, train

if TYPE_CHECKING:
    from core.memory import Room


@dataclass(frozen=True)
class PictureData:
    """Pictures in class folders, of which a share of every class is held out for the test."""

    pictures: PictureIndex
    held_out: float
    inputs: ClipInput
    room: "Room | None" = None
    relations: Relations = Relations()
    motion_made: dict[str, Any] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the folders."""
        return self.pictures.class_names

    def sets(self, settings: LoaderSettings, ranks: Ranks = ONE, make: MakeBatches | None = None) -> Sets:
        """Make the batches; the test pictures serve for validation."""
        assert make is None, "pictures are not clips"
        kept, held = stratified_split(self.pictures.labels, self.held_out, settings.seed)
        train, test = self.pictures.subset(kept), self.pictures.subset(held)
        ranks.say(f"{len(train.class_names)} classes, {len(train)} training, {len(test)} test pictures")
        if untested := [name for label, name in enumerate(test.class_names) if label not in test.labels]:
            ranks.say(
                f"note: --held-out {self.held_out} leaves {len(untested)} small classes without a test "
                f"picture: {first_names(untested)}"
            )
        sampler = EpochSampler(len(train), settings.seed, picture_key, ranks=ranks)
        keys = KeyBatches.of_epochs(sampler, settings.batch_size)
        learned = load_pictures(Pictures(train, self.inputs.sizes), keys, settings.workers, self.room)
        keys = KeyBatches(ranks.part(evaluation_keys(len(test))), settings.batch_size)
        batches = load_pictures(Pictures(test, self.inputs.sizes), keys, settings.workers, self.room)
        measured = EvaluationSet("test", test.keys, batches, "centre crop")
        return Sets(TrainingSet(train.keys, by_epoch(sampler, learned), "pictures"), measured, measured)


def resolve(config: Config, parents: Settings) -> tuple[Config, Stage]:
    """Fill the schedule where it was left out; no run is started from."""
    return config.schedule(FrameClassifier.STAGE)


def show(config: Config, parents: Parents) -> ClipInput:
    """Describe what is read of a clip, single frames; a picture is read like a frame."""
    return ClipInput(SingleFrames(config.frames, Preprocessing.rgb(config.image_size)))


def open_data(config: Config, inputs: ClipInput, ranks: Ranks) -> Data:
    """Open the tree or the folder of pictures, and look at every header.

    Raises:
        UserError: As of `open_clips`, or the folder has fewer than two classes or a broken picture.
    """
    if config.images is not None:
        pictures = PictureIndex.from_folder(config.images)
        pictures.verify()
        if config.resident == "off":
            return PictureData(pictures, config.held_out, inputs)
        from core.memory import Room

        room = Room(config.resident, choose_device(config.device), ranks)
        return PictureData(pictures, config.held_out, inputs, room)
    return open_clips(config, inputs, ranks)


def build(
    config: Config, class_names: tuple[str, ...], parents: Parents
) -> tuple[Architecture, FrameClassifier]:
    """Make the classifier with its initial weights.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights can't be had or don't fit.
    """
    model = FrameClassifier(len(class_names), backbone=config.backbone)
    weights = read_backbone_weights(config.weights, config.backbone)
    if weights is not None:
        load_backbone_body(model.backbone, weights)
    return {"name": "FrameClassifier", "num_classes": len(class_names), "backbone": config.backbone}, model


def main(config: Config) -> None:
    """Train the classifier and measure it on the test users, or on the held-out pictures."""
    train(config, Training(resolve, show, build, open=open_data))


if __name__ == "__main__":
    run(main, flags)
