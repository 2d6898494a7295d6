"""What an epoch reads, in which order and with which augmentation: pure functions of seed, epoch and item.

Data sets hold no random state; the key they are asked for says everything. So workers, restarts and caches
can't change what a run sees.
"""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

import numpy as np
from torch.utils.data import Sampler

from core.ranks import world
from data.index import ClipIndex
from data.sampling import flow_centre_start, flow_random_start, flow_stack_starts
from data.transforms import Draw

Key = TypeVar("Key")
ClipKey = tuple[int, Draw | None]
FrameKey = tuple[int, Draw | None, int]
FlowKey = tuple[int, Draw | None, tuple[int, ...]]

# Set apart the random numbers of an epoch's order from those of its items.
_ITEMS, _ORDER = 0, 1


def item_rng(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Give the random numbers of one item in one epoch; how many other items there are does not matter."""
    return np.random.default_rng((seed, epoch, _ITEMS, item))


def epoch_order(seed: int, epoch: int, num_items: int) -> list[int]:
    """Shuffle the items of an epoch."""
    order: list[int] = np.random.default_rng((seed, epoch, _ORDER)).permutation(num_items).tolist()
    return order


def draws_for_epoch(seed: int, epoch: int, num_clips: int) -> list[Draw]:
    """Give the draw of every clip in one epoch; that of clip i depends on (seed, epoch, i) alone."""
    return [Draw.random(item_rng(seed, epoch, clip)) for clip in range(num_clips)]


def clip_key(clip: int, rng: np.random.Generator) -> ClipKey:
    """Make the training key of a clip."""
    return clip, Draw.random(rng)


def frame_keys(index: ClipIndex) -> Callable[[int, np.random.Generator], FrameKey]:
    """Make training keys of single frames: a draw, then any frame of the clip."""
    lengths = [clip.num_frames for clip in index.clips]

    def key(clip: int, rng: np.random.Generator) -> FrameKey:
        return clip, Draw.random(rng), int(rng.integers(1, lengths[clip], endpoint=True))

    return key


def flow_keys(index: ClipIndex, stack: int) -> Callable[[int, np.random.Generator], FlowKey]:
    """Make training keys of a flow stack: a draw (the same as for the clip's frames), then a start."""
    lengths = [clip.num_flow for clip in index.clips]

    def key(clip: int, rng: np.random.Generator) -> FlowKey:
        return clip, Draw.random(rng), (flow_random_start(rng, lengths[clip], stack),)

    return key


class EpochSampler(Sampler[Key], Generic[Key]):
    """Training keys of one epoch after the other, in a shuffled order that depends on (seed, epoch) alone.

    Of several processes each is given its part of that order.
    """

    @overload
    def __init__(
        self: "EpochSampler[ClipKey]", num_items: int, seed: int, *, shuffle: bool = True
    ) -> None: ...

    @overload
    def __init__(
        self,
        num_items: int,
        seed: int,
        make_key: Callable[[int, np.random.Generator], Key],
        *,
        shuffle: bool = True,
    ) -> None: ...

    def __init__(
        self,
        num_items: int,
        seed: int,
        make_key: Callable[[int, np.random.Generator], Any] = clip_key,
        *,
        shuffle: bool = True,
    ) -> None:
        """Start at epoch 0.

        Args:
            num_items: Items of the data set.
            seed: The run's seed.
            make_key: Turns an item and its random numbers into the data set's key.
            shuffle: False keeps the order of the data set.
        """
        self.num_items = num_items
        self.seed = seed
        self.make_key = make_key
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the items of an epoch."""
        return len(world().part(range(self.num_items)))

    def __iter__(self) -> Iterator[Key]:
        """Give the keys of the epoch."""
        items = range(self.num_items)
        order = epoch_order(self.seed, self.epoch, self.num_items) if self.shuffle else items
        for item in world().part(order):
            yield self.make_key(item, item_rng(self.seed, self.epoch, item))


def evaluation_keys(num_items: int) -> list[tuple[int, None]]:
    """Give every item once, without augmentation; a DataLoader takes the list as its sampler."""
    return [(item, None) for item in range(num_items)]


def flow_evaluation_keys(index: ClipIndex, stack: int, num_stacks: int | None = None) -> list[FlowKey]:
    """Give every clip once with the flow stacks of a measurement, without augmentation.

    Args:
        index: The clips; all have flow.
        stack: Consecutive flow images in a stack.
        num_stacks: Stacks a clip of the flow stream's test; None gives the one centre stack of validation.
    """
    keys: list[FlowKey] = []
    for number, clip in enumerate(index.clips):
        if num_stacks is None:
            starts = [flow_centre_start(clip.num_flow, stack)]
        else:
            starts = flow_stack_starts(clip.num_flow, stack, num_stacks).tolist()
        keys.append((number, None, tuple(starts)))
    return keys
