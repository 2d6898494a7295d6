"""Trains Ego-RNN's flow stream: a ResNet over stacks of the flow images that `python -m data.motion` makes.

Ego-RNN, section 4.2. A random stack of every clip in training, the centre stack after an epoch, the mean over
five stacks for the reported number.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from core.cli import run
from core.config import COSTS_MEMORY
from core.ranks import Ranks, join_ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything, set_up_numerics
from core.stage import Stage
from core.task import Classification
from data.clips import Kind
from data.parts import ClipInput, Flow
from data.provenance import motion_made
from data.transforms import Preprocessing
from models import FlowStream
from models.backbone import BackboneName
from models.weights import load_backbone_body, read_backbone_weights
from training.batches import ClipTrainConfig, action_relations, clip_sets, open_split
from training.parents import refuse_seen_users
from training.run import Description, prepare_model, result_line, train_and_evaluate


class Config(ClipTrainConfig):
    """Train the flow stream of Ego-RNN on stacks of flow images."""

    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights", "test_stacks", "dropout")

    stack: int = Field(5, ge=1, json_schema_extra=COSTS_MEMORY)
    """Consecutive flow images (pairs of x and y) that the network sees."""
    test_stacks: int = Field(5, ge=1)
    """Stacks a clip whose logits are averaged for the reported number; after epochs it is the centre one."""
    image_size: int = Field(224, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels; the short side of a flow image is scaled to 8/7 of it."""
    backbone: BackboneName = "resnet34"
    """Which torchvision ResNet."""
    weights: str = "imagenet"
    """imagenet, none, a state_dict file, or a run directory; an RGB first layer becomes the mean of its three
    colours for each of the 2 * stack channels, the last layer starts anew."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the classifier."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return Flow.kinds


def resolve(config: Config, parents: Mapping[str, Mapping[str, Any]]) -> tuple[Config, Stage]:
    """Fill the schedule with the stage's own values where it was left out."""
    stage = FlowStream.STAGE.override(lr=config.lr, epochs=config.epochs, milestones=config.milestones)
    return config.replace(lr=stage.lr, epochs=stage.epochs, milestones=stage.milestones), stage


def build(config: Config, num_classes: int) -> tuple[dict[str, object], FlowStream]:
    """Make the stream with its first weights.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights can't be had or don't fit.
    """
    weights = read_backbone_weights(config.weights, config.backbone)
    shared = {key: getattr(config, key) for key in ("stack", "backbone", "dropout")}
    stream = FlowStream(num_classes, **shared)
    if weights is not None:
        load_backbone_body(stream.backbone, weights)
    return {"name": "FlowStream", "num_classes": num_classes, **shared}, stream


def main(config: Config) -> None:
    """Train and measure, in as many processes as torchrun has started."""
    with join_ranks(config.device) as ranks:
        _train(config, ranks)


def _train(config: Config, ranks: Ranks) -> None:
    """Train the stream and measure it on the test users."""
    set_up_numerics()
    ranks.batch_size(config.batch_size)  # refused before anything is written
    config, stage = resolve(config, {})
    RunDirectory(config.out).refuse_if_taken(config, ranks)
    inputs = ClipInput(Flow(config.stack, config.test_stacks, Preprocessing.flow(config.image_size)))
    split = open_split(config, inputs.kinds, ranks)
    refuse_seen_users(config.weights, config.test_users)
    seed_everything(config.seed)
    architecture, model = build(config, len(split.class_names))
    task = Classification(prepare_model(model, config, ranks), inputs.names)
    relations = action_relations(split.class_names)
    made = motion_made(config.data, inputs.kinds)
    about = Description(architecture, split.class_names, inputs.to_dict(), relations, made)
    with RunDirectory.begin(config, ranks) as directory:
        sets = clip_sets(split, config, inputs, ranks)
        summary = train_and_evaluate(config, directory, task, stage, sets, about, ranks=ranks)
    ranks.say(result_line(summary))


if __name__ == "__main__":
    run(main, Config)
