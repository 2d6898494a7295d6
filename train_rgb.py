"""Trains Ego-RNN's RGB stream: stage 1 its recurrence and classifier, stage 2 also the backbone's last stage.

Ego-RNN, section 4.2. Stage 1 starts from a backbone's weights, stage 2 from a finished stage-1 run. Stage 2
can learn motion segmentation beside the actions (--ms); stage joint trains everything at once (SparNet).
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY
from core.train_config import ClipTrainConfig, Predict
from data.clips import Kind
from models import AttentionName, StageName
from models.backbones import BackboneName
from models.inserts import ModuleName, sees_ahead
from models.temporal import HEADS, TemporalName, fitting_hidden
from selfsup.settings import MotionSettings
from training.cache import CacheFlags

# What a network is, by flag, where the flag is left out; stage 2 takes it from its stage 1.
NETWORK = {
    "frames": 7,
    "image_size": 224,
    "backbone": "resnet34",
    "attention": "cam",
    "temporal": "convlstm",
    "hidden": 512,
    "dropout": 0.7,
}


class Config(ClipTrainConfig, MotionSettings, CacheFlags):
    """Train the RGB stream of Ego-RNN (backbone, CAM attention, ConvLSTM) in two stages, or SparNet.

    Stage 2 takes --frames, --observed, --image-size, --backbone, --attention, --temporal, --hidden and
    --dropout from its stage 1.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = NETWORK | {"weights": "imagenet"}
    GROUPS: ClassVar[dict[str, str]] = {
        "data": "frames observed image_size",
        "network": "init init_sha256 weights backbone module attention temporal hidden dropout",
        "training": "predict",
    }
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights", "attention", "dropout")

    stage: StageName
    """1 trains the recurrence and the classifier, 2 goes on from --init and trains layer4 too; joint trains
    the whole network in one stage, without attention unless asked (SparNet; its own has --batch-size 4)."""
    init: Path | None = None
    """Stage 2: the run directory of the finished stage 1."""
    init_sha256: str | None = None
    """Hash of the last.pt of --init: recorded, and compared where it is given."""
    frames: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Frames T of a clip."""
    observed: float | None = Field(None, gt=0, le=1)
    """Early recognition: frames come from this share of a clip, its beginning, in training and in the test
    (0.25: the first quarter). Left out: 1, the whole clip."""
    image_size: int | None = Field(None, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels; the short side of a frame is scaled to 8/7 of it."""
    backbone: BackboneName | None = None
    """Which network reads the images: a ResNet, or efficientnet_lite0 (of the optional package timm)."""
    module: ModuleName | None = None
    """Stage joint: a module in the ResNet's blocks that exchanges information between the frames of a clip,
    below the attention and the head. It learns with the layers around it, which stages 1 and 2 freeze. Left
    out: none."""
    weights: str | None = None
    """Stage 1 and joint: imagenet, none, a state_dict file, or a run directory of train_frame.py."""
    attention: AttentionName | None = None
    """cam, or none for the rows of the table without it."""
    temporal: Annotated[TemporalName | None, tyro.conf.arg(metavar="{" + ",".join(HEADS) + "}")] = None
    """The head that joins the frames; an unknown name lists them with a line each."""
    hidden: int | None = Field(None, ge=1)
    """Width of the head: the channels of the recurrence."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout before the classifier."""
    predict: Predict | None = None
    """What is learned from: the scores after the last frame, or those after every frame, alike or with
    weights that rise as t / T. The number to report is always that after the last frame. Left out: last, and
    in stage 2 what stage 1 learned from."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return Frames.kinds if self.ms == "none" else (*Frames.kinds, *Maps.kinds)

    @model_validator(mode="after")
    def _flags_fit_the_stage(self) -> "Config":
        if self.stage != 2 and self.init is not None:
            raise ValueError(f"--init belongs to --stage 2; stage {self.stage} starts from --weights")
        if self.stage == 2 and self.init is None:
            raise ValueError("--stage 2 needs --init RUN, the run directory of a finished stage 1")
        if self.stage == 2 and self.weights is not None:
            raise ValueError("--weights belongs to --stage 1; stage 2 starts from --init")
        if self.stage == 1 and self.ms != "none":
            raise ValueError(
                f"--ms {self.ms} needs --stage 2 or joint: stage 1 leaves the backbone as it is, so the "
                "motion loss could change nothing but its own head"
            )
        if self.stage != "joint" and self.module not in (None, "none"):
            raise ValueError(
                f"--module {self.module} needs --stage joint: a module learns with the layers around it, and "
                f"stage {self.stage} freezes them"
            )
        if self.predict not in (None, "last") and sees_ahead(self.module or "none"):
            raise ValueError(
                f"--predict {self.predict} asks for a decision after every frame, and with --module "
                f"{self.module} each frame has seen the ones after it; --module tsm-causal looks back alone"
            )
        return self


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from collections.abc import Sequence

from core.errors import UserError
from core.ranks import Ranks
from core.stage import Stage
from core.task import Classification, Task
from data.parts import ClipInput, Frames, Maps
from data.transforms import Preprocessing
from models.base import Entry
from models.egornn import EgoRNN
from models.temporal import require_head
from selfsup.head import MotionHeads, describe_heads
from selfsup.targets import MotionTarget
from selfsup.task import MotionSegmentation
from training.batches import ClipData, KeyBatches
from training.parents import ParentKind, untrained_note
from training.run import Architecture, Parents, Settings, Training, look_at, train

PARENTS = {"init": ParentKind("EgoRNN", "train_rgb.py")}


def resolve(config: Config, parents: Settings) -> tuple[Config, Stage]:
    """Fill the flags that were left out: from stage 1 in stage 2, else with the defaults.

    Args:
        config: The flags that were given.
        parents: Stage 2: settings of its stage 1 under "init".

    Raises:
        UserError: --init is no stage 1, a flag contradicts it, or the head can't be built so.
    """
    if config.stage == 2:
        saved = parents["init"]
        if saved.get("stage") != 1:
            raise UserError(f"--init {config.init} is no stage-1 run of train_rgb.py")
        values = {name: saved[name] for name in NETWORK} | {"observed": saved.get("observed") or 1.0}
        for name, value in values.items():
            if (asked := getattr(config, name)) not in (None, value):
                flag = name.replace("_", "-")
                raise UserError(
                    f"--{flag} {asked}: {config.init} was trained with {value}; leave the flag out"
                )
        values["predict"] = saved.get("predict")  # which changes no network, so another one is no mistake
    else:
        values = config.DEFAULTS | ({"attention": "none"} if config.stage == "joint" else {})
        temporal = config.temporal or values["temporal"]
        values |= {"hidden": fitting_hidden(temporal, values["hidden"])}
    config = config.fill(values | config.motion_values())
    # As if left out, so that runs from before there were these flags are still the same runs.
    usual = {"observed": 1, "predict": "last", "module": "none"}
    config = config.replace(**{name: None for name, value in usual.items() if getattr(config, name) == value})
    assert config.temporal is not None and config.hidden is not None and config.backbone is not None
    attends = config.attention == "cam"
    require_head(config.temporal, attention=attends, hidden=config.hidden, frames=config.frames)
    return config.schedule(EgoRNN.stage(config.stage, config.temporal, config.motion_layers, config.backbone))


def show(config: Config, parents: Parents) -> ClipInput:
    """Describe what is read of a clip: frames, and for a motion head their motion maps."""
    assert config.frames is not None and config.image_size is not None
    frames = Frames(config.frames, Preprocessing.rgb(config.image_size), observed=config.observed or 1.0)
    inputs = ClipInput(frames)
    return inputs if config.ms == "none" else inputs.plus(Maps.of(frames))


def build(config: Config, class_names: tuple[str, ...], parents: Parents) -> tuple[Architecture, EgoRNN]:
    """Make the model with its initial weights: the backbone's in stage 1, the whole stage 1 in stage 2.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights can't be had or don't fit.
    """
    # Loaded here, where they are used: the first loads every network.
    from models.build import build_model
    from models.weights import count_classes, load_backbone_weights, read_backbone_weights

    if config.stage == 2:
        checkpoint = parents["init"].checkpoint
        architecture = checkpoint["architecture"]
        model = build_model(architecture)
        model.load_state_dict(checkpoint["model"])
    else:
        assert config.weights is not None and config.backbone is not None
        weights = read_backbone_weights(config.weights, config.backbone)
        names = ("backbone", "attention", "temporal", "hidden", "dropout")
        arguments = {"num_classes": len(class_names), **{name: getattr(config, name) for name in names}}
        if HEADS[arguments["temporal"]].needs_frames:
            arguments["frames"] = config.frames
        architecture = {
            "name": "EgoRNN",
            **arguments,
            "backbone_classes": count_classes(weights, config.backbone),
        }
        if config.module is not None:
            architecture |= {"module": config.module, "frames": config.frames}
        model = build_model(architecture)
        if weights is not None:
            load_backbone_weights(model.backbone, weights)
    if config.ms != "none":  # last of all, so that every other weight is as it is without heads
        assert config.image_size is not None
        heads = describe_heads(
            config.motion_layers,
            config.ms,
            channels=model.backbone.channels,
            image_size=config.image_size,
            layer3_channels=model.backbone.layer3_channels,
        )
        model.motion, architecture = build_model(heads), architecture | {"motion": heads}
    return architecture, model


def make_task(config: Config, entry: Entry, names: tuple[str, ...]) -> Task:
    """Learn the actions, after the last frame or after each, and with --ms the motion."""
    predict = config.predict or "last"
    entry.model.every_frame = predict != "last"
    if config.ms == "none":
        return Classification(entry.model, names, keep=("along",), entry=entry, predict=predict)
    return MotionSegmentation(entry.model, names, config, entry=entry, predict=predict)


def notes(config: Config, parents: Parents) -> list[str]:
    """Note a backbone that never was trained."""
    saved = parents["init"].settings if config.stage == 2 else config.model_dump()
    note = untrained_note(saved, str(config.init or config.out))
    return [] if note is None else [note]


def learn_motion_prior(config: Config, model: EgoRNN, data: ClipData, ranks: Ranks) -> None:
    """Keep in the motion heads how often each cell moves in the training maps.

    Raises:
        UserError: In the training maps nothing moves, or everything.
    """
    if config.ms == "none":
        return
    from selfsup.prior import learn_prior

    assert isinstance(model.motion, MotionHeads)
    train, maps = data.split.train, data.inputs.without(Frames)
    keys = KeyBatches(maps.test_keys(train), config.batch_size)
    batches = data.load(maps, config.workers, train, keys)
    if learn_prior(model.motion, MotionTarget.of(config), batches, balanced=config.ms_classes == "balanced"):
        taken = "brighter than half count as moving" if config.ms == "classification" else "are kept"
        ranks.say(f"note: motion maps of {config.data} hold grey levels, not 0 and 255 alone; those {taken}")


def draw(config: Config, model: EgoRNN, data: ClipData, folder: Path) -> None:
    """Draw true and predicted motion of some test clips."""
    if config.ms != "none":
        from viz.motion import draw_motion  # here, since training draws nothing else

        draw_motion(folder / "motion.png", config, model, data.split.test, data.inputs)


def following(config: Config, model: EgoRNN) -> Sequence[object]:
    """Say how to go on: stage 1 is followed by stage 2, which is looked at."""
    if config.stage != 1:
        return look_at(config, model)
    command = "python train_rgb.py --stage 2".split()
    return (*command, "--data", config.data, "--init", config.out, "--out", "RUN")


def main(config: Config) -> None:
    """Train one stage and measure it on the test users."""
    training = Training(
        resolve,
        show,
        build,
        PARENTS,
        task=make_task,
        notes=notes,
        prepare=learn_motion_prior,
        draw=draw,
        following=following,
    )
    train(config, training)


if __name__ == "__main__":
    run(main, flags)
