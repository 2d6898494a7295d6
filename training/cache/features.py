"""Clips as the outputs of frozen layers, computed once for each clip and draw.

The layers up to layer3 are trained in no stage, and a clip is cropped and flipped in one of 40 ways; so what
they give is kept and shared by epochs, seeds, rows of a table and both stages. The trainings of stage 1 also
share what layer4 and the attention make of it. Kept as float32, they give the same training bit for bit.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from core.processes import become_worker
from core.ranks import ONE, Ranks
from core.task import Batch
from data.epochs import ClipKey, EpochSampler
from data.faults import read_size
from data.index import ClipIndex
from data.parts import ClipDataset, ClipInput, Frames
from data.transforms import NUM_DRAWS
from models.base import Prefix
from training.batches import ClipTrainConfig, Split
from training.cache.store import CacheFolder, TensorStore
from training.fit import EvaluationSet, TrainingSet
from training.run import Sets

_CLIPS_AT_ONCE = 8


class ClipSource(Protocol):
    """Something that gives a clip's frames, or what was made of them, by key.

    Attributes:
        clips: The clips.
        identity: Plain values that name everything the tensors are made from.
        probe: One frame of one clip, (1, 1, ...), of the right shape.
    """

    clips: ClipDataset
    identity: list[Any]
    probe: Tensor

    def room(self) -> str:
        """Say how much of the disk what it keeps may take."""

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Give what the next layers take, (T, ...), in the order of the keys."""


class DecodedClips:
    """Clips as frames from their images."""

    def __init__(self, clips: ClipDataset, workers: int) -> None:
        """Decode `clips` in so many processes."""
        self.clips = clips
        self.workers = workers
        self.identity = _fingerprint(clips)
        side = clips.inputs.sizes.image_size
        self.probe = torch.zeros(1, 1, 3, side, side)

    def room(self) -> str:
        """Say how much of the disk kept frames take, if all are of the first one's size."""
        clips = self.clips
        width, height = read_size(clips.index.clips[0].frames.paths[0])
        short = clips.inputs.sizes.short_side
        frame = 3 * short * short * max(width, height) // min(width, height)
        return f"{len(clips) * clips.inputs.num_frames * frame / 2**30:.1f} GiB for frames"

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Give each clip's frames (T, 3, S, S) in the order of the keys."""
        if not keys:
            return
        loader = DataLoader(
            self.clips,
            batch_size=None,
            sampler=list(keys),
            num_workers=self.workers if len(keys) > _CLIPS_AT_ONCE else 0,
            worker_init_fn=partial(become_worker, os.getpid()),
            generator=torch.Generator(),
        )
        for item in loader:
            yield item["frames"]


class CachedClips:
    """Clips as outputs of frozen layers; what is missing is computed and kept."""

    def __init__(self, source: ClipSource, frozen: Prefix, cache: CacheFolder) -> None:
        """Open the stores, one for each output, that fit the clips, their preprocessing and the layers.

        Args:
            source: What the layers are given.
            frozen: The layers.
            cache: Where stores are kept.
        """
        self.source = source
        self.clips = source.clips
        self.frozen = frozen
        self.device = next(frozen.modules[0].parameters()).device
        self.cache = cache
        self._damage_said = False
        layers = {"torch": torch.__version__, "device": self.device.type, "layers": frozen.name}
        self.identity = [layers | {"weights": weights_hash(frozen.modules)}, source.identity]
        made = self._run(source.probe)
        self.probe = next(iter(made.values()))
        slots = len(self.clips) * (NUM_DRAWS + 1)
        self.stores = {
            name: TensorStore(
                cache,
                [name, *self.identity],
                slots,
                (self.clips.inputs.num_frames, *output.shape[2:]),
                "float32" if name in frozen.exact else cache.precision,
            )
            for name, output in made.items()
        }

    def room(self) -> str:
        """Say how much of the disk these clips may take."""
        size = sum(store.bytes_at_most for store in self.stores.values()) / 2**30
        return f"{size:.1f} GiB for {' and '.join(self.names)}"

    @property
    def names(self) -> tuple[str, ...]:
        """What the outputs are called."""
        return tuple(self.stores)

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Give what the layers after these take: the first output, (T, ...)."""
        for outputs in self.outputs(keys, _CLIPS_AT_ONCE):
            yield from next(iter(outputs.values()))

    def outputs(self, keys: Sequence[ClipKey], batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Give the outputs (B, T, ...) by name, in batches in the order of the keys."""
        there = self._present([_slot(key) for key in keys])
        fresh = self.source.inputs([key for key, kept in zip(keys, there, strict=True) if not kept])
        for start in range(0, len(keys), batch_size):
            part = slice(start, start + batch_size)
            yield self._batch(keys[part], there[part], fresh)

    def _present(self, slots: list[int]) -> list[bool]:
        return [all(kept) for kept in zip(*(s.present(slots) for s in self.stores.values()), strict=True)]

    def _batch(
        self, keys: Sequence[ClipKey], there: Sequence[bool], fresh: Iterator[Tensor]
    ) -> dict[str, Tensor]:
        """Read what is there and make the rest, from `fresh` and, where an entry is damaged, once more."""
        old = [row for row, kept in enumerate(there) if kept]
        new = [row for row, kept in enumerate(there) if not kept]
        read, good = self._read([_slot(keys[row]) for row in old])
        bad = [row for row, sound in zip(old, good, strict=True) if not sound]
        parts = [(old, read)]
        for rows, inputs in ((new, fresh), (bad, self.source.inputs([keys[row] for row in bad]))):
            if rows:
                parts.append((rows, self._make([keys[row] for row in rows], inputs)))
        batch = {name: torch.empty(len(keys), *store.shape) for name, store in self.stores.items()}
        for rows, outputs in parts:
            for name, values in outputs.items():
                batch[name][rows] = values
        return batch

    def _read(self, slots: list[int]) -> tuple[dict[str, Tensor], list[bool]]:
        found = {name: store.read(slots) for name, store in self.stores.items()}
        good = [all(sound) for sound in zip(*(sound for _, sound in found.values()), strict=True)]
        if not all(good) and not self._damage_said:
            self._damage_said = True
            self.cache.say(f"note: --cache {self.cache.path} holds damaged entries; they are computed again")
        return {name: values for name, (values, _) in found.items()}, good

    def _make(self, keys: Sequence[ClipKey], inputs: Iterator[Tensor]) -> dict[str, Tensor]:
        """Compute the outputs of as many clips as there are keys, and keep them."""
        outputs = self._run(torch.stack([next(inputs) for _ in keys]))
        made = {}
        for name, store in self.stores.items():
            for key, value in zip(keys, outputs[name], strict=True):
                store.write(_slot(key), value)
            made[name] = store.rounded(outputs[name])
        return made

    @torch.no_grad()
    def _run(self, inputs: Tensor) -> dict[str, Tensor]:
        for module in self.frozen.modules:
            module.eval()
        return {name: output.cpu() for name, output in self.frozen.run(inputs.to(self.device)).items()}


class CachedBatches:
    """Batches of cached clips whose keys may change between iterations, as a sampler's do."""

    def __init__(self, clips: CachedClips, keys: Any, batch_size: int) -> None:
        """Iterate over `keys`, a sized iterable of clip keys, in batches; the last may be smaller."""
        self.clips = clips
        self.keys = keys
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Count the batches."""
        return -(-len(self.keys) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches."""
        keys = list(self.keys)
        clips = self.clips.clips.index.clips
        for start, outputs in enumerate(self.clips.outputs(keys, self.batch_size)):
            numbers = [key.clip for key in keys[start * self.batch_size :][: self.batch_size]]
            labels = torch.tensor([clips[number].label for number in numbers])
            yield {**outputs, "label": labels, "clip": torch.tensor(numbers)}


def cached_rgb_sets(
    split: Split,
    config: ClipTrainConfig,
    inputs: ClipInput,
    frozen: Sequence[Prefix],
    cache: CacheFolder,
    ranks: Ranks = ONE,
) -> tuple[Sets, tuple[str, ...]]:
    """Make the batches of the RGB stream from kept outputs of frozen layers.

    Args:
        split: The clips.
        config: Batch size, seed and workers.
        inputs: How frames are made.
        frozen: Layers that follow each other from the frames on; the outputs of each are kept.
        cache: Where.
        ranks: The processes of the training.

    Returns:
        The batches, and the names of the tensors in them that the network takes.
    """
    opened = clip_opener(inputs, frozen, cache, config.workers)

    def measured(name: str, index: ClipIndex) -> EvaluationSet:
        keys = ranks.part(inputs.test_keys(index))
        batches = CachedBatches(opened(index), keys, config.batch_size)
        return EvaluationSet(name, index.keys, batches, inputs.test_protocol())

    sampler = EpochSampler(len(split.train), config.seed, inputs.training_key(split.train), ranks=ranks)
    train = CachedBatches(opened(split.train), sampler, ranks.batch_size(config.batch_size))

    def epoch(number: int) -> CachedBatches:
        sampler.set_epoch(number)
        return train

    print_room(train.clips)
    test = measured("test", split.test)
    watched = test if split.val is None else measured("val", split.val)
    return Sets(TrainingSet(split.train.keys, epoch), watched, test), train.clips.names


def clip_opener(
    inputs: ClipInput, frozen: Sequence[Prefix], cache: CacheFolder, workers: int
) -> Callable[[ClipIndex], CachedClips]:
    """Give what opens the kept outputs of layers that follow each other, for the clips of any index."""
    first, *others = frozen

    def opened(index: ClipIndex) -> CachedClips:
        kept = CachedClips(DecodedClips(inputs.dataset(index), workers), first, cache)
        for layers in others:
            kept = CachedClips(kept, layers, cache)
        return kept

    return opened


def print_room(clips: CachedClips) -> None:
    """Say how much of the disk a run's training clips may take, in every store on the way."""
    rooms, source = list[str](), clips.source
    while isinstance(source, CachedClips):
        rooms, source = [source.room(), *rooms], source.source
    rooms = [source.room(), *rooms, clips.room()]
    clips.cache.say(
        f"keeping what is made of the training clips in {clips.cache.path}: at most {', '.join(rooms)}"
    )


def weights_hash(modules: Iterable[nn.Module]) -> str:
    """Name the weights and statistics of modules by their content."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _slot(key: ClipKey) -> int:
    return key.clip * (NUM_DRAWS + 1) + (NUM_DRAWS if key.draw is None else key.draw.number)


def _fingerprint(clips: ClipDataset) -> list[Any]:
    """Everything the pixels depend on; files count by name, size and time of change."""
    frames, files = clips.inputs.part(Frames), []
    assert frames is not None, "what is kept is made of frames"
    for clip in clips.index.clips:
        for number in dict.fromkeys(frames.pick(clip)):
            path = clip.frames.path(number)
            status = path.stat()
            files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    return [frames.frames, frames.pixels.to_dict(), [clip.key for clip in clips.index.clips], files]
