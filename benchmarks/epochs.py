"""Whole epochs over the images of a tree: decoding, training, and both with the cache."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.measures import GROWTH, Found, Way, alternate
from benchmarks.steps import BF16, EXACT, PLAIN, WAYS, PartName, Size, Step, build
from core.task import Batch
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import Preprocessing
from training.batches import ClipData, LoaderSettings, Split
from training.cache.features import CachedInput
from training.cache.frames import with_kept_frames
from training.cache.store import CacheFolder


def measure_epochs(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time epochs of each stage, with loading, in every way: seconds of each round."""
    found: Found = {}
    for part in GROWTH:
        with tempfile.TemporaryDirectory(prefix="egornn-epochs-") as folder:
            found[part] = alternate(epoch_ways(part, tree, clips, size, Path(folder)), rounds)
    return found


def measure_clips(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time epochs of stage 1 over a quarter, half and all of the clips: seconds of each round."""
    found: Found = {}
    for number in (clips // 4, clips // 2, clips):
        with tempfile.TemporaryDirectory(prefix="egornn-epochs-") as folder:
            ways = epoch_ways("stage 1", tree, number, size, Path(folder), (PLAIN, BF16))
            found[str(number)] = alternate(ways, rounds)
    return found


def measure_decoding(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time passes over the frames without training: milliseconds a clip, by way and workers."""
    found: Found = {}
    for workers in (0, 1, 2):
        with tempfile.TemporaryDirectory(prefix="egornn-frames-") as folder:
            timed = alternate(decoding_ways(tree, clips, size, Path(folder), workers), rounds)
            for name, seconds in timed.items():
                found.setdefault(name, {})[str(workers)] = 1000 * median(seconds) / clips
    return found


def epoch_ways(
    part: PartName, tree: Path, clips: int, size: Size, folder: Path, names: Sequence[str] = WAYS
) -> dict[str, Way]:
    """Prepare one epoch of a stage of the RGB stream over the first clips of a tree, in every way.

    Args:
        part: "stage 1" or "stage 2".
        tree: Tree of clips.
        clips: Number of clips.
        size: Batch, frames and network.
        folder: Scratch folder for the cache.
        names: The ways.
    """
    split, settings = _open(tree, clips), LoaderSettings(size.batch, workers=1, seed=0)
    ways: dict[str, Way] = {}
    for way in names:
        step = build(part, way, size)
        given: tuple[str, ...] = ("frames",)
        if way in (PLAIN, EXACT):
            sets = ClipData(split, _inputs(size)).sets(settings)
        else:
            cache = CacheFolder(folder / "cache")
            inputs = with_kept_frames(_inputs(size), cache)
            cached = CachedInput(inputs, step.prefixes, cache, settings.workers, split.train)
            sets, given = ClipData(split, inputs).sets(settings, make=cached.batches), cached.names

        def take(batch: Batch, step: Step = step, given: tuple[str, ...] = given) -> None:
            step.labels = batch["label"]
            step.inputs = lambda: {name: batch[name] for name in given}
            step.train()

        ways[way] = _passing(sets.train.batches, take)
    return ways


def decoding_ways(tree: Path, clips: int, size: Size, folder: Path, workers: int) -> dict[str, Way]:
    """Prepare a pass over the frames of clips without any training, decoded or read from the cache."""
    split, settings = _open(tree, clips), LoaderSettings(size.batch, workers, seed=0)
    kept = with_kept_frames(_inputs(size), CacheFolder(folder / "frames"))
    return {
        name: _passing(ClipData(split, inputs).sets(settings).train.batches, lambda batch: None)
        for name, inputs in (("decoded", _inputs(size)), ("kept", kept))
    }


def _open(tree: Path, clips: int) -> Split:
    whole = ClipIndex.from_tree(tree)
    index = whole.subset(range(min(clips, len(whole))))
    return Split(index, None, index)


def _inputs(size: Size) -> ClipInput:
    return ClipInput(Frames(size.frames, Preprocessing.rgb(size.side)))


def _passing(batches: Callable[[int], Iterable[Batch]], take: Callable[[Batch], None]) -> Way:
    """Prepare a pass over the first epoch, which has the same draws every time, so that a cache serves it."""

    def way() -> None:
        for batch in batches(1):
            take(batch)

    return way
