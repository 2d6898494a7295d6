"""Learning curves of the rows: loss and accuracy of training and test, on axes that all rows share."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reporting.charts import Curve, curves
from reporting.collect import Finished, FoundTable
from reporting.page import Section

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")
_PANELS = {"loss": "loss", "accuracy, %": "accuracy"}
_SHOWN_LOSS = 0.98
"""Quantile of a run's losses up to which their axis reaches, so that one that ran away flattens no others."""
_ABOVE_TRAINING = 3
"""Times the training losses that the axis reaches at most: losses of tests run away first."""


def curves_of(run: Finished, key: str) -> list[Curve]:
    """Read the curve of each split that was measured, of "loss" or "accuracy" (%)."""
    found = []
    for split in SPLITS:
        rows = run.epochs[run.epochs["split"] == split]
        # Where pictures are learned too, the training's loss is a sum; that of the clips is like the test's.
        clips = split == "train" and key == "loss" and "clips" in rows
        points = zip(rows["epoch"].tolist(), rows["clips" if clips else key].tolist(), strict=True)
        found.append(Curve(split, [(epoch, value) for epoch, value in points if math.isfinite(value)]))
    return [curve for curve in found if curve.points]


def top_of_losses(runs: Sequence[Finished]) -> float:
    """Choose where the axis of losses ends; what lies beyond is drawn on its edge."""

    def high(losses: "pd.Series[float]") -> float:
        finite = losses[losses.map(math.isfinite)]
        return float(finite.quantile(_SHOWN_LOSS)) if len(finite) else 0.0

    every = max(high(run.epochs["loss"]) for run in runs)
    trained = max(high(run.epochs["loss"][run.epochs["split"] == "train"]) for run in runs)
    top = 1.05 * (min(every, _ABOVE_TRAINING * trained) if trained > 0 else every)
    return top if top > 0 else 1.0


def curves_section(table: FoundTable) -> Section:
    """Draw the curves of each row."""
    runs = [run for row in table.shown for run in row.finished]
    most = max(float(run.epochs["epoch"].max()) for run in runs)
    tops = {"loss": top_of_losses(runs), "accuracy, %": 100.0}
    charts = [
        curves(
            {
                title: [c for run in row.finished for c in curves_of(run, key)]
                for title, key in _PANELS.items()
            },
            tops,
            most,
            row.name,
        )
        for row in table.shown
    ]
    text = (
        "After every epoch, a line a seed, on the same axes for all rows: training in blue, held-out "
        "training clips in green, test in orange. Training is measured on augmented clips, with dropout. "
        "Losses beyond the axis lie on its edge."
    )
    return Section("Learning curves", [text], small_charts=charts, key="curves")
