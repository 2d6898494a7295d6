"""Clips as the outputs of frozen layers, computed once for each clip and draw.

The layers up to layer3 are trained in no stage, and a clip is cropped and flipped in one of 40 ways; so what
they give is kept and shared by epochs, seeds, rows of a table and both stages. Exact: stored as float32.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.datasets import RgbClips
from data.epochs import ClipKey, EpochSampler, evaluation_keys
from data.index import ClipIndex
from data.inputs import RgbInput
from data.loaders import ClipTrainConfig, Split
from data.sampling import rgb_frame_numbers
from data.transforms import NUM_DRAWS
from engine.fit import EvaluationSet, TrainingSet
from engine.task import Batch
from engine.tensor_store import TensorStore
from engine.training import Sets

Frozen = Callable[[Tensor], Tensor]


class FrozenLayers(Protocol):
    """A backbone with layers that are never trained."""

    def frozen_modules(self) -> Iterable[nn.Module]:
        """The modules that `trunk` runs."""

    def trunk(self, frames: Tensor) -> Tensor:
        """Map frames (N, 3, S, S) to the last frozen layer's output (N, C, h, w)."""

    def eval(self) -> Any:
        """Keep batch norm's statistics."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Give the weights."""


class CachedClips:
    """Clips by key, as frozen outputs (T, C, h, w); what is missing is computed and kept."""

    def __init__(
        self, clips: RgbClips, frozen: Frozen, identity: Mapping[str, Any], folder: Path, workers: int
    ) -> None:
        """Open the store that fits the clips, their preprocessing and the frozen layers.

        Args:
            clips: The clips as frames.
            frozen: Maps frames (N, 3, S, S) to outputs (N, C, h, w), without gradients.
            identity: Names the frozen layers: their weights' hash and whatever else decides their output.
            folder: Where stores are kept.
            workers: Processes that decode what is missing.
        """
        self.clips = clips
        self.frozen = frozen
        self.workers = workers
        side = clips.preprocessing.image_size
        probe = frozen(torch.zeros(1, 3, side, side))
        shape = (clips.num_frames, *probe.shape[1:])
        content = {"layers": dict(identity), "clips": _fingerprint(clips)}
        self.store = TensorStore.open(folder, content, len(clips) * (NUM_DRAWS + 1), shape)
        self.folder = folder

    def room(self) -> str:
        """Say how much of the disk these clips may take."""
        size = self.store.bytes_at_most / 2**30
        return f"keeping frozen outputs in {self.folder}: at most {size:.1f} GiB for the training clips"

    def batches(self, keys: Iterable[ClipKey], batch_size: int) -> Iterator[Batch]:
        """Give batches of "layer3" (B, T, C, h, w), "label" and "clip" in the order of the keys."""
        keys = list(keys)
        slots = [_slot(key) for key in keys]
        there = self.store.present(slots)
        fresh = self._frames([key for key, present in zip(keys, there, strict=True) if not present])
        for start in range(0, len(keys), batch_size):
            part = slice(start, start + batch_size)
            missing = [slot for slot, present in zip(slots[part], there[part], strict=True) if not present]
            self._fill(missing, fresh)
            numbers = [number for number, _ in keys[part]]
            labels = [self.clips.index.clips[number].label for number in numbers]
            yield {
                "layer3": self.store.read(slots[part]),
                "label": torch.tensor(labels),
                "clip": torch.tensor(numbers),
            }

    def _fill(self, slots: list[int], fresh: Iterator[Tensor]) -> None:
        if not slots:
            return
        frames = torch.stack([next(fresh) for _ in slots])
        outputs = self.frozen(frames.flatten(0, 1)).reshape(len(slots), *self.store.shape)
        for slot, output in zip(slots, outputs, strict=True):
            self.store.write(slot, output)

    def _frames(self, keys: list[ClipKey]) -> Iterator[Tensor]:
        if not keys:
            return
        loader = DataLoader(
            self.clips,
            batch_size=None,
            sampler=keys,
            num_workers=self.workers,
            generator=torch.Generator(),
        )
        for item in loader:
            yield item["frames"]


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
        return self.clips.batches(self.keys, self.batch_size)


def cached_rgb_sets(
    split: Split,
    config: ClipTrainConfig,
    inputs: RgbInput,
    backbone: FrozenLayers,
    folder: Path,
) -> Sets:
    """Make the batches of the RGB stream from kept outputs of the backbone's first layers.

    Raises:
        UserError: The folder can't be written.
    """
    opened = clip_opener(inputs, backbone, folder, config.workers)

    def measured(name: str, index: ClipIndex) -> EvaluationSet:
        batches = CachedBatches(opened(index), evaluation_keys(len(index)), config.batch_size)
        return EvaluationSet(name, index.keys, batches, inputs.test_protocol())

    sampler: EpochSampler[ClipKey] = EpochSampler(len(split.train), config.seed)
    train = CachedBatches(opened(split.train), sampler, config.batch_size)

    def epoch(number: int) -> CachedBatches:
        sampler.set_epoch(number)
        return train

    print(train.clips.room())
    test = measured("test", split.test)
    watched = test if split.val is None else measured("val", split.val)
    return Sets(TrainingSet(split.train.keys, epoch), watched, test)


def clip_opener(
    inputs: RgbInput, backbone: FrozenLayers, folder: Path, workers: int
) -> Callable[[ClipIndex], CachedClips]:
    """Give what opens the kept outputs of a backbone for the clips of any index."""
    device = next(backbone.parameters()).device
    weights = weights_hash(backbone.frozen_modules())
    identity = {"torch": torch.__version__, "device": device.type, "weights": weights}

    @torch.no_grad()
    def frozen(frames: Tensor) -> Tensor:
        backbone.eval()
        return backbone.trunk(frames.to(device)).cpu()

    return lambda index: CachedClips(inputs.dataset(index), frozen, identity, folder, workers)


def weights_hash(modules: Iterable[nn.Module]) -> str:
    """Name the weights and statistics of modules by their content."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _slot(key: ClipKey) -> int:
    number, draw = key
    return number * (NUM_DRAWS + 1) + (NUM_DRAWS if draw is None else draw.number)


def _fingerprint(clips: RgbClips) -> list[Any]:
    """Everything the pixels depend on; files count by name, size and time of change."""
    files = []
    for clip in clips.index.clips:
        for number in dict.fromkeys(rgb_frame_numbers(clip.num_frames, clips.num_frames).tolist()):
            path = clip.frames.path(number)
            status = path.stat()
            files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    return [clips.num_frames, clips.preprocessing.to_dict(), [clip.key for clip in clips.index.clips], files]
