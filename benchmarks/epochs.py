"""Whole epochs over real files: decoding, training, and what is kept of either."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.alternate import Way
from benchmarks.steps import EXACT, PLAIN, WAYS, PartName, Size, Step, build
from core.task import Batch
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import Preprocessing
from training.batches import ClipTrainConfig, Split, clip_sets
from training.cache.features import kept_sets
from training.cache.frames import with_kept_frames
from training.cache.store import CacheFolder
from training.run import Sets


def epoch_ways(
    part: PartName, tree: Path, clips: int, size: Size, folder: Path, names: Sequence[str] = WAYS
) -> dict[str, Way]:
    """Give one epoch of a stage of the RGB stream over the first clips of a tree, in every way.

    Args:
        part: "stage 1" or "stage 2".
        tree: Tree of clips.
        clips: How many.
        size: Batch, frames and network.
        folder: Scratch folder for what is kept.
        names: The ways.
    """
    whole = ClipIndex.from_tree(tree)
    index = whole.subset(range(min(clips, len(whole))))
    config = ClipTrainConfig(data=tree, out=folder / "run", batch_size=size.batch, workers=1)
    ways: dict[str, Way] = {}
    for way in names:
        step = build(part, way, size)
        sets, given = _sets(part, way, step, Split(index, None, index), config, folder / "cache")
        ways[way] = _epoch(step, sets.train.batches, given)
    return ways


def decoding_ways(tree: Path, clips: int, size: Size, folder: Path, workers: int) -> dict[str, Way]:
    """Give a pass over the frames of clips without any training, decoded or kept."""
    whole = ClipIndex.from_tree(tree)
    index = whole.subset(range(min(clips, len(whole))))
    split = Split(index, None, index)
    readers = {"decoded": _inputs(size), "kept": _inputs(size, CacheFolder(folder / "frames"))}
    config = ClipTrainConfig(data=tree, out=folder / "run", batch_size=size.batch, workers=workers)
    return {
        name: partial(_pass, clip_sets(split, config, inputs).train.batches)
        for name, inputs in readers.items()
    }


def _pass(batches: Callable[[int], Iterable[Batch]]) -> None:
    for _ in batches(1):
        pass


def _sets(
    part: PartName, way: str, step: Step, split: Split, config: ClipTrainConfig, folder: Path
) -> tuple[Sets, tuple[str, ...]]:
    size = step.size
    if way in (PLAIN, EXACT):
        return clip_sets(split, config, _inputs(size)), ("frames",)
    cache = CacheFolder(folder)
    return kept_sets(split, config, _inputs(size, cache), step.prefixes, cache)


def _inputs(size: Size, cache: CacheFolder | None = None) -> ClipInput:
    inputs = ClipInput(Frames(size.frames, Preprocessing.rgb(size.side)))
    return inputs if cache is None else with_kept_frames(inputs, cache)


def _epoch(step: Step, batches: Callable[[int], Iterable[Batch]], names: tuple[str, ...]) -> Way:
    def take(batch: Batch) -> None:
        step.labels = batch["label"]
        step.inputs = lambda: {name: batch[name] for name in names}
        step.train()

    def epoch() -> None:
        for batch in batches(1):  # the same draws every time, so that the first round fills what is kept
            take(batch)

    return epoch
