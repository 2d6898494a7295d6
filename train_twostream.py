"""Trains both streams of Ego-RNN jointly, from a finished RGB run (stage 2) and a finished flow run.

Ego-RNN, section 4.2. Each clip's frames and flow stack share one crop and flip.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from core.cli import run
from core.ranks import ONE, Ranks, join_ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything, set_up_numerics
from core.stage import Stage
from core.task import Classification
from data.clips import Kind
from data.parts import ClipInput, Flow, Frames, read_input
from data.provenance import motion_made
from models import TwoStream, build_model
from models.base import Entry
from models.two_stream import FLOW_LAYER4_LR
from selfsup.head import without_heads
from training.batches import ClipTrainConfig, action_relations, clip_sets, open_split
from training.cache.features import kept_sets
from training.cache.frames import with_kept_frames
from training.cache.store import CacheFlags
from training.parents import Parent
from training.run import Description, prepare_model, result_line, train_and_evaluate


class Config(ClipTrainConfig, CacheFlags):
    """Train the RGB stream and the flow stream jointly, under one new classifier.

    Frames, stack and image size are those the streams were trained with. --lr is the rate of the classifier
    and of what learns in the RGB stream.
    """

    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("flow_lr", "gamma", "dropout")

    rgb: Path
    """Run directory of train_rgb.py, stage 2."""
    flow: Path
    """Run directory of train_flow.py."""
    rgb_sha256: str | None = None
    """Hash of the last.pt of --rgb: recorded, and compared where it is given."""
    flow_sha256: str | None = None
    """Hash of the last.pt of --flow: recorded, and compared where it is given."""
    flow_lr: float = Field(FLOW_LAYER4_LR, gt=0)
    """Learning rate of the flow stream's layer4."""
    gamma: float = Field(0.99, gt=0, le=1)
    """Factor of both learning rates after every epoch; a shorter training wants a smaller one."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the classifier."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return (*Frames.kinds, *Flow.kinds)

    @model_validator(mode="after")
    def _every_epoch(self) -> "Config":
        if self.milestones is not None:
            raise ValueError("--milestones: joint training lowers its rates after every epoch, by --gamma")
        return self


def open_parents(config: Config, ranks: Ranks = ONE) -> tuple[Parent, Parent]:
    """Load the RGB run and the flow run.

    Raises:
        UserError: One is missing, unfinished, of the other kind, or not the one of the given hash.
    """
    rgb = Parent.open(config.rgb, "--rgb", network="EgoRNN", script="train_rgb.py", sha256=config.rgb_sha256)
    flow = Parent.open(
        config.flow, "--flow", network="FlowStream", script="train_flow.py", sha256=config.flow_sha256
    )
    if rgb.checkpoint["config"].get("stage") == 1:
        ranks.say(f"note: --rgb {config.rgb} is a stage-1 run; the paper joins stage 2")
    return rgb, flow


def resolve(config: Config, parents: Mapping[str, Mapping[str, Any]]) -> tuple[Config, Stage]:
    """Fill the schedule with the stage's own values where it was left out.

    Args:
        config: What was given.
        parents: Settings of the RGB run under "rgb".
    """
    stage = TwoStream.stage(parents["rgb"]["temporal"], flow_lr=config.flow_lr, gamma=config.gamma)
    stage = stage.override(lr=config.lr, epochs=config.epochs)
    return config.replace(lr=stage.lr, epochs=stage.epochs), stage


def join_inputs(rgb: Parent, flow: Parent) -> ClipInput:
    """What the joint network is shown: what each stream was trained on.

    Raises:
        UserError: They were trained at different image sizes.
    """
    inputs = [read_input(parent.checkpoint["preprocessing"]) for parent in (rgb, flow)]
    return ClipInput(*(part for each in inputs for part in each.parts))


def build(config: Config, rgb: Parent, flow: Parent) -> tuple[dict[str, object], TwoStream]:
    """Make the joint network from the trained streams; motion heads stay behind.

    Returns:
        The architecture as checkpoints store it, and the model.
    """
    rgb_architecture, rgb_state = without_heads(rgb.checkpoint)
    streams = {"rgb": rgb_architecture, "flow": flow.checkpoint["architecture"]}
    num_classes = len(rgb.checkpoint["class_names"])
    architecture = {"name": "TwoStream", **streams, "num_classes": num_classes, "dropout": config.dropout}
    model = build_model(architecture)
    assert isinstance(model, TwoStream)
    model.rgb.load_state_dict(rgb_state)
    model.flow.load_state_dict(flow.checkpoint["model"])
    return architecture, model


def main(config: Config) -> None:
    """Train and measure, in as many processes as torchrun has started."""
    with join_ranks(config.device) as ranks:
        _train(config, ranks)


def _train(config: Config, ranks: Ranks) -> None:
    """Train both streams and measure them on the test users."""
    set_up_numerics()
    ranks.batch_size(config.batch_size)  # refused before anything is written
    rgb, flow = open_parents(config, ranks)
    config, stage = resolve(config, {"rgb": rgb.checkpoint["architecture"]})
    config = config.replace(rgb_sha256=rgb.sha256, flow_sha256=flow.sha256)
    RunDirectory(config.out).refuse_if_taken(config, ranks)
    inputs = join_inputs(rgb, flow)
    split = open_split(config, inputs.kinds, ranks)
    for parent in (rgb, flow):
        parent.check(config, split.class_names)
    seed_everything(config.seed)
    architecture, model = build(config, rgb, flow)
    entry = Entry(model)
    prepare_model(entry, config, ranks)
    relations = action_relations(split.class_names)
    made = motion_made(config.data, inputs.kinds)
    about = Description(architecture, split.class_names, inputs.to_dict(), relations, made)
    with RunDirectory.begin(config, ranks) as directory:
        cache = config.open_cache(ranks.say)
        if cache is None:
            sets, names = clip_sets(split, config, inputs, ranks), inputs.names
        else:
            inputs = with_kept_frames(inputs, cache)
            sets, names = kept_sets(split, config, inputs, model.prefixes(stage), cache, ranks)
        task = Classification(model, names, entry=entry)
        summary = train_and_evaluate(config, directory, task, stage, sets, about, ranks=ranks)
    ranks.say(result_line(summary))


if __name__ == "__main__":
    run(main, Config)
