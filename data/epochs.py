"""Keys: what an epoch reads, in which order and with which augmentation, by seed, epoch and item alone.

Data sets hold no random state: a key says everything. So workers, restarts and caches can't change what a run
sees.
"""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from core.ranks import ONE, Ranks
from data.transforms import Draw

Item = dict[str, Tensor | int]
Picks = tuple[int, ...]


class ClipKey(NamedTuple):
    """What a data set is asked for.

    Attributes:
        clip: Position in the index.
        draw: The crop and flip; None is the centre crop of the test.
        picks: What each part reads, by its name: frame numbers, or the first number of each flow stack.
    """

    clip: int
    draw: Draw | None
    picks: dict[str, Picks]


MakeKey = Callable[[int, np.random.Generator], ClipKey]
Key = TypeVar("Key")

# Set apart the random numbers of an epoch's order from those of its items.
_ITEMS, _ORDER = 0, 1


def item_rng(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Make the random numbers of one item in one epoch, whatever the number of other items."""
    return np.random.default_rng((seed, epoch, _ITEMS, item))


def epoch_order(seed: int, epoch: int, num_items: int) -> list[int]:
    """Shuffle the items of an epoch."""
    order: list[int] = np.random.default_rng((seed, epoch, _ORDER)).permutation(num_items).tolist()
    return order


def draws_for_epoch(seed: int, epoch: int, num_clips: int) -> list[Draw]:
    """List the draw of every clip in one epoch; that of clip i depends on (seed, epoch, i) alone."""
    return [Draw.random(item_rng(seed, epoch, clip)) for clip in range(num_clips)]


class EpochSampler(Sampler[Key], Generic[Key]):
    """Training keys of one epoch after the other, in a shuffled order that depends on (seed, epoch) alone.

    Each of several ranks gets its part of that order.
    """

    def __init__(
        self,
        num_items: int,
        seed: int,
        make_key: Callable[[int, np.random.Generator], Key],
        *,
        shuffle: bool = True,
        ranks: Ranks = ONE,
    ) -> None:
        """Start at epoch 0.

        Args:
            num_items: Number of items in an epoch.
            seed: The run's seed.
            make_key: Turns an item and its random numbers into the data set's key.
            shuffle: False keeps the order of the data set.
            ranks: The processes of the training; this one gets its part of every epoch.
        """
        self.num_items = num_items
        self.seed = seed
        self.make_key = make_key
        self.shuffle = shuffle
        self.ranks = ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.ranks.part(range(self.num_items)))

    def __iter__(self) -> Iterator[Key]:
        items = range(self.num_items)
        order = epoch_order(self.seed, self.epoch, self.num_items) if self.shuffle else items
        for item in self.ranks.part(order):
            yield self.make_key(item, item_rng(self.seed, self.epoch, item))


def evaluation_keys(num_items: int) -> list[tuple[int, None]]:
    """List every item once, without augmentation; a DataLoader takes the list as its sampler."""
    return [(item, None) for item in range(num_items)]
