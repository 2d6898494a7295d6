"""Batches of what frozen layers make of clips, computed once for each clip and draw, and kept.

They are kept on two levels: in the memory of a GPU, if there is one (`training.cache.held`), and below it on
disk, with --cache, where other epochs, runs and stages find them; another thread writes them there.

No stage trains the layers up to layer3, and a clip is cropped and flipped in one of 40 ways; so their outputs
are shared by epochs, seeds, rows of a table, both stages and joint training. The trainings of stage 1 also
share the outputs of layer4 and of the attention. Kept as float32, they give the same training bit for bit.

Axes: B clips, T frames, S pixels a side of what the network sees.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.files import identify
from core.ranks import Batches
from core.task import Batch
from data.epochs import ClipKey
from data.images import scaled_size
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import NUM_DRAWS
from models.base import Prefix
from training.batches import KeyBatches, LoadClips, ResidentClips, load_clips
from training.cache.held import HeldMemory, HeldOutputs, numbers
from training.cache.store import CacheFolder, TensorStore
from training.step import Moment

_CLIPS_AT_ONCE = 8


class CachedInput:
    """An input whose frames are replaced by kept outputs of a network's prefixes.

    Attributes:
        names: The tensors of a batch that the network takes.
    """

    def __init__(
        self,
        inputs: ClipInput,
        prefixes: Sequence[Prefix],
        cache: CacheFolder | None,
        workers: int,
        training: ClipIndex,
        load: LoadClips = load_clips,
        memory: HeldMemory | None = None,
    ) -> None:
        """Open what keeps the outputs of the training clips, and say how much of the disk they may take.

        Args:
            inputs: What is read of a clip: frames, and parts that are read as they are.
            prefixes: Layers that follow each other from the frames on; the outputs of each are kept on disk,
                those of the last, which are learned from, in memory.
            cache: Where they are kept on disk, if anywhere.
            workers: Processes that load.
            training: The clips to learn from.
            load: Makes batches of what is read.
            memory: Where they are held in memory, if anywhere.
        """
        frames = inputs.part(Frames)
        assert frames is not None, "prefixes begin with frames"
        self.frames, self.others = frames, inputs.without(Frames)
        self.cache, self.memory = cache, memory
        self.workers, self.training, self.load = workers, training, load
        example = torch.zeros(1, frames.frames, 3, frames.pixels.image_size, frames.pixels.image_size)
        self.layers = list[FrozenLayers]()
        for prefix in prefixes:
            self.layers.append(FrozenLayers(prefix, example))
            example = self.layers[-1].first_output
        self.kept = self._open(training)
        self.names = (*self.kept.layers.outputs, *self.others.names)
        if cache is not None:
            estimate = ", ".join(self.kept.disk_estimate())
            cache.say(f"keeping what is made of the training clips in {cache.path}: at most {estimate}")

    def batches(self, index: ClipIndex, keys: KeyBatches) -> "KeptBatches":
        """Make batches of an index's clips; `keys` as in `KeptBatches`."""
        clips, others = self.kept if index is self.training else self._open(index), None
        if self.others.parts:
            others = self.load(self.others, self.workers, index, keys)
        return KeptBatches(clips, keys, others)

    def _open(self, index: ClipIndex) -> "KeptOutputs":
        clips: DecodedFrames | KeptOutputs = DecodedFrames(self.frames, index, self.workers, self.load)
        for layers in self.layers:
            memory = self.memory if layers is self.layers[-1] else None
            draws, what = (NUM_DRAWS, "training") if index is self.training else (1, "measured")
            clips = KeptOutputs(clips, layers, index, self.cache)
            if memory is not None:
                clips.hold(memory, len(index) * draws, f"{' and '.join(layers.outputs)} of the {what} clips")
        assert isinstance(clips, KeptOutputs), "there is a prefix"
        return clips


class FrozenLayers:
    """A prefix of a network where it computes.

    Attributes:
        device: Where.
        outputs: What they make of one clip, by name. Shapes: (1, T, ...).
        first_output: What the next prefix takes of that clip.
    """

    def __init__(self, prefix: Prefix, example: Tensor) -> None:
        """Run the layers on an example, a clip (1, T, ...)."""
        self.prefix = prefix
        self.device = next(prefix.modules[0].parameters()).device
        self.outputs = self(example)
        self.first_output = next(iter(self.outputs.values()))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Plain values that name the layers and their weights."""
        digest = hashlib.sha256()
        for module in self.prefix.modules:
            for name, value in module.state_dict().items():
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return {
            "device": self.device.type,
            "layers": self.prefix.name,
            "weights": digest.hexdigest(),
        }

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> dict[str, Tensor]:
        """Map clips (B, T, ...) to named outputs (B, T, ...) on the layers' device."""
        for module in self.prefix.modules:
            module.eval()
        return self.prefix.run(clips.to(self.device))


class DecodedFrames:
    """Frames from their images, or from where the input's reader keeps them."""

    def __init__(self, frames: Frames, index: ClipIndex, workers: int, load: LoadClips) -> None:
        """Read the frames of an index's clips in `workers` processes."""
        self.frames, self.index, self.workers, self.load = frames, index, workers, load
        # A GPU crops what it holds, and may round a grey level otherwise than a CPU (docs/performance.md).
        self.crops = load.resident.device.type if isinstance(load, ResidentClips) else "cpu"
        index.require(frames.kinds)

    @cached_property
    def identity(self) -> list[Any]:
        """Plain values that name the frames."""
        frames, clips = self.frames, self.index.clips
        files = identify(clip.frames.path(number) for clip in clips for number in frames.pick(clip))
        return [frames.frames, frames.pixels.to_dict(), self.index.keys, files, self.crops]

    def disk_estimate(self) -> list[str]:
        """Say how much kept frames take, if all have the size of the first one."""
        height, width = scaled_size(self.index.clips[0].frames.paths[0], self.frames.pixels.short_side)
        size = len(self.index) * self.frames.frames * 3 * height * width
        return [f"{size / 2**30:.1f} GiB for frames"]

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Yield the frames (T, 3, S, S) of each clip in the order of the keys."""
        if not keys:
            return
        workers = self.workers if len(keys) > _CLIPS_AT_ONCE else 0
        keys_at_once = KeyBatches(keys, 1 if workers else _CLIPS_AT_ONCE)
        for batch in self.load(ClipInput(self.frames), workers, self.index, keys_at_once):
            yield from batch["frames"]


class KeptOutputs:
    """Outputs of frozen layers for the clips of an index; what is missing is computed and kept."""

    def __init__(
        self,
        source: "DecodedFrames | KeptOutputs",
        layers: FrozenLayers,
        index: ClipIndex,
        cache: CacheFolder | None,
    ) -> None:
        """Open a store on disk for each output, named by the clips, their preprocessing and the layers.

        Args:
            source: Makes what the layers take.
            layers: The layers.
            index: The clips.
            cache: Where stores are kept; None keeps nothing on disk.
        """
        self.source = source
        self.layers = layers
        self.index = index
        self.cache = cache
        self.held: HeldOutputs | None = None
        self._damage_said = False
        self.stores: dict[str, TensorStore] = {}
        self.dtypes = dict.fromkeys(layers.outputs, torch.float32)
        if cache is not None:
            slots = len(index) * (NUM_DRAWS + 1)
            for name, output in layers.outputs.items():
                dtype = "float32" if name in layers.prefix.exact else cache.precision
                self.dtypes[name] = getattr(torch, dtype)
                shape = tuple(output.shape[1:])
                self.stores[name] = TensorStore(cache, [name, *self.identity], slots, shape, dtype)

    @property
    def identity(self) -> list[Any]:
        """Plain values that name the outputs."""
        return [self.layers.identity, self.source.identity]

    def hold(self, memory: HeldMemory, slots: int, what: str) -> None:
        """Hold the outputs in memory too, of at most so many clips and draws."""
        shapes = {name: tuple(output.shape[1:]) for name, output in self.layers.outputs.items()}
        self.held = memory.hold(shapes, self.dtypes, slots, what)

    def disk_estimate(self) -> list[str]:
        """Say how much of the disk each store on the way may take."""
        size = sum(store.bytes_at_most for store in self.stores.values()) / 2**30
        return [*self.source.disk_estimate(), f"{size:.1f} GiB for {' and '.join(self.stores)}"]

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Yield the first output of each clip, which the next layers take."""
        for outputs in self.outputs(list(KeyBatches(keys, _CLIPS_AT_ONCE))):
            yield from next(iter(outputs.values()))

    def outputs(self, batches: Sequence[Sequence[ClipKey]]) -> Iterator[dict[str, Tensor]]:
        """Yield the outputs (B, T, ...) by name, for each batch of keys, where the layers compute."""
        keys = [key for batch in batches for key in batch]
        kept = self._kept(_slots(keys))
        fresh = self.source.inputs([key for key, there in zip(keys, kept, strict=True) if not there])
        there = iter(kept)
        for batch in batches:
            yield self._batch(batch, list(islice(there, len(batch))), fresh)

    def _kept(self, slots: Sequence[int]) -> list[bool]:
        """Say for each slot whether it is held, or is on the disk."""
        held = [self._holds(slot) for slot in slots]
        if all(held) or not self.stores:
            return held
        on_disk = self._all_stores([store.present(slots) for store in self.stores.values()])
        return [one or other for one, other in zip(held, on_disk, strict=True)]

    def _holds(self, slot: int) -> bool:
        return self.held is not None and slot in self.held.rows

    def _batch(
        self, keys: Sequence[ClipKey], kept: Sequence[bool], fresh: Iterator[Tensor]
    ) -> dict[str, Tensor]:
        """Gather what is held, read what is on disk; make the rest from `fresh`, or again if damaged."""
        slots, parts = _slots(keys), list[_Part]()
        missing = [row for row, known in enumerate(kept) if not known]
        held = [row for row, known in enumerate(kept) if known and self._holds(slots[row])]
        on_disk = sorted({*range(len(keys))} - {*missing, *held})
        if self.held is not None and held:
            slots_held = [slots[row] for row in held]
            parts.append(_Part(held, {name: self.held.read(slots_held, name) for name in self.dtypes}))
        damaged = list[int]()
        if on_disk:
            found = self._read(on_disk, slots)
            parts.append(found)
            damaged = sorted({*on_disk} - {*found.rows})
        again = self.source.inputs([keys[row] for row in damaged])
        made = [self._make(rows, of) for rows, of in ((missing, fresh), (damaged, again)) if rows]
        batch = _joined([part for part in (*parts, *made) if part.rows])
        if self.held is not None:
            self.held.keep(slots, batch)
        for part in made:
            self._write_later([slots[row] for row in part.rows], part.values)
        return batch

    def _read(self, rows: list[int], slots: Sequence[int]) -> "_Part":
        """Read rows of a batch from the disk; those that are damaged are left out."""
        read = {name: store.read([slots[row] for row in rows]) for name, store in self.stores.items()}
        sound = self._all_stores([good for _, good in read.values()])
        values = {name: found for name, (found, _) in read.items()}
        if not all(sound):
            values = {name: found[sound] for name, found in values.items()}
            if self.cache is not None and not self._damage_said:
                self._damage_said = True
                self.cache.say(
                    f"note: --cache {self.cache.path} holds damaged entries; they are computed again"
                )
        on_device = {name: found.to(self.layers.device) for name, found in values.items()}
        return _Part([row for row, good in zip(rows, sound, strict=True) if good], on_device)

    def _make(self, rows: list[int], inputs: Iterator[Tensor]) -> "_Part":
        """Compute rows of a batch, rounded as they are kept."""
        made = self.layers(torch.stack([next(inputs) for _ in rows]))
        return _Part(rows, {n: values.to(self.dtypes[n]).to(values.dtype) for n, values in made.items()})

    def _write_later(self, slots: Sequence[int], made: dict[str, Tensor]) -> None:
        """Let another thread keep outputs on disk; what is held needs no other memory until its turn."""
        moment, held = Moment(self.layers.device), all(map(self._holds, slots))
        for name, store in self.stores.items():
            values = (
                partial(self.held.read, slots, name)
                if self.held and held
                else partial(torch.Tensor.detach, made[name])
            )
            store.cache.write_later(
                store, slots, partial(_to_cpu, values, moment), 0 if held else made[name].nbytes
            )

    @staticmethod
    def _all_stores(found: list[list[bool]]) -> list[bool]:
        return [all(of_stores) for of_stores in zip(*found, strict=True)]


class _Part(NamedTuple):
    """Rows of a batch, in rising order, and their tensors by name."""

    rows: list[int]
    values: dict[str, Tensor]


def _joined(parts: Sequence[_Part]) -> dict[str, Tensor]:
    """Join parts that make up a batch."""
    if len(parts) == 1:
        return parts[0].values
    rows = [row for part in parts for row in part.rows]
    places = sorted(range(len(rows)), key=rows.__getitem__)
    together = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
    return {name: values.index_select(0, numbers(places, values.device)) for name, values in together.items()}


def _to_cpu(values: Callable[[], Tensor], moment: Moment) -> Tensor:
    with moment.reached():
        return values().cpu()


class KeptBatches:
    """Batches of kept outputs, with what is read of the same clips under the same crop and flip."""

    def __init__(self, clips: KeptOutputs, keys: KeyBatches, others: Batches | None = None) -> None:
        """Join kept outputs with batches of flow or maps.

        Args:
            clips: The kept outputs.
            keys: Of type `ClipKey`. They may change between iterations, as a sampler's do, but not
                within one.
            others: Batches of what is read, by the same keys.
        """
        self.clips = clips
        self.keys = keys
        self.others = others

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches of the outputs, what was read, "label", and "clip", the position in the index."""
        keys, others = list(self.keys), self.others if self.others is not None else [Batch()] * len(self)
        for part, kept, read in zip(keys, self.clips.outputs(keys), others, strict=True):
            clips = torch.tensor([key.clip for key in part])
            assert "clip" not in read or clips.equal(read["clip"]), "both hold the same clips"
            labels = torch.tensor([self.clips.index.clips[key.clip].label for key in part])
            yield {**read, **kept, "label": labels, "clip": clips}


def _slots(keys: Iterable[ClipKey]) -> list[int]:
    return [key.clip * (NUM_DRAWS + 1) + (NUM_DRAWS if key.draw is None else key.draw.number) for key in keys]
