"""Learning curves of the rows: loss and accuracy of training and test, on axes that all rows share."""

import math

from reporting.charts import Curve, curves
from reporting.collect import Finished, FoundTable
from reporting.page import Section

SPLITS = ("train", "val", "test")
_PANELS = {"loss": "loss", "accuracy, %": "accuracy"}
_SHOWN_LOSS = 0.98
"""Quantile of losses up to which their axis reaches, so that one that ran away flattens no others."""


def curves_of(run: Finished, key: str) -> list[Curve]:
    """Read the curve of each split that was measured, of "loss" or "accuracy" (%)."""
    found = []
    for split in SPLITS:
        rows = run.epochs[run.epochs["split"] == split]
        points = zip(rows["epoch"].tolist(), rows[key].tolist(), strict=True)
        found.append(Curve(split, [(epoch, value) for epoch, value in points if math.isfinite(value)]))
    return [curve for curve in found if curve.points]


def curves_section(table: FoundTable) -> Section:
    """Draw the curves of each row."""
    runs = [run for row in table.shown for run in row.finished]
    most = max(float(run.epochs["epoch"].max()) for run in runs)
    losses = 1.05 * max(float(run.epochs["loss"].quantile(_SHOWN_LOSS)) for run in runs)
    tops = {"loss": losses if losses > 0 else 1.0, "accuracy, %": 100.0}
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
        "training clips in green, test in orange. Training is measured on augmented clips, with dropout."
    )
    return Section("Learning curves", [text], small_charts=charts, key="curves")
