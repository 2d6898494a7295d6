"""From a tree and a run's settings to the batches that the training and evaluation scripts need."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from core.processes import become_worker
from core.ranks import ONE, Ranks
from core.train_config import TrainConfig
from data.actions import noun_ids, reversed_actions, verb_ids
from data.clips import Kind
from data.epochs import EpochSampler, evaluation_keys
from data.index import ClipIndex
from data.parts import ClipInput
from data.pictures import PictureIndex, Pictures, picture_key
from data.split import check_split, hold_out, stratified_split
from data.transforms import Preprocessing
from metrics.predictions import Relations
from training.cache.store import CacheFlags
from training.fit import Batches, EvaluationSet, TrainingSet
from training.run import Sets


class ClipTrainConfig(TrainConfig):
    """Flags of every script that trains on clips."""

    data: Path
    """Tree of clips."""
    train_users: tuple[str, ...] = Field(("S1", "S3", "S4"), min_length=1)
    """Users to learn from."""
    test_users: tuple[str, ...] = Field(("S2",), min_length=1)
    """Users to measure on, never learned from."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return ("frames",)


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


def open_split(config: ClipTrainConfig, kinds: Sequence[Kind], ranks: Ranks = ONE) -> Split:
    """Index the tree, look at every image's header, divide by user, and say what was found.

    Args:
        config: Tree and users.
        kinds: The images that training will read.
        ranks: The processes of the training.

    Raises:
        UserError: Something in the tree is broken or the users don't fit; the message names it.
    """
    index = ClipIndex.from_tree(config.data)
    check_split(index, config.train_users, config.test_users)
    # Trouble with the cache is reported when the training opens it.
    memory = config.open_cache(lambda _: None) if isinstance(config, CacheFlags) else None
    index.verify(kinds, show="checking images" if ranks.first else "", memory=memory)
    for note in index.notes:
        ranks.say(f"note: {note}")
    train, val = index.select(config.train_users), None
    if config.val_fraction > 0:
        kept, held = hold_out(train, config.val_fraction, config.seed)
        train, val = train.subset(kept), train.subset(held)
    split = Split(train, val, index.select(config.test_users))
    held_out = f", {len(val)} validation" if val else ""
    ranks.say(
        f"{len(split.class_names)} classes, {len(train)} training{held_out}, {len(split.test)} test clips"
    )
    return split


def clip_sets(split: Split, config: ClipTrainConfig, inputs: ClipInput, ranks: Ranks = ONE) -> Sets:
    """Make the batches of a stream, or of both."""
    items, key = inputs.training_items(split.train), inputs.training_key(split.train)
    sampler = EpochSampler(items, config.seed, key, ranks=ranks)
    learned = EpochLoader(inputs.dataset(split.train), sampler, config, ranks)
    return _measured_sets(split, config, inputs, learned, ranks)


def picture_sets(
    pictures: PictureIndex, config: TrainConfig, held_out: float, pixels: Preprocessing, ranks: Ranks
) -> Sets:
    """Make the batches of a classifier of pictures; a share of every class is held out for the test."""
    kept, held = stratified_split(pictures.labels, held_out, config.seed)
    train, test = pictures.subset(kept), pictures.subset(held)
    ranks.say(f"{len(train.class_names)} classes, {len(train)} training, {len(test)} test pictures")
    sampler = EpochSampler(len(train), config.seed, picture_key, ranks=ranks)
    learned = EpochLoader(Pictures(train, pixels), sampler, config, ranks)
    keys = ranks.part(evaluation_keys(len(test)))
    batches = evaluation_loader(Pictures(test, pixels), keys, config.batch_size, config.workers)
    measured = EvaluationSet("test", test.keys, batches, "centre crop")
    return Sets(TrainingSet(train.keys, learned), measured, measured)


def open_pictures(root: Path) -> PictureIndex:
    """List pictures in class folders and look at every header.

    Raises:
        UserError: No such folder, fewer than two classes, or a broken picture.
    """
    pictures = PictureIndex.from_folder(root)
    pictures.verify()
    return pictures


def evaluation_set(
    split: str, index: ClipIndex, inputs: ClipInput, batch_size: int, workers: int, ranks: Ranks = ONE
) -> EvaluationSet:
    """Make the batches that the reported number is measured on: every clip of an index."""
    keys = ranks.part(inputs.test_keys(index))
    loader = evaluation_loader(inputs.dataset(index), keys, batch_size, workers)
    return EvaluationSet(split, index.keys, loader, inputs.test_protocol())


def _measured_sets(
    split: Split, config: ClipTrainConfig, inputs: ClipInput, learned: "EpochLoader", ranks: Ranks
) -> Sets:
    test = evaluation_set("test", split.test, inputs, config.batch_size, config.workers, ranks)
    name, index = ("test", split.test) if split.val is None else ("val", split.val)
    keys, watched = inputs.validation_keys(index), test
    if index is not split.test or keys != inputs.test_keys(index):  # else one loader does for both
        mine = ranks.part(keys)
        loader = evaluation_loader(inputs.dataset(index), mine, config.batch_size, config.workers)
        watched = EvaluationSet(name, index.keys, loader, inputs.validation_protocol())
    return Sets(TrainingSet(split.train.keys, learned), watched, test)


def action_relations(class_names: Sequence[str]) -> Relations:
    """What accuracy is reported for beside the action: its verb, its nouns, and its direction in time."""
    groups = {"verb": verb_ids(class_names), "noun": noun_ids(class_names)}
    return Relations(groups, reversed_actions(class_names))


class EpochLoader:
    """Training batches by epoch: call it with the epoch's number."""

    def __init__(
        self, dataset: Dataset[Any], sampler: EpochSampler[Any], config: TrainConfig, ranks: Ranks
    ) -> None:
        """Load `dataset` by the keys of `sampler`; the last batch may be smaller."""
        self.sampler = sampler
        self.loader = _loader(dataset, sampler, ranks.batch_size(config.batch_size), config.workers)

    def __call__(self, epoch: int) -> Batches:
        """Choose the epoch and return its batches."""
        self.sampler.set_epoch(epoch)
        return self.loader


def evaluation_loader(dataset: Dataset[Any], keys: Any, batch_size: int, workers: int) -> Batches:
    """Give a data set's items by their keys, in order."""
    return _loader(dataset, keys, batch_size, workers)


def _loader(dataset: Dataset[Any], sampler: Any, batch_size: int, workers: int) -> "DataLoader[Any]":
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=partial(become_worker, os.getpid()),
        # A generator of its own: a loader would otherwise draw from the one that dropout draws from.
        generator=torch.Generator(),
    )
