"""Early recognition: accuracy after shares of a clip, its curve, and rows compared at each share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from metrics.accuracy import Floats
from metrics.early import EarlyPredictions, area_by_clip
from metrics.statistics import bootstrap_interval, wilson_interval
from reporting.collect import FoundTable, Row
from reporting.page import Figure, Section
from reporting.results import choose_pairs, comparison
from reporting.tables import Column, Table, count, interval, spread, words

if TYPE_CHECKING:
    from metrics.figures import Estimate

_HOW_TO_READ = (
    "Accuracy on the test clips after a share of each, read along the frames that the network sees: the "
    "first 25 % of a clip are known after 3 of 8 frames, or 5 of 16. Rows that were trained on whole clips "
    "are read off as a clip goes on; rows whose frames all come from the first part of a clip (--observed) "
    "are measured up to its end. The share is one of the clip's length, which nobody knows before its end. "
    "Intervals are Wilson's. The area under the curve, divided by the range of the shares, is the mean "
    "accuracy on the way, with a bootstrap interval over clips."
)
_COMPARED = "The same comparison as above, of what is known after this share of each clip."


def early_section(table: FoundTable, folder: Path) -> Section | None:
    """Show how early rows know an action; None where none was read along its frames.

    Args:
        table: The runs.
        folder: Of the report; the curve is drawn into it.
    """
    shares = shares_of(table.shown)
    rows = [row for row in table.shown if any(run.early for run in row.finished)]
    if not shares:
        return None
    from metrics.figures import save_shares  # matplotlib takes its time, and a help text needs none

    file = folder / "early" / f"{table.name}.png"
    save_shares(file, {row.name: estimates(row, shares) for row in rows}, "how early an action is known")
    parts = list[Section]()
    for share in shares:
        at_share = replace(table, rows=tuple(found for row in table.rows if (found := row_at(row, share))))
        known = {row.name for row in at_share.rows}
        pairs = [pair for pair in choose_pairs(at_share) if known >= {row.name for row in pair}]
        if share < 100 and pairs:
            title = f"Which rows differ after {share:g} %?"
            section = comparison(title, pairs, [_COMPARED], key=f"{share:g}")
            parts.append(replace(section, folded=bool(parts)))  # the first share stands open
    picture = Figure(file, "top-1 over the share of a clip that was seen, with 95 % intervals", plot=True)
    return Section(
        "How early is an action known?",
        [_HOW_TO_READ],
        early_table(rows, shares),
        figures=[picture],
        parts=parts,
        key="early",
    )


def shares_of(rows: Sequence[Row]) -> list[float]:
    """List the shares, in per cent, at which any row was read; none where all were read at the end alone."""
    found = {share for row in rows for early in read(row) for share in early.shares}
    return sorted(found) if found != {100} else []


def read(row: Row) -> list[EarlyPredictions]:
    """Return what the row's runs know along the frames, for those that were read, at the shares of all."""
    found = [run.early for run in row.finished if run.early is not None]
    common = (
        [share for share in found[0].shares if all(share in one.shares for one in found)] if found else []
    )
    return [one.only(common) for one in found]


def row_at(row: Row, share: float) -> Row | None:
    """The row with what its runs know after a share of a clip as their predictions; None if none was read."""
    if not any(share in early.shares for early in read(row)):
        return None
    runs = [replace(run, predictions=run.early.at(share)) for run in row.finished if run.early is not None]
    return replace(row, finished=tuple(runs))


def top1_at(row: Row, share: float) -> list[float]:
    """Top-1 in per cent after a share of a clip, of each seed that was read there."""
    found = row_at(row, share)
    return [] if found is None else [run.predictions.top1 for run in found.finished]


def interval_at(row: Row, share: float) -> tuple[float, float] | None:
    """Wilson's interval of `top1_at` at its mean over the seeds."""
    if not (values := top1_at(row, share)):
        return None
    clips = len(row.finished[0].predictions.keys)
    return wilson_interval(mean(values) / 100 * clips, clips)


def estimates(row: Row, shares: Sequence[float]) -> "list[Estimate]":
    """Collect a row's curve: `top1_at` with its interval, where it was read."""
    from metrics.figures import Estimate

    found = [(share, top1_at(row, share), interval_at(row, share)) for share in shares]
    return [Estimate(share, mean(top1), *ends) for share, top1, ends in found if ends is not None]


def early_columns(rows: Sequence[Row], shares: Sequence[float], *, intervals: bool) -> list[Column]:
    """Make columns of `top1_at`, and of its intervals."""
    columns = []
    for share in shares:
        columns.append(spread(f"after {share:g} %", [top1_at(row, share) for row in rows]))
        if intervals:
            columns.append(interval(f"{share:g} %, interval", [interval_at(row, share) for row in rows]))
    return columns


def early_table(rows: Sequence[Row], shares: Sequence[float]) -> Table:
    """List what each row knows after each share."""

    def areas_by_clip(row: Row) -> list[Floats]:
        return [100 * area_by_clip(early) for early in read(row) if len(early.shares) > 1]

    def area_interval(row: Row) -> tuple[float, float] | None:
        if not (found := areas_by_clip(row)):
            return None
        low, high = bootstrap_interval(np.mean(found, axis=0))
        return float(low), float(high)

    return Table.of(
        words("trained", [row.name for row in rows]),
        count("seeds", [(len(read(row)), len(row.plan.runs)) for row in rows]),
        *early_columns(rows, shares, intervals=True),
        spread("area %", [[float(area.mean()) for area in areas_by_clip(row)] for row in rows]),
        interval("area, 95 % interval", [area_interval(row) for row in rows]),
    )
