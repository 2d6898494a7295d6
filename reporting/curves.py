"""Learning curves of the rows: loss and accuracy of training and test, on axes that all rows share."""

from pathlib import Path
from typing import Any

from reporting.collect import Finished, FoundTable
from reporting.page import Figure, Section

_SHOWN_LOSS = 0.98
"""Quantile of losses up to which their axis reaches, so that one that ran away flattens no others."""


def rows_of(run: Finished) -> list[dict[str, Any]]:
    """Return the rows of a run's metrics.csv."""
    return [{str(key): value for key, value in row.items()} for row in run.epochs.to_dict("records")]


def curves_section(table: FoundTable, folder: Path) -> Section:
    """Draw the curves of each row into the folder of the report."""
    from metrics.figures import save_curves  # loads matplotlib, which a help text needs none of

    runs = [run for row in table.shown for run in row.finished]
    limits = {
        "epoch": max(float(run.epochs["epoch"].max()) for run in runs),
        "loss": 1.05 * max(float(run.epochs["loss"].quantile(_SHOWN_LOSS)) for run in runs),
    }
    pictures = []
    for number, row in enumerate(table.shown, start=1):
        file = folder / "curves" / f"{table.name}-{number}.png"
        save_curves(file, [rows_of(run) for run in row.finished], limits)
        pictures.append(Figure(file, row.name, plot=True))
    text = (
        "After every epoch, a line a seed, on the same axes for all rows. Training is measured on augmented "
        "clips, with dropout."
    )
    return Section("Learning curves", [text], figures=pictures, key="curves")
