"""What the recipes of GTEA61 cost: steps counted from the recipe, times what a step takes here.

Loading is left out: it goes on beside the training. So is the first filling of what is kept, one pass over
each crop. Axes: B clips, T frames.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.alternate import alternate
from benchmarks.pages import markdown
from benchmarks.steps import BF16, EXACT, PartName, Size, build
from grids.recipe import Recipe, SeededTraining

RECIPES = ("step1", "step2_classification", "step2_regression")
TRAIN_CLIPS, TEST_CLIPS = 341, 116  # of GTEA61 with S2 as test user, by its manifest
_FOLDER = Path(__file__).resolve().parents[1] / "recipes"


class Kind(NamedTuple):
    """What decides how long an epoch of a training takes."""

    part: PartName
    frames: int


def measure_recipes(size: Size, lengths: Sequence[int], rounds: int) -> dict[str, Any]:
    """Give what each recipe takes: its trainings, hours in float32 and at the fastest, and 10^15 operations.

    Args:
        size: Size of a step; its frames are not looked at.
        lengths: Frames a clip that steps are measured at; other lengths lie on the line through these.
        rounds: Rounds of alternation.
    """
    recipes = {name: Recipe.from_yaml(_FOLDER / f"{name}.yaml") for name in RECIPES}
    epochs = {name: epochs_of(recipe) for name, recipe in recipes.items()}
    wanted = measured_kinds({kind for counted in epochs.values() for kind in counted}, lengths)
    at: dict[str, dict[int, dict[str, float]]] = {}
    for part, frames in tqdm(wanted, "recipes"):
        at.setdefault(part, {})[frames] = _costs(part, replace(size, frames=frames), rounds)
    return {
        name: {"trainings": len(recipes[name].seeded_trainings()), **_total(counted, at)}
        for name, counted in epochs.items()
    }


def epochs_of(recipe: Recipe) -> "Counter[Kind]":
    """Count the epochs of each kind that all trainings of a recipe take together."""
    counted: Counter[Kind] = Counter()
    for step in recipe.seeded_trainings():
        counted[kind_of(step)] += step.training.settings["epochs"]
    return counted


def kind_of(step: SeededTraining) -> Kind:
    """Tell what a training trains, and at how many frames; the flow stream always takes one stack."""
    settings = step.training.settings
    if step.training.script == "train_flow":
        return Kind("flow", 1)
    if step.training.script == "train_twostream":
        return Kind("joint", kind_of(step.parents["rgb"]).frames)
    if settings["stage"] == 1:
        return Kind("stage 1", settings["frames"])
    layer3 = settings.get("ms_layer") in ("layer3", "both")
    return Kind("stage 2 and layer3" if layer3 else "stage 2", kind_of(step.parents["init"]).frames)


def _costs(part: PartName, size: Size, rounds: int) -> dict[str, float]:
    """Seconds that an epoch of GTEA61 takes, by way, and the operations of one in float32, 10^12."""
    found: dict[str, float] = {}
    for way in (EXACT, BF16):
        step = build(part, way, size)
        train = median(alternate({way: step.train}, rounds)[way])
        if way == EXACT:
            with FlopCounterMode(display=False) as counter:
                step.train()
            found["operations"] = counter.get_total_flops() / 1e12 * TRAIN_CLIPS / size.batch
        step.model.eval()
        evaluate = median(alternate({way: step.evaluate}, rounds)[way])
        found[way] = (train * TRAIN_CLIPS + evaluate * TEST_CLIPS) / size.batch
        if way == EXACT:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                step.evaluate()
            found["operations"] += counter.get_total_flops() / 1e12 * TEST_CLIPS / size.batch
    return found


def _total(
    epochs: Mapping[Kind, int], at: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> dict[str, float]:
    total = dict.fromkeys((EXACT, BF16, "operations"), 0.0)
    for kind, number in epochs.items():
        for what in total:
            values = {frames: costs[what] for frames, costs in at[kind.part].items()}
            total[what] += number * at_length(values, kind.frames)
    return {
        "hours in float32": total[EXACT] / 3600,
        "hours at the fastest": total[BF16] / 3600,
        "10^15 operations": total["operations"] / 1000,
    }


def measured_kinds(kinds: Collection[Kind], lengths: Sequence[int]) -> list[Kind]:
    """Choose what to measure: all lengths of a part that is wanted at others too, else those wanted."""
    chosen = []
    for part in sorted({kind.part for kind in kinds}):
        frames = {kind.frames for kind in kinds if kind.part == part}
        line = part != "flow" and not frames <= set(lengths)
        chosen += [Kind(part, length) for length in (lengths if line else sorted(frames))]
    return chosen


def at_length(values: Mapping[int, float], frames: int) -> float:
    """Give the value at a length: the measured one, or that on the line through those measured."""
    if frames in values:
        return values[frames]
    if len(values) == 1:
        return next(iter(values.values()))
    slope, start = np.polyfit(list(values), list(values.values()), 1)
    return float(start + slope * frames)


def recipes_table(found: Mapping[str, Any]) -> str:
    """Show what the recipes cost."""
    header = ["recipe", *next(iter(found.values()))]
    rows = [
        [f"`{name}.yaml`", *(f"{value:.0f}" for value in costs.values())] for name, costs in found.items()
    ]
    return markdown(header, rows)
