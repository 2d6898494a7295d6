"""From a tree of clips to the batches of a training."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from core import keeper
from core.processes import become_worker
from core.ranks import ONE, Batches, Ranks
from core.seeding import choose_device
from core.task import Batch
from core.train_config import ClipTrainConfig
from data.actions import noun_ids, reversed_actions, verb_ids
from data.clips import Kind
from data.epochs import ClipKey, EpochSampler
from data.index import ClipIndex, Memory
from data.parts import ClipInput
from data.split import check_split, hold_out
from metrics.predictions import Relations
from training.cache import CacheFlags
from training.fit import EvaluationSet, Sets, TrainingSet
from training.parents import refuse_seen_users

if TYPE_CHECKING:
    from data.resident import Resident


@dataclass(frozen=True)
class LoaderSettings:
    """How items become batches.

    Attributes:
        batch_size: Items in a batch of all ranks together.
        workers: Processes that load; 0 loads in this one.
        seed: Decides order and augmentation.
    """

    batch_size: int
    workers: int
    seed: int


class Keys(Iterable[Any], Sized, Protocol):
    """Keys of a data set's items: a list, or a sampler whose epoch changes them between iterations."""


@dataclass(frozen=True)
class KeyBatches:
    """Keys in batches, in their order; the last batch may be smaller.

    Attributes:
        keys: Each key once.
        batch_size: Keys in a batch.
        join_last: The last batch, a single key, is joined to the one before.
    """

    keys: Keys
    batch_size: int
    join_last: bool = False

    @classmethod
    def of_epochs(cls, sampler: EpochSampler[Any], batch_size: int) -> "KeyBatches":
        """Divide what is learned from; in train mode batch norm can't take a single item, so none is alone.

        Args:
            sampler: This rank's part of every epoch.
            batch_size: Items in a batch of all ranks together.
        """
        ranks, alone = sampler.ranks, sampler.num_items > batch_size and sampler.num_items % batch_size == 1
        return cls(sampler, ranks.batch_size(batch_size), alone and ranks.first)

    def __len__(self) -> int:
        return -(-len(self.keys) // self.batch_size) - self.join_last

    def __iter__(self) -> Iterator[list[Any]]:
        keys, last = iter(self.keys), len(self) - 1
        for number in range(last + 1):
            yield list(keys if number == last else islice(keys, self.batch_size))


MakeBatches = Callable[[ClipIndex, KeyBatches], Batches]
"""Makes batches of an index's clips."""
LoadClips = Callable[[ClipInput, int, ClipIndex, KeyBatches], Batches]
"""Makes batches of what an input describes of an index's clips, in so many processes or threads."""


@dataclass(frozen=True)
class Split:
    """The clips of a run, checked and divided.

    Attributes:
        train: Learned from.
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
    memory: Memory | None = config.open_cache(lambda _: None) if isinstance(config, CacheFlags) else None
    if memory is None:
        memory = keeper.ours
    index.verify(kinds, show="checking images" if ranks.first else "", memory=memory)
    for note in index.notes:
        ranks.say(f"note: {note}")
    train, val = index.select(config.train_users), None
    if config.val_fraction > 0:
        kept, held = hold_out(train, config.val_fraction, config.seed)
        train, val = train.subset(kept), train.subset(held)
    split = Split(train, val, index.select(config.test_users))
    held_out = f", {len(val)} validation" if val else ""
    counts = f"{len(train)} training{held_out}, {len(split.test)} test clips"
    ranks.say(f"{len(split.class_names)} classes, {counts}")
    return split


def action_relations(class_names: Sequence[str]) -> Relations:
    """Relate action classes by verb, by noun and by reversal in time, each for an accuracy of its own."""
    groups = {"verb": verb_ids(class_names), "noun": noun_ids(class_names)}
    return Relations(groups, reversed_actions(class_names))


class Data(Protocol):
    """The items of a training, opened and checked."""

    @property
    def inputs(self) -> ClipInput:
        """What is read of an item."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""

    @property
    def relations(self) -> Relations:
        """How classes relate, for the report."""

    @property
    def motion_made(self) -> dict[str, Any]:
        """How motion in the data was made, as far as it is read and known."""

    @property
    def images(self) -> dict[str, str]:
        """Digests of the training and the test clips with the numbers of their frames; empty for pictures."""

    def sets(self, settings: LoaderSettings, ranks: Ranks, make: MakeBatches | None = None) -> Sets:
        """Make the batches; `make` takes the place of a DataLoader over clips."""


@dataclass(frozen=True)
class ClipData:
    """Clips, divided by user, and what is read of them.

    Attributes:
        split: The clips.
        inputs: What is read of each.
        load: Makes batches of them, from disk or from pixels that are held.
    """

    split: Split
    inputs: ClipInput
    load: LoadClips = field(default_factory=lambda: load_clips)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the whole tree."""
        return self.split.class_names

    @property
    def relations(self) -> Relations:
        """Verbs, nouns and reversals of the actions."""
        return action_relations(self.class_names)

    @property
    def motion_made(self) -> dict[str, Any]:
        """How motion in the tree was made."""
        from data.provenance import motion_made

        return motion_made(self.split.train.root, self.inputs.kinds)

    @property
    def images(self) -> dict[str, str]:
        """Digests of the training and the test clips with the numbers of their frames."""
        return {"train": self.split.train.digest, "test": self.split.test.digest}

    def sets(self, settings: LoaderSettings, ranks: Ranks = ONE, make: MakeBatches | None = None) -> Sets:
        """Make the batches; the test set is the validation set where both are measured in the same way."""
        split, inputs = self.split, self.inputs
        make = make or partial(self.load, inputs, settings.workers)
        items, key = inputs.training_items(split.train), inputs.training_key(split.train)
        sampler = EpochSampler(items, settings.seed, key, ranks=ranks)
        learned = make(split.train, KeyBatches.of_epochs(sampler, settings.batch_size))

        def measured(name: str, index: ClipIndex, keys: Sequence[ClipKey], protocol: str) -> EvaluationSet:
            batches = make(index, KeyBatches(ranks.part(keys), settings.batch_size))
            return EvaluationSet(name, index.keys, batches, protocol)

        test_keys = inputs.test_keys(split.test)
        test = validation = measured("test", split.test, test_keys, inputs.test_protocol())
        name, index = ("test", split.test) if split.val is None else ("val", split.val)
        keys = inputs.validation_keys(index)
        if split.val is not None or keys != test_keys:
            validation = measured(name, index, keys, inputs.validation_protocol())
        return Sets(
            TrainingSet(split.train.keys, by_epoch(sampler, learned), inputs.counted), validation, test
        )


def open_clips(config: ClipTrainConfig, inputs: ClipInput, ranks: Ranks = ONE) -> ClipData:
    """Open the tree of --data.

    Raises:
        UserError: As of `open_split` and `refuse_seen_users`.
    """
    split = open_split(config, inputs.kinds, ranks)
    refuse_seen_users(config)
    if config.resident == "off":
        return ClipData(split, inputs)
    from data.resident import Resident

    device = choose_device(config.device)
    return ClipData(split, inputs, ResidentClips(Resident(config.resident, device, ranks, config.epochs)))


def by_epoch(sampler: EpochSampler[Any], batches: Batches) -> Callable[[int], Batches]:
    """Turn batches over a sampler's keys into the batches of any epoch."""

    def epoch(number: int) -> Batches:
        sampler.set_epoch(number)
        return batches

    return epoch


def load_clips(inputs: ClipInput, workers: int, index: ClipIndex, keys: KeyBatches) -> Batches:
    """Load what `inputs` describes of an index's clips."""
    return load(inputs.dataset(index), keys, workers)


class ResidentClips:
    """Loads clips from pixels that are held, or as `load_clips` where there is no room for them."""

    def __init__(self, resident: "Resident") -> None:
        """Hold pixels in `resident`."""
        self.resident = resident

    def __call__(self, inputs: ClipInput, workers: int, index: ClipIndex, keys: KeyBatches) -> Batches:
        """Make batches of what `inputs` describes of an index's clips; nothing is read yet.

        Raises:
            UserError: A clip lacks images that are read.
        """
        index.require(inputs.kinds)
        self.resident.want(inputs, index, keys.keys if isinstance(keys.keys, Sequence) else None)
        return ResidentBatches(self.resident, inputs, workers, index, keys)


@dataclass
class ResidentBatches:
    """Batches of clips from pixels that are held; the first iteration decodes them, or starts to load."""

    resident: "Resident"
    inputs: ClipInput
    workers: int
    index: ClipIndex
    keys: KeyBatches

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Batch]:
        if self.resident.holds(self.inputs, self.index):
            return self.resident.batches(self.inputs, self.index, self.keys, self.workers)
        return iter(self._loader)

    @cached_property
    def _loader(self) -> Batches:
        return load_clips(self.inputs, self.workers, self.index, self.keys)


def evaluation_set(
    split: str, index: ClipIndex, inputs: ClipInput, batch_size: int, workers: int
) -> EvaluationSet:
    """Make the batches that the reported number is measured on: every clip of an index."""
    batches = load_clips(inputs, workers, index, KeyBatches(inputs.test_keys(index), batch_size))
    return EvaluationSet(split, index.keys, batches, inputs.test_protocol())


def load(dataset: Dataset[Any], keys: KeyBatches, workers: int) -> "DataLoader[Any]":
    """Load a data set's items by their keys, in order."""
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=partial(become_worker, os.getpid()),
        # A generator of its own: a loader would otherwise draw from the one that dropout draws from.
        generator=torch.Generator(),
    )


def _collate(items: list[Any]) -> Any:
    """Join items to a batch, in a loading process in shared memory.

    The thread that hands it over would put it there too, but an error there is lost and the loop waits on.
    """
    batch = default_collate(items)
    if get_worker_info() is not None:
        for tensor in batch.values():
            tensor.share_memory_()
    return batch
