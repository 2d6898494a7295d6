"""From a tree and a run's settings to the batches that the training and evaluation scripts need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from data.actions import noun_ids, reversed_actions, verb_ids
from data.datasets import RgbClips, SingleFrames
from data.epochs import ClipKey, EpochSampler, FrameKey, evaluation_keys, frame_keys
from data.image_folder import PictureIndex, Pictures, picture_key
from data.index import ClipIndex
from data.split import check_split, hold_out, stratified_split
from data.transforms import Preprocessing
from engine.errors import UserError
from engine.evaluation import Relations
from engine.fit import Batches, EvaluationSet, TrainingSet
from engine.train_config import TrainConfig
from engine.training import Sets


class ClipTrainConfig(TrainConfig):
    """Flags of every script that trains on clips."""

    data: Path
    """Tree of clips."""
    train_users: tuple[str, ...] = Field(("S1", "S3", "S4"), min_length=1)
    """Users to learn from."""
    test_users: tuple[str, ...] = Field(("S2",), min_length=1)
    """Users to measure on, never learned from."""


@dataclass(frozen=True)
class Split:
    """The clips of a run, checked and divided.

    Attributes:
        train: What is learned from.
        val: Held-out clips of the training users, None without --val-fraction.
        test: The clips of the test users.
    """

    train: ClipIndex
    val: ClipIndex | None
    test: ClipIndex

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the whole tree."""
        return self.train.class_names


def open_split(config: ClipTrainConfig) -> Split:
    """Index the tree, look at every frame's header, divide by user, and say what was found.

    Raises:
        UserError: Something in the tree is broken or the users don't fit; the message names it.
    """
    index = ClipIndex.from_tree(config.data)
    check_split(index, config.train_users, config.test_users)
    index.verify(show="checking frames")
    for note in index.notes:
        print(f"note: {note}")
    train, val = index.select(config.train_users), None
    if config.val_fraction > 0:
        kept, held = hold_out(train, config.val_fraction, config.seed)
        train, val = train.subset(kept), train.subset(held)
    split = Split(train, val, index.select(config.test_users))
    held_out = f", {len(val)} validation" if val else ""
    print(f"{len(split.class_names)} classes, {len(train)} training{held_out}, {len(split.test)} test clips")
    return split


def rgb_sets(split: Split, config: ClipTrainConfig, preprocessing: Mapping[str, Any]) -> Sets:
    """Make the batches of the RGB stream: a clip an item."""
    sampler: EpochSampler[ClipKey] = EpochSampler(len(split.train), config.seed)
    learned = EpochLoader(_rgb_clips(split.train, preprocessing), sampler, config)
    return _clip_sets(split, config, preprocessing, learned)


def frame_sets(split: Split, config: ClipTrainConfig, preprocessing: Mapping[str, Any]) -> Sets:
    """Make the batches of the single-frame classifier: as many random frames a clip as the test sees."""
    clips = len(split.train)
    key = frame_keys(split.train)

    def frame_of_item(item: int, rng: np.random.Generator) -> FrameKey:
        return key(item % clips, rng)

    sampler = EpochSampler(clips * preprocessing["frames"], config.seed, frame_of_item)
    dataset = SingleFrames(split.train, Preprocessing.from_dict(preprocessing["pixels"]))
    return _clip_sets(split, config, preprocessing, EpochLoader(dataset, sampler, config))


def picture_sets(
    pictures: PictureIndex, config: TrainConfig, held_out: float, preprocessing: Mapping[str, Any]
) -> Sets:
    """Make the batches of a classifier of pictures; a share of every class is held out for the test."""
    pixels = Preprocessing.from_dict(preprocessing["pixels"])
    kept, held = stratified_split(pictures.labels, held_out, config.seed)
    train, test = pictures.subset(kept), pictures.subset(held)
    print(f"{len(train.class_names)} classes, {len(train)} training, {len(test)} test pictures")
    sampler = EpochSampler(len(train), config.seed, picture_key)
    learned = EpochLoader(Pictures(train, pixels), sampler, config)
    measured = evaluation_loader(Pictures(test, pixels), config.batch_size, config.workers)
    return Sets(TrainingSet(train.keys, learned), None, EvaluationSet("test", test.keys, measured))


def open_pictures(root: Path) -> PictureIndex:
    """List pictures in class folders and look at every header.

    Raises:
        UserError: No such folder, fewer than two classes, or a broken picture.
    """
    pictures = PictureIndex.from_folder(root)
    pictures.verify()
    return pictures


def evaluation_set(
    split: str, index: ClipIndex, preprocessing: Mapping[str, Any], batch_size: int, workers: int
) -> EvaluationSet:
    """Make the batches that measure a model on every clip of an index."""
    loader = evaluation_loader(_rgb_clips(index, preprocessing), batch_size, workers)
    return EvaluationSet(split, index.keys, loader)


def _clip_sets(
    split: Split, config: ClipTrainConfig, preprocessing: Mapping[str, Any], learned: "EpochLoader"
) -> Sets:
    def measured(name: str, index: ClipIndex) -> EvaluationSet:
        return evaluation_set(name, index, preprocessing, config.batch_size, config.workers)

    val = None if split.val is None else measured("val", split.val)
    return Sets(TrainingSet(split.train.keys, learned), val, measured("test", split.test))


def _rgb_clips(index: ClipIndex, preprocessing: Mapping[str, Any]) -> RgbClips:
    return RgbClips(index, preprocessing["frames"], Preprocessing.from_dict(preprocessing["pixels"]))


def rgb_preprocessing(frames: int, image_size: int) -> dict[str, Any]:
    """What a checkpoint says about the RGB stream's input, in plain values."""
    return {"input": "rgb", "frames": frames, "pixels": Preprocessing.rgb(image_size).to_dict()}


def action_relations(class_names: Sequence[str]) -> Relations:
    """What accuracy is reported for beside the action: its verb, its nouns, and its direction in time."""
    groups = {"verb": verb_ids(class_names), "noun": noun_ids(class_names)}
    return Relations(groups, reversed_actions(class_names))


class EpochLoader:
    """Training batches by epoch: call it with the epoch's number."""

    def __init__(self, dataset: Dataset[Any], sampler: EpochSampler[Any], config: TrainConfig) -> None:
        """Load `dataset` by the keys of `sampler`; the last batch may be smaller."""
        self.sampler = sampler
        self.loader = _loader(dataset, sampler, config.batch_size, config.workers)

    def __call__(self, epoch: int) -> Batches:
        """Choose the epoch and return its batches."""
        self.sampler.set_epoch(epoch)
        return self.loader


def evaluation_loader(dataset: Dataset[Any], batch_size: int, workers: int) -> Batches:
    """Every clip of a dataset once, as the test sees it."""
    return _loader(dataset, evaluation_keys(len(dataset)), batch_size, workers)  # type: ignore[arg-type]


def _loader(dataset: Dataset[Any], sampler: Any, batch_size: int, workers: int) -> "DataLoader[Any]":
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        # A generator of its own: a loader would otherwise draw from the one that dropout draws from.
        generator=torch.Generator(),
    )


def check_classes(known: Sequence[str], found: Sequence[str], *, where: str) -> None:
    """Refuse to join a model and data that know different classes.

    Raises:
        UserError: The lists differ; the message names the first differences.
    """
    if tuple(known) == tuple(found):
        return
    missing, extra = sorted(set(known) - set(found)), sorted(set(found) - set(known))
    raise UserError(
        f"{where}: the run knows {len(known)} classes, the data has {len(found)}; "
        f"only the run has {missing[:5]}, only the data has {extra[:5]}"
    )
