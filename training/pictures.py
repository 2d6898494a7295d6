"""Pictures in class folders as batches: alone, or one picture beside each clip that is learned from."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from core.memory import Room
from core.ranks import ONE, Batches, Ranks
from core.task import Batch
from data.epochs import EpochSampler
from data.pictures import PictureIndex, PictureKey, Pictures, picture_key
from training.batches import ClipData, KeyBatches, LoaderSettings, MakeBatches, ResidentClips, by_epoch, load
from training.fit import Sets


def load_pictures(pictures: Pictures, keys: KeyBatches, workers: int, room: Room | None) -> Batches:
    """Make batches of pictures, held in `room` where they fit, else read as they are needed."""
    return load(pictures, keys, workers) if room is None else HeldBatches(pictures, keys, workers, room)


class HeldBatches:
    """Batches of pictures that are held, or read as they are needed where there is no room for them."""

    def __init__(self, pictures: Pictures, keys: KeyBatches, workers: int, room: Room) -> None:
        """Read nothing yet; the first iteration does."""
        from data.held_pictures import HeldPictures

        self.held, self.keys, self.workers = HeldPictures(pictures, room), keys, workers

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Batch]:
        if self.held.holds():
            return self.held.batches(self.keys, self.workers)
        return iter(self._loader)

    @cached_property
    def _loader(self) -> Batches:
        return load(self.held.pictures, self.keys, self.workers)


@dataclass(frozen=True)
class ClipsWithPictures(ClipData):
    """Clips, each of which comes with a random picture when it is learned from; none is measured on.

    Attributes:
        pictures: What makes items of the pictures.
        room: Where the pictures may be held; None reads them as they are needed.
    """

    pictures: Pictures = field(kw_only=True)
    room: Room | None = field(kw_only=True)

    @classmethod
    def of(cls, clips: ClipData, index: PictureIndex, epochs: int) -> "ClipsWithPictures":
        """Put checked pictures beside clips; they are held where clips are, if the epochs read most of them.

        Raises:
            UserError: A picture is empty, cut off or unreadable; the message names the first.
        """
        index.verify()
        read = epochs * clips.inputs.training_items(clips.split.train)
        held = clips.load.resident.room if isinstance(clips.load, ResidentClips) else None
        room = held if read >= len(index) else None
        pictures = Pictures(index, clips.inputs.sizes)
        return cls(clips.split, clips.inputs, clips.load, pictures=pictures, room=room)

    def sets(self, settings: LoaderSettings, ranks: Ranks = ONE, make: MakeBatches | None = None) -> Sets:
        """Make the batches; those that are learned from have "pictures" (B, 1, 3, S, S) and "picture_label".

        Which picture an item comes with, and its crop, depend on (seed, epoch, item) alone.
        """
        sets = super().sets(settings, ranks, make)

        def key(item: int, rng: np.random.Generator) -> PictureKey:
            [own] = rng.spawn(1)  # apart from the numbers that crop the clip
            return picture_key(int(own.integers(len(self.pictures))), own)

        items = self.inputs.training_items(self.split.train)
        sampler = EpochSampler(items, settings.seed, key, ranks=ranks)
        keys = KeyBatches.of_epochs(sampler, settings.batch_size)
        pictures = by_epoch(sampler, load_pictures(self.pictures, keys, settings.workers, self.room))
        index, clips = self.pictures.index, sets.train.batches
        ranks.say(f"{len(index)} pictures of {len(index.class_names)} classes beside the training clips")
        train = replace(
            sets.train, batches=lambda epoch: Joined(clips(epoch), pictures(epoch)), beside=index.keys
        )
        return replace(sets, train=train)


@dataclass(frozen=True)
class Joined:
    """Batches of clips, each with a batch of as many pictures."""

    clips: Batches
    pictures: Batches

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Batch]:
        for clips, pictures in zip(self.clips, self.pictures, strict=True):
            yield {**clips, "pictures": pictures["frames"], "picture_label": pictures["label"]}
