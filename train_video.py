"""Trains a network over whole clips end to end: 2D with a head in time, inflated, 3D, SlowFast, transformers.

What a user would compare Ego-RNN with, under the same index, frames, protocol and report. docs/systems.md has
a row for each network.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro
from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY
from core.train_config import ClipTrainConfig
from models.inserts import ModuleName
from models.temporal import HEADS, TemporalName, fitting_hidden, require_head
from models.video import NETWORKS, NetworkName
from training.cache import CacheFlags

FRAMES = 7


class Config(ClipTrainConfig, CacheFlags):
    """Train a network over whole clips end to end."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "weights": {
            "networks that begin as a 2D ResNet": "imagenet",
            "torchvision's": "kinetics400",
            "c3d, csn26 and csn50": "none",
        },
        "frames": FRAMES,
        "frame_interval": 1,
        "num_clips": 1,
        "temporal": "avgpool",
        "hidden": 512,
        "module": "none",
        "time_padding": "replicate",
        "pictures_weight": 1.0,
    }
    GROUPS: ClassVar[dict[str, str]] = {
        "data": "frames clip_len frame_interval num_clips image_size labels unseen pictures",
        "network": "weights temporal hidden module time_padding dropout",
        "training": "partial_bn pictures_weight",
    }
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights", "dropout", "pictures_weight")

    network: NetworkName
    """Which network; a wrong name lists all of them."""
    frames: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Frames T of a clip, spread over it."""
    clip_len: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Sample views in place of --frames: so many frames at a fixed interval, from a random start in training.
    3D networks are published with 16 to 64."""
    frame_interval: int | None = Field(None, ge=1, le=10**6)
    """With --clip-len: steps from one frame of a view to the next; the last frame of a clip is repeated where
    a view reaches beyond it."""
    num_clips: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """With --clip-len: views of a clip whose logits the final test averages; the measurement after an epoch
    takes the middle one alone."""
    image_size: int = Field(224, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels; the short side of a frame is scaled to 8/7 of it."""
    weights: str | None = None
    """imagenet, none, a state_dict file, or a run directory of train_frame.py, for networks that begin as a
    2D ResNet; kinetics400, none, or a file with torchvision's names for torchvision's."""
    temporal: Annotated[TemporalName | None, tyro.conf.arg(metavar="{" + ",".join(HEADS) + "}")] = None
    """With a 2D ResNet: the head that joins the frames; all but LSTA's, which need a CAM."""
    hidden: int | None = Field(None, ge=1)
    """With a 2D ResNet: width of the head, or the largest that the head takes if that is less; avgpool and
    maxpool have none."""
    module: ModuleName | None = None
    """With a 2D ResNet: a module in its blocks that exchanges information between the frames of a clip."""
    time_padding: Literal["replicate", "zeros"] | None = None
    """With an inflated ResNet: what lies beyond the first and the last frame; zeros as published, which
    spoils the 2D weights at few frames."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the classifier; with few clips, heads over the frames learn faster without
    (docs/experiments.md)."""
    labels: Literal["action", "verb+noun"] = "action"
    """verb+noun has a head for each in place of one for the actions, whose scores are sums of both."""
    unseen: tuple[str, ...] = ()
    """Actions whose training clips are left out, to measure whether their verb and noun name them."""
    partial_bn: bool = False
    """Leave every batch norm but the first as it was trained, as TSN does (resnet*, early*, slowfusion,
    i3d-*; not with --module or --weights none)."""
    pictures: Path | None = Field(None, json_schema_extra=COSTS_MEMORY)
    """Folder of pictures in class folders, learned beside the clips by a head of their own: every clip comes
    with a random one, shown as a still clip. It costs as much as a clip, or one frame where frames are only
    averaged."""
    pictures_weight: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Weight w in: loss of the clips + w * loss of the pictures."""

    @property
    def length(self) -> int:
        """Frames that the network sees at a time."""
        return self.clip_len or self.frames or FRAMES

    @model_validator(mode="after")
    def _one_way_of_sampling(self) -> "Config":
        if self.clip_len is not None and self.frames is not None:
            raise ValueError("give either --frames (spread over a clip) or --clip-len (of each view)")
        for name in ("frame_interval", "num_clips"):
            if self.clip_len is None and getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} belongs to --clip-len")
        return self

    @model_validator(mode="after")
    def _unseen_needs_parts(self) -> "Config":
        if self.unseen and self.labels == "action":
            raise ValueError(
                "--unseen belongs to --labels verb+noun: no other network can name unseen actions"
            )
        return self

    @model_validator(mode="after")
    def _pictures_have_the_weight(self) -> "Config":
        if self.pictures is None and self.pictures_weight is not None:
            raise ValueError("--pictures-weight belongs to --pictures")
        return self


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from dataclasses import replace

import numpy as np
import torch

from core.errors import UserError
from core.ranks import Ranks
from core.stage import Group, Stage
from core.task import AndPictures, Task
from data.actions import noun_ids, verb_ids
from data.parts import ClipInput, Frames, Views
from data.pictures import PictureIndex
from models.base import ClipModel, Entry
from models.verb_noun import VerbNoun
from models.with_pictures import WithPictures
from training.batches import ClipData, open_clips
from training.parents import Ancestor
from training.pictures import ClipsWithPictures
from training.run import Architecture, Parents, Settings, Training, classification, train


def resolve(config: Config, parents: Settings) -> tuple[Config, Stage]:
    """Fill the flags that were left out, by the network's defaults.

    Raises:
        UserError: A flag belongs to other networks, or the network can't take such clips.
    """
    network = NETWORKS[config.network]
    flags = {flag for other in NETWORKS.values() for flag in other.FLAGS}
    for flag in sorted(flags - network.FLAGS.keys()):
        if getattr(config, flag) is not None:
            theirs = ", ".join(name for name, other in NETWORKS.items() if flag in other.FLAGS)
            raise UserError(f"--{flag.replace('_', '-')} belongs to {theirs}, not to {config.network}")
    stage = network.STAGE
    if config.partial_bn:
        if network.PARTIAL_BN is None:
            theirs = ", ".join(name for name, other in NETWORKS.items() if other.PARTIAL_BN is not None)
            raise UserError(f"--partial-bn belongs to {theirs}, not to {config.network}")
        if config.module not in (None, "none"):
            raise UserError("--partial-bn would leave the norms of --module untrained; leave one of them out")
        if (config.weights or network.START) == "none":
            raise UserError(
                "--partial-bn leaves norms as they were trained, and with --weights none there are none"
            )
        stage = network.PARTIAL_BN
    network.check(config.network, config.length, config.image_size)
    defaults = dict(network.FLAGS)
    if "temporal" in defaults:
        temporal = config.temporal or defaults["temporal"]
        if HEADS[temporal].needs_attention:
            raise UserError(
                f"--temporal {temporal} reads a class activation map, which no network here has; train it by "
                "train_rgb.py --attention cam"
            )
        defaults["hidden"] = fitting_hidden(temporal, defaults["hidden"])
        hidden = config.hidden or defaults["hidden"]
        require_head(temporal, attention=False, hidden=hidden, frames=config.length)
    if config.module not in (None, "none") and config.length < 2:
        flag = "--frames 1" if config.clip_len is None else "--clip-len 1"
        raise UserError(
            f"--module {config.module} joins the frames of a clip, and {flag} leaves none to join"
        )
    if (config.weights or network.START) == "none":  # no part has learned before, so none gets a lower rate
        stage = replace(stage, groups=tuple(replace(group, factor=1.0) for group in stage.groups))
    lacking = ["frames"] if config.clip_len is None else ["frame_interval", "num_clips"]
    if config.pictures is not None:
        lacking.append("pictures_weight")
        stage = stage.below("network.")
        stage = replace(stage, groups=(*stage.groups, Group(("pictures.*",))))
    stage = stage if config.labels == "action" else stage.below("network.")
    common = {name: config.DEFAULTS[name] for name in lacking}
    return config.fill({"weights": network.START, **common, **defaults}).schedule(stage)


def show(config: Config, parents: Parents) -> ClipInput:
    """Describe what is read of a clip: frames spread over it, as of every RGB stream, or views."""
    pixels = NETWORKS[config.network].preprocessing(config.network, config.image_size)
    if config.clip_len is None:
        return ClipInput(Frames(config.length, pixels))
    assert config.frame_interval is not None and config.num_clips is not None
    frames = config.clip_len * config.num_clips
    views = Views(frames, pixels, frame_interval=config.frame_interval, num_clips=config.num_clips)
    return ClipInput(views)


def build(config: Config, class_names: tuple[str, ...], parents: Parents) -> tuple[Architecture, ClipModel]:
    """Make the network with its first weights.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights can't be had or don't fit.
    """
    network = NETWORKS[config.network]
    arguments = {name: getattr(config, name) for name in ("network", "dropout", *network.FLAGS)}
    arguments["frames"] = config.length
    verbs, nouns = verb_ids(class_names).tolist(), noun_ids(class_names).tolist()
    together = config.labels == "action"
    num_classes = len(class_names) if together else len({*verbs}) + len({*nouns})
    over_clips = network(num_classes=num_classes, **arguments)
    assert config.weights is not None
    over_clips.start(config.weights)
    model: ClipModel = over_clips
    architecture = {"name": network.__name__, "num_classes": num_classes, **arguments}
    if config.pictures is not None:
        names = PictureIndex.from_folder(config.pictures).class_names
        architecture = {"name": "WithPictures", "network": architecture, "names": list(names)}
        model = WithPictures(over_clips, names)
    if together:
        return architecture, model
    pairs = list(zip(verbs, nouns, strict=True))
    return {"name": "VerbNoun", "network": architecture, "pairs": [list(pair) for pair in pairs]}, VerbNoun(
        model, pairs
    )


def open_data(config: Config, inputs: ClipInput, ranks: Ranks) -> ClipData:
    """Open the tree and the pictures, and leave out the training clips of --unseen.

    Raises:
        UserError: As of `open_clips`, there is no such action, or the pictures are no classes or broken.
    """
    data = keep_unseen_out(config, open_clips(config, inputs, ranks), ranks)
    if config.pictures is None:
        return data
    assert config.epochs is not None
    return ClipsWithPictures.of(data, PictureIndex.from_folder(config.pictures), config.epochs)


def keep_unseen_out(config: Config, data: ClipData, ranks: Ranks) -> ClipData:
    """Leave out the training clips of --unseen.

    Raises:
        UserError: There is no such action, the first weights have learned from it, or nothing is left to
            learn from or to select an epoch on.
    """
    if wrong := sorted(set(config.unseen) - set(data.class_names)):
        raise UserError(f"--unseen {wrong[0]}: no such action; there are {list(data.class_names)}")
    if not config.unseen:
        return data
    for ancestor in Ancestor.of(config.model_dump()):
        left_out = ancestor.settings.get("unseen", ())
        if ancestor.settings and (seen := [action for action in config.unseen if action not in left_out]):
            raise UserError(
                f"{ancestor.where} has learned from clips, those of {seen[0]} too, which --unseen leaves "
                "out; take weights from pictures, or --weights none"
            )
    train = data.split.train
    kept = [number for number, clip in enumerate(train.clips) if clip.action not in config.unseen]
    if not kept:
        raise UserError("--unseen names the action of every training clip, which leaves none to learn from")
    ranks.say(f"note: {len(kept)} of {len(train)} training clips are learned from, none of --unseen")
    learned = np.unique([train.clips[number].label for number in kept])
    for part, ids in (("verb", verb_ids(data.class_names)), ("noun", noun_ids(data.class_names))):
        for action in config.unseen:
            if ids[data.class_names.index(action)] not in ids[learned]:
                ranks.say(f"note: no training clip has the {part} of {action}, so that it can't be named")
    val = data.split.val
    if val is not None:  # where best.pt is selected
        val = val.subset([n for n, clip in enumerate(val.clips) if clip.action not in config.unseen])
        if not len(val):
            raise UserError("--unseen names the actions of all clips that --val-fraction holds out; raise it")
    return replace(data, split=replace(data.split, train=train.subset(kept), val=val))


def make_task(config: Config, entry: Entry, names: tuple[str, ...]) -> Task:
    """Learn the actions, or their verbs and nouns, and beside them the pictures."""
    model, task = entry.model, classification(config, entry, names)
    if isinstance(model, VerbNoun):
        model = model.network
    if not isinstance(model, WithPictures):
        return task
    assert config.pictures_weight is not None
    return AndPictures(task, model.still, model.pictures, config.pictures_weight, entry)


def keep_seen(config: Config, model: ClipModel, data: ClipData, ranks: Ranks) -> None:
    """Keep which actions have training clips."""
    if isinstance(model, VerbNoun):
        labels = {clip.label for clip in data.split.train.clips}
        model.seen = torch.tensor([label in labels for label in range(len(data.class_names))])


def main(config: Config) -> None:
    """Train the network and measure it on the test users."""
    train(config, Training(resolve, show, build, open=open_data, task=make_task, prepare=keep_seen))


if __name__ == "__main__":
    run(main, flags)
