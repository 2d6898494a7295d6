"""Trains Ego-RNN's RGB stream: stage 1 the ConvLSTM and the classifier, stage 2 also the last backbone stage.

Ego-RNN, section 4.2. Stage 1 starts from a backbone's weights, stage 2 from a finished stage-1 run. Stage 2
can learn motion segmentation beside the actions (--ms); stage joint trains everything at once (SparNet).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator
from torch import nn

from core.cli import run
from core.config import COSTS_MEMORY
from core.errors import UserError
from core.ranks import ONE, Ranks, join_ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything, set_up_numerics
from core.stage import Stage
from core.task import Classification, Task
from data.clips import Kind
from data.parts import ClipInput, Frames, Maps
from data.provenance import motion_made
from data.transforms import Preprocessing
from models import EgoRNN, build_model
from models.backbone import BackboneName
from models.base import Entry
from models.egornn import AttentionName, StageName
from models.temporal import TemporalName
from models.weights import count_classes, load_backbone_weights, read_backbone_weights
from selfsup import MotionHeads, MotionSegmentation, MotionSettings
from selfsup.head import describe_heads
from selfsup.prior import learn_prior
from training.batches import (
    ClipTrainConfig,
    Split,
    action_relations,
    clip_sets,
    evaluation_loader,
    open_split,
)
from training.cache.features import kept_sets
from training.cache.frames import with_kept_frames
from training.cache.store import CacheFlags
from training.parents import Parent, refuse_seen_users, untrained_note
from training.run import Description, Sets, prepare_model, result_line, train_and_evaluate

# What stage 1 uses where a flag is left out; stage 2 takes over what its stage 1 was trained with.
STAGE_1_DEFAULTS = {
    "frames": 7,
    "image_size": 224,
    "backbone": "resnet34",
    "weights": "imagenet",
    "attention": "cam",
    "temporal": "convlstm",
    "hidden": 512,
    "dropout": 0.7,
}
JOINT_DEFAULTS = STAGE_1_DEFAULTS | {"attention": "none"}
INHERITED = tuple(key for key in STAGE_1_DEFAULTS if key != "weights")


class Config(ClipTrainConfig, MotionSettings, CacheFlags):
    """Train the RGB stream of Ego-RNN (backbone, CAM attention, ConvLSTM) in two stages, or SparNet."""

    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights", "attention", "dropout")

    stage: StageName
    """1 trains the recurrence and the classifier, 2 goes on from --init and trains layer4 too; joint trains
    the whole network in one stage, without attention unless asked (SparNet; its batches are of 4)."""
    init: Path | None = None
    """Stage 2: the run directory of the finished stage 1."""
    init_sha256: str | None = None
    """Hash of the last.pt of --init: recorded, and compared where it is given."""
    frames: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Frames T a clip (stage 1: 7; stage 2: as its stage 1, like all that follows)."""
    image_size: int | None = Field(None, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels (224); the short side of a frame is scaled to 8/7 of it."""
    backbone: BackboneName | None = None
    """Which torchvision ResNet (resnet34)."""
    weights: str | None = None
    """Stage 1: imagenet, none, a state_dict file, or a run directory of train_frame.py (imagenet)."""
    attention: AttentionName | None = None
    """cam, or none for the rows of the table without it (cam)."""
    temporal: TemporalName | None = None
    """What joins the frames (convlstm)."""
    hidden: int | None = Field(None, ge=1)
    """Channels of the recurrence (512)."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout before the classifier (0.7)."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return Frames.kinds if self.ms == "none" else (*Frames.kinds, *Maps.kinds)

    @model_validator(mode="after")
    def _stage_and_init(self) -> "Config":
        if self.stage != 2 and self.init is not None:
            raise ValueError(f"--init belongs to --stage 2; stage {self.stage} starts from --weights")
        if self.stage == 2 and self.init is None:
            raise ValueError("--stage 2 needs --init RUN, the run directory of a finished stage 1")
        if self.stage == 2 and self.weights is not None:
            raise ValueError("--weights belongs to --stage 1; stage 2 starts from --init")
        return self

    @model_validator(mode="after")
    def _stage_and_motion(self) -> "Config":
        if self.stage == 1 and self.ms != "none":
            raise ValueError(
                f"--ms {self.ms} needs --stage 2 or joint: stage 1 leaves the backbone as it is, so the "
                "motion loss could change nothing but its own head"
            )
        return self


def resolve(config: Config, parents: Mapping[str, Mapping[str, Any]]) -> tuple[Config, Stage]:
    """Fill what was left out: with the defaults, in stage 2 with stage 1's settings.

    Args:
        config: What was given.
        parents: Stage 2: settings of its stage 1 under "init".

    Raises:
        UserError: A flag of stage 2 contradicts its stage 1.
    """
    if config.stage != 2:
        defaults = JOINT_DEFAULTS if config.stage == "joint" else STAGE_1_DEFAULTS
        given = {key: getattr(config, key) for key in defaults}
        filled = {key: value if given[key] is None else given[key] for key, value in defaults.items()}
    else:
        saved = parents["init"]
        for key in INHERITED:
            asked = getattr(config, key)
            if asked is not None and asked != saved[key]:
                flag = key.replace("_", "-")
                raise UserError(
                    f"--{flag} {asked}: {config.init} was trained with {saved[key]}; leave the flag out"
                )
        filled = {key: saved[key] for key in INHERITED}
    config = config.replace(**filled, **config.motion_values())
    assert config.temporal is not None
    stage = EgoRNN.stage(config.stage, config.temporal, motion_layers=config.motion_layers)
    stage = stage.override(lr=config.lr, epochs=config.epochs, milestones=config.milestones)
    return config.replace(lr=stage.lr, epochs=stage.epochs, milestones=stage.milestones), stage


def open_parent(config: Config) -> Parent | None:
    """Load the stage-1 run that stage 2 starts from; stage 1 has none.

    Raises:
        UserError: The run is missing, unfinished, or no stage 1 of the RGB stream.
    """
    if config.init is None:
        return None
    parent = Parent.open(
        config.init, "--init", network="EgoRNN", script="train_rgb.py", sha256=config.init_sha256
    )
    if parent.checkpoint["config"].get("stage") != 1:
        raise UserError(f"--init {config.init} is no stage-1 run of train_rgb.py")
    return parent


def build(
    config: Config, parent: Parent | None, class_names: tuple[str, ...]
) -> tuple[dict[str, Any], nn.Module]:
    """Make the model with its first weights: the backbone's in stage 1, the whole stage 1 in stage 2.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights don't fit, or stage 1 may not be built upon with this data.
    """
    if parent is not None:
        parent.check(config, class_names)
        architecture = parent.checkpoint["architecture"]
        model = build_model(architecture)
        model.load_state_dict(parent.checkpoint["model"])
        return architecture, model
    weights = read_backbone_weights(config.weights, config.backbone)
    shared = {key: getattr(config, key) for key in ("backbone", "attention", "temporal", "hidden", "dropout")}
    arguments = {"num_classes": len(class_names), **shared, "backbone_classes": count_classes(weights)}
    stream = EgoRNN(**arguments)
    if weights is not None:
        load_backbone_weights(stream.backbone, weights)
    return {"name": "EgoRNN", **arguments}, stream


def add_motion_heads(
    config: Config, split: Split, inputs: ClipInput, model: EgoRNN, ranks: Ranks = ONE
) -> dict[str, Any]:
    """Give the model its motion heads, last of all, so that every other weight is as it is without them.

    Returns:
        The heads' architecture as checkpoints store it.

    Raises:
        UserError: In the training clips' maps nothing moves, or everything.
    """
    assert config.ms != "none"
    architecture = describe_heads(
        config.motion_layers, config.ms, channels=model.backbone.channels, image_size=inputs.sizes.image_size
    )
    heads = build_model(architecture)
    assert isinstance(heads, MotionHeads)
    beside = inputs.without(Frames)
    keys = beside.test_keys(split.train)
    maps = evaluation_loader(beside.dataset(split.train), keys, config.batch_size, config.workers)
    if learn_prior(heads, config.motion_target(), maps, balanced=config.ms_classes == "balanced"):
        taken = "brighter than half count as moving" if config.ms == "classification" else "are kept"
        ranks.say(f"note: motion maps of {config.data} hold grey levels, not 0 and 255 alone; those {taken}")
    model.motion = heads
    return architecture


def show(config: Config) -> ClipInput:
    """Describe what is read of a clip: frames, with a motion head their motion maps too."""
    assert config.frames is not None and config.image_size is not None
    pixels = Preprocessing.rgb(config.image_size)
    inputs = ClipInput(Frames(config.frames, pixels))
    return inputs if config.ms == "none" else inputs.plus(Maps(config.frames, pixels))


def make_sets(
    config: Config, split: Split, inputs: ClipInput, stage: Stage, entry: Entry, ranks: Ranks = ONE
) -> tuple[Sets, Task]:
    """Give the batches, from frames or from kept outputs, and what is learned from them."""
    cache = config.open_cache(ranks.say)
    if cache is not None:
        inputs = with_kept_frames(inputs, cache)
    prefixes = () if cache is None else entry.model.prefixes(stage)
    if cache is None or not prefixes:
        sets, names = clip_sets(split, config, inputs, ranks), inputs.names
    else:
        sets, names = kept_sets(split, config, inputs, prefixes, cache, ranks)
    if config.ms == "none":
        return sets, Classification(entry.model, names, entry=entry)
    return sets, MotionSegmentation(entry.model, names, config, entry=entry)


def main(config: Config) -> None:
    """Train and measure, in as many processes as torchrun has started."""
    with join_ranks(config.device) as ranks:
        _train(config, ranks)


def _train(config: Config, ranks: Ranks) -> None:
    """Train one stage and measure it on the test users."""
    set_up_numerics()
    ranks.batch_size(config.batch_size)  # refused before anything is written
    parent = open_parent(config)
    config, stage = resolve(config, {} if parent is None else {"init": parent.checkpoint["config"]})
    config = config.replace(init_sha256=None if parent is None else parent.sha256)
    RunDirectory(config.out).refuse_if_taken(config, ranks)
    inputs = show(config)
    split = open_split(config, inputs.kinds, ranks)
    refuse_seen_users(config.weights, config.test_users)
    saved = config.model_dump() if parent is None else parent.checkpoint["config"]
    if note := untrained_note(saved, str(config.init or config.out)):
        ranks.say(note)
    seed_everything(config.seed)
    architecture, model = build(config, parent, split.class_names)
    if config.ms != "none":
        architecture = architecture | {"motion": add_motion_heads(config, split, inputs, model, ranks)}
    entry = Entry(model)
    prepare_model(entry, config, ranks)
    relations = action_relations(split.class_names)
    made = motion_made(config.data, inputs.kinds)
    about = Description(architecture, split.class_names, inputs.to_dict(), relations, made)
    with RunDirectory.begin(config, ranks) as directory:
        sets, task = make_sets(config, split, inputs, stage, entry, ranks)
        draw = None
        if config.ms != "none":
            from viz.motion import draw_motion

            draw = partial(draw_motion, directory.path / "motion.png", config, model, split.test, inputs)
        summary = train_and_evaluate(config, directory, task, stage, sets, about, draw, ranks)
    ranks.say(result_line(summary))


if __name__ == "__main__":
    run(main, Config)
