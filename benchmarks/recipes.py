"""The cost of the recipes of GTEA61: their steps, counted from the recipe, times the time of a step here.

Loading is left out, since it goes on during the training, and so is the first filling of the cache.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.measures import alternate, count_operations
from benchmarks.steps import BF16, EXACT, PartName, Size, build
from grids.recipe import Recipe, SeededTraining

RECIPES = ("step1", "step2_classification", "step2_regression")
FOLDER = Path(__file__).resolve().parents[1] / "recipes"
TRAIN_CLIPS, TEST_CLIPS = 341, 116  # of GTEA61 with S2 as test user, by its manifest
_OPERATIONS = "operations"


class Kind(NamedTuple):
    """The properties of a training that decide how long an epoch takes."""

    part: PartName
    frames: int


def measure_recipes(size: Size, lengths: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure each recipe: its trainings, hours in float32 and at the fastest, and 10^15 operations.

    Args:
        size: Size of a step but for its frames.
        lengths: Frames a clip that steps are measured at; other lengths lie on the line through these.
        rounds: Rounds of alternation.
    """
    recipes = {name: Recipe.from_yaml(FOLDER / f"{name}.yaml") for name in RECIPES}
    epochs = {name: epochs_of(recipe) for name, recipe in recipes.items()}
    measured = measured_kinds({kind for counted in epochs.values() for kind in counted}, lengths)
    costs: dict[str, dict[int, dict[str, float]]] = {}
    for part, frames in tqdm(measured, "recipes"):
        costs.setdefault(part, {})[frames] = _epoch_costs(part, replace(size, frames=frames), rounds)
    found = {}
    for name, counted in epochs.items():
        total = dict.fromkeys((EXACT, BF16, _OPERATIONS), 0.0)
        for kind, number in counted.items():
            for cost in total:
                by_length = {frames: each[cost] for frames, each in costs[kind.part].items()}
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


def _epoch_costs(part: PartName, size: Size, rounds: int) -> dict[str, float]:
    """Measure an epoch of GTEA61: seconds by way, and its operations in float32, 10^9."""
    found: dict[str, float] = {}
    for way in (EXACT, BF16):
        step = build(part, way, size)
        seconds = median(alternate({way: step.train}, rounds)[way]) * TRAIN_CLIPS
        operations = count_operations(step.train) * TRAIN_CLIPS
        step.model.eval()
        seconds += median(alternate({way: step.evaluate}, rounds)[way]) * TEST_CLIPS
        operations += count_operations(step.evaluate) * TEST_CLIPS
        found[way] = seconds / size.batch
        found.setdefault(_OPERATIONS, operations / size.batch)
    return found


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
    slope, start = np.polyfit(list(values), list(values.values()), 1)
    return float(start + slope * frames)
