"""Batches of what frozen layers make of clips, computed once for each clip and draw and kept on disk.

No stage trains the layers up to layer3, and a clip is cropped and flipped in one of 40 ways; so their outputs
are shared by epochs, seeds, rows of a table, both stages and joint training. The trainings of stage 1 also
share the outputs of layer4 and of the attention. Kept as float32, they give the same training bit for bit.

Axes: B clips, T frames, S pixels a side of what the network sees.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

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
from training.batches import KeyBatches, LoadClips, load_clips
from training.cache.store import CacheFolder, TensorStore

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
        cache: CacheFolder,
        workers: int,
        training: ClipIndex,
        load: LoadClips = load_clips,
    ) -> None:
        """Open the stores of the training clips, and say how much of the disk they may take.

        Args:
            inputs: What is read of a clip: frames, and parts that are read as they are.
            prefixes: Layers that follow each other from the frames on; the outputs of each are kept.
            cache: Where they are kept.
            workers: Processes that load.
            training: The clips to learn from.
            load: Makes batches of what is read.
        """
        frames = inputs.part(Frames)
        assert frames is not None, "prefixes begin with frames"
        self.frames, self.others = frames, inputs.without(Frames)
        self.cache, self.workers, self.training, self.load = cache, workers, training, load
        example = torch.zeros(1, frames.frames, 3, frames.pixels.image_size, frames.pixels.image_size)
        self.layers = list[FrozenLayers]()
        for prefix in prefixes:
            self.layers.append(FrozenLayers(prefix, example))
            example = self.layers[-1].first_output
        self.kept = self._open(training)
        self.names = (*self.kept.stores, *self.others.names)
        estimate = ", ".join(self.kept.disk_estimate())
        cache.say(f"keeping what is made of the training clips in {cache.path}: at most {estimate}")

    def batches(self, index: ClipIndex, keys: KeyBatches) -> "KeptBatches":
        """Make batches of an index's clips; `keys` as in `KeptBatches`."""
        clips, others = self.kept if index is self.training else self._open(index), None
        if self.others.parts:
            others = self.load(self.others, self.workers, index, keys)
        return KeptBatches(clips, keys, others)

    def _open(self, index: ClipIndex) -> "KeptOutputs":
        first, *following = self.layers
        clips = KeptOutputs(
            DecodedFrames(self.frames, index, self.workers, self.load), first, index, self.cache
        )
        for layers in following:
            clips = KeptOutputs(clips, layers, index, self.cache)
        return clips


class FrozenLayers:
    """A prefix of a network where it computes.

    Attributes:
        identity: Plain values that name the layers and their weights.
        outputs: What they make of one clip, by name. Shapes: (1, T, ...).
        first_output: What the next prefix takes of that clip.
    """

    def __init__(self, prefix: Prefix, example: Tensor) -> None:
        """Run the layers on an example, a clip (1, T, ...)."""
        self.prefix = prefix
        self.device = next(prefix.modules[0].parameters()).device
        digest = hashlib.sha256()
        for name, value in (item for module in prefix.modules for item in module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        self.identity = {
            "torch": torch.__version__,
            "device": self.device.type,
            "layers": prefix.name,
            "weights": digest.hexdigest(),
        }
        self.outputs = self(example)
        self.first_output = next(iter(self.outputs.values()))

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> dict[str, Tensor]:
        """Map clips (B, T, ...) to named outputs (B, T, ...) on the CPU."""
        for module in self.prefix.modules:
            module.eval()
        return {name: output.cpu() for name, output in self.prefix.run(clips.to(self.device)).items()}


class DecodedFrames:
    """Frames from their images, or from where the input's reader keeps them."""

    def __init__(self, frames: Frames, index: ClipIndex, workers: int, load: LoadClips) -> None:
        """Read the frames of an index's clips in `workers` processes."""
        self.frames, self.index, self.workers, self.load = frames, index, workers, load
        index.require(frames.kinds)
        files = identify(clip.frames.path(number) for clip in index.clips for number in frames.pick(clip))
        self.identity: list[Any] = [frames.frames, frames.pixels.to_dict(), index.keys, files]

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
        for batch in self.load(ClipInput(self.frames), workers, self.index, KeyBatches(keys, 1)):
            yield batch["frames"][0]


class KeptOutputs:
    """Outputs of frozen layers for the clips of an index; what is missing is computed and kept."""

    def __init__(
        self,
        source: "DecodedFrames | KeptOutputs",
        layers: FrozenLayers,
        index: ClipIndex,
        cache: CacheFolder,
    ) -> None:
        """Open a store for each output, named by the clips, their preprocessing and the layers.

        Args:
            source: Makes what the layers take.
            layers: The layers.
            index: The clips.
            cache: Where stores are kept.
        """
        self.source = source
        self.layers = layers
        self.index = index
        self.cache = cache
        self.identity: list[Any] = [layers.identity, source.identity]
        self._damage_said = False
        slots = len(index) * (NUM_DRAWS + 1)
        self.stores = {
            name: TensorStore(
                cache,
                [name, *self.identity],
                slots,
                tuple(output.shape[1:]),
                "float32" if name in layers.prefix.exact else None,
            )
            for name, output in layers.outputs.items()
        }

    def disk_estimate(self) -> list[str]:
        """Say how much of the disk each store on the way may take."""
        size = sum(store.bytes_at_most for store in self.stores.values()) / 2**30
        return [*self.source.disk_estimate(), f"{size:.1f} GiB for {' and '.join(self.stores)}"]

    def inputs(self, keys: Sequence[ClipKey]) -> Iterator[Tensor]:
        """Yield the first output of each clip, which the next layers take."""
        for outputs in self.outputs(list(KeyBatches(keys, _CLIPS_AT_ONCE))):
            yield from next(iter(outputs.values()))

    def outputs(self, batches: Sequence[Sequence[ClipKey]]) -> Iterator[dict[str, Tensor]]:
        """Yield the outputs (B, T, ...) by name, for each batch of keys."""
        keys = [key for batch in batches for key in batch]
        kept = self._all_stores([store.present(_slots(keys)) for store in self.stores.values()])
        fresh = self.source.inputs([key for key, there in zip(keys, kept, strict=True) if not there])
        there = iter(kept)
        for batch in batches:
            yield self._batch(batch, list(islice(there, len(batch))), fresh)

    def _batch(
        self, keys: Sequence[ClipKey], kept: Sequence[bool], fresh: Iterator[Tensor]
    ) -> dict[str, Tensor]:
        """Read what was kept; make the rest from `fresh`, and damaged outputs from their source."""
        slots = _slots(keys)
        read = {name: store.read(slots) for name, store in self.stores.items()}
        sound = self._all_stores([good for _, good in read.values()])
        batch = {name: values for name, (values, _) in read.items()}
        missing = [row for row, there in enumerate(kept) if not there]
        damaged = [row for row, there in enumerate(kept) if there and not sound[row]]
        if damaged and not self._damage_said:
            self._damage_said = True
            self.cache.say(f"note: --cache {self.cache.path} holds damaged entries; they are computed again")
        again = self.source.inputs([keys[row] for row in damaged])
        for rows, inputs in ((missing, fresh), (damaged, again)):
            if not rows:
                continue
            made = self.layers(torch.stack([next(inputs) for _ in rows]))
            for name, store in self.stores.items():
                for row, value in zip(rows, made[name], strict=True):
                    store.write(slots[row], value)
                batch[name][rows] = store.rounded(made[name])
        return batch

    @staticmethod
    def _all_stores(found: list[list[bool]]) -> list[bool]:
        return [all(of_stores) for of_stores in zip(*found, strict=True)]


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
