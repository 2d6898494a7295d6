"""Whole epochs: with loading, over the images of a tree, and those that the recipes of GTEA61 take.

The cost of a recipe is its epochs, counted from the recipe, times the time of a step here. Loading is left
out, since it goes on during the training, and so is the first filling of the cache.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.steps import (
    BF16,
    EXACT,
    PLAIN,
    WAYS,
    PartName,
    Size,
    Step,
    Way,
    alternate,
    build,
    count_operations,
)
from benchmarks.tables import fit_line
from core.task import Batch
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import Preprocessing
from grids.recipe import Recipe, SeededTraining
from training.batches import ClipData, LoaderSettings, Split
from training.cache.features import CachedInput
from training.cache.frames import with_kept_frames
from training.cache.store import CacheFolder

Found = dict[str, Any]
RECIPES = ("step1", "step2_classification", "step2_regression")
FOLDER = Path(__file__).resolve().parents[1] / "recipes"
TRAIN_CLIPS, TEST_CLIPS = 341, 116  # of GTEA61 with S2 as test user, by its manifest
_OPERATIONS = "operations"


def measure_epochs(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time epochs of each stage in every way: seconds of each round."""
    return {part: _timed_epochs(part, tree, clips, size, rounds, WAYS) for part in ("stage 1", "stage 2")}


def measure_clips(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time epochs of stage 1 over a quarter, half and all of the clips: seconds of each round."""
    numbers, ways = (clips // 4, clips // 2, clips), (PLAIN, BF16)
    return {str(number): _timed_epochs("stage 1", tree, number, size, rounds, ways) for number in numbers}


def measure_decoding(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time passes over the frames without training: milliseconds a clip, by way and workers."""
    found: Found = {"decoded": {}, "kept": {}}
    for workers in (0, 1, 2):
        with tempfile.TemporaryDirectory(prefix="egornn-frames-") as folder:
            timed = alternate(decoding_ways(tree, clips, size, Path(folder), workers), rounds)
        for name, seconds in timed.items():
            found[name][str(workers)] = 1000 * median(seconds) / clips
    return found


def _timed_epochs(
    part: PartName, tree: Path, clips: int, size: Size, rounds: int, ways: Sequence[str]
) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="egornn-epochs-") as folder:
        return alternate(epoch_ways(part, tree, clips, size, Path(folder), ways), rounds)


def epoch_ways(
    part: PartName, tree: Path, clips: int, size: Size, folder: Path, names: Sequence[str] = WAYS
) -> dict[str, Way]:
    """Prepare an epoch of a stage of the RGB stream over the first clips of a tree, its cache in a folder."""
    split, inputs = open_clips(tree, clips, size)
    settings, cache = LoaderSettings(size.batch, workers=1, seed=0), CacheFolder(folder / "cache")
    kept = with_kept_frames(inputs, cache)
    ways: dict[str, Way] = {}
    for way in names:
        step = build(part, way, size)
        given: tuple[str, ...] = ("frames",)
        if way in (PLAIN, EXACT):
            sets = ClipData(split, inputs).sets(settings)
        else:
            cached = CachedInput(kept, step.prefixes, cache, settings.workers, split.train)
            sets, given = ClipData(split, kept).sets(settings, make=cached.batches), cached.names
        ways[way] = partial(_pass, sets.train.batches, step, given)
    return ways


def decoding_ways(tree: Path, clips: int, size: Size, folder: Path, workers: int) -> dict[str, Way]:
    """Prepare a pass over the frames of clips without any training, decoded or read from the cache."""
    split, inputs = open_clips(tree, clips, size)
    settings = LoaderSettings(size.batch, workers, seed=0)
    both = {"decoded": inputs, "kept": with_kept_frames(inputs, CacheFolder(folder / "frames"))}
    sets = {name: ClipData(split, each).sets(settings) for name, each in both.items()}
    return {name: partial(_pass, each.train.batches) for name, each in sets.items()}


def open_clips(tree: Path, clips: int, size: Size) -> tuple[Split, ClipInput]:
    """Open the first clips of a tree, and describe their frames."""
    whole = ClipIndex.from_tree(tree)
    index = whole.subset(range(min(clips, len(whole))))
    return Split(index, None, index), ClipInput(Frames(size.frames, Preprocessing.rgb(size.side)))


def _pass(
    batches: Callable[[int], Iterable[Batch]], step: Step | None = None, given: Sequence[str] = ()
) -> None:
    """Load one epoch, and train a step on it by the tensors it is given."""
    for batch in batches(1):  # an epoch has the same draws whenever it is run, so that a cache serves it
        if step is not None:
            step.labels = batch["label"]
            step.inputs = {name: batch[name] for name in given}.copy
            step.train()


class Kind(NamedTuple):
    """The properties of a training that decide how long an epoch takes."""

    part: PartName
    frames: int


def measure_recipes(size: Size, lengths: Sequence[int], rounds: int) -> Found:
    """Measure each recipe: its trainings, hours in float32 and at the fastest, and 10^15 operations.

    Args:
        size: Size of a step but for its frames.
        lengths: Frames a clip that steps are measured at; other lengths lie on the line through these.
        rounds: Rounds of alternation.
    """
    recipes = {name: Recipe.from_yaml(FOLDER / f"{name}.yaml") for name in RECIPES}
    epochs = {name: epochs_of(recipe) for name, recipe in recipes.items()}
    measured = measured_kinds({kind for counted in epochs.values() for kind in counted}, lengths)
    costs = {kind: _epoch_costs(kind, size, rounds) for kind in tqdm(measured, "recipes")}
    found = {}
    for name, counted in epochs.items():
        total = dict.fromkeys((EXACT, BF16, _OPERATIONS), 0.0)
        for kind, number in counted.items():
            for cost in total:
                by_length = {at: each[cost] for (part, at), each in costs.items() if part == kind.part}
                total[cost] += number * at_length(by_length, kind.frames)
        found[name] = {
            "trainings": len(recipes[name].seeded_trainings()),
            "hours in float32": total[EXACT] / 3600,
            "hours at the fastest": total[BF16] / 3600,
            "10^15 operations": total[_OPERATIONS] / 1e6,
        }
    return found


def epochs_of(recipe: Recipe) -> "Counter[Kind]":
    """Count the epochs of each kind that all trainings of a recipe take together."""
    counted: Counter[Kind] = Counter()
    for seeded in recipe.seeded_trainings():
        counted[kind_of(seeded)] += seeded.training.settings["epochs"]
    return counted


def kind_of(seeded: SeededTraining) -> Kind:
    """Classify a training; the flow stream always takes one stack."""
    settings = seeded.training.settings
    if seeded.training.script == "train_flow":
        return Kind("flow", 1)
    if seeded.training.script == "train_twostream":
        return Kind("joint", kind_of(seeded.parents["rgb"]).frames)
    if settings["stage"] == 1:
        return Kind("stage 1", settings["frames"])
    layer3 = settings.get("ms_layer") in ("layer3", "both")
    return Kind("stage 2 and layer3" if layer3 else "stage 2", kind_of(seeded.parents["init"]).frames)


def measured_kinds(kinds: Collection[Kind], lengths: Sequence[int]) -> list[Kind]:
    """Choose the kinds to measure: all `lengths` of a part that needs others too, else only those needed."""
    chosen = []
    for part in sorted({kind.part for kind in kinds}):
        frames = {kind.frames for kind in kinds if kind.part == part}
        line = part != "flow" and not frames <= set(lengths)
        chosen += [Kind(part, length) for length in (lengths if line else sorted(frames))]
    return chosen


def at_length(values: Mapping[int, float], frames: int) -> float:
    """Return the value at a length: the measured one, or the one on the line through those measured."""
    if frames in values:
        return values[frames]
    if len(values) == 1:
        return next(iter(values.values()))
    start, slope = fit_line(values)
    return start + slope * frames


def _epoch_costs(kind: Kind, size: Size, rounds: int) -> dict[str, float]:
    """Measure an epoch of GTEA61: seconds by way, and its operations in float32, 10^9."""
    found: dict[str, float] = {}
    for way in (EXACT, BF16):
        step = build(kind.part, way, replace(size, frames=kind.frames))
        seconds = median(alternate({way: step.train}, rounds)[way]) * TRAIN_CLIPS
        operations = count_operations(step.train) * TRAIN_CLIPS
        step.model.eval()
        seconds += median(alternate({way: step.evaluate}, rounds)[way]) * TEST_CLIPS
        operations += count_operations(step.evaluate) * TEST_CLIPS
        found[way] = seconds / size.batch
        found.setdefault(_OPERATIONS, operations / size.batch)
    return found
