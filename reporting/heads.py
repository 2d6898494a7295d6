"""Temporal heads next to each other: what each costs, what it knows, and how early."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from core.errors import UserError
from metrics.statistics import holm, paired_differences
from reporting.collect import FoundTable, Row
from reporting.early import early_columns, shares_of
from reporting.page import Figure, Section
from reporting.results import pooled, shared_scores
from reporting.tables import Table, interval, number, p_value, spread, words

_HOW_TO_READ = (
    "What joins the frames, apart from the backbone, which is the same for all. Parameters and operations "
    "are the head's own, operations those of matrix products and convolutions in a forward pass. A clip's "
    "milliseconds are those of a forward and a backward pass through the head, the fastest of several at the"
    " end of each run, with the standard deviation between runs; runs that shared a machine slowed each "
    "other down."
)
_COMPARED = (
    " Points more are those above {baseline} in top-1, clip by clip, with the p of a sign-flip test "
    "(McNemar's for one seed), which Holm's method corrects for the number of rows: below 0.05, the choice "
    "of clips hardly explains the difference."
)
_COSTS = {
    "head_ms_per_clip": ("ms", "milliseconds a clip, forward and backward, through the head"),
    "head_parameters": ("parameters", "parameters of the head"),
}


def heads_section(table: FoundTable, folder: Path) -> Section | None:
    """Compare heads; None where rows don't have several, or have not recorded what they cost.

    Args:
        table: The runs.
        folder: Of the report; the plots are drawn into it.
    """
    rows = [row for row in table.shown if costs(row, "head_parameters")]
    if len({run.settings.get("temporal") for row in rows for run in row.finished}) < 2:
        return None
    from metrics.figures import Estimate, save_costs  # matplotlib takes its time

    pictures = []
    for key, (name, axis) in _COSTS.items():
        points, left_out = {}, ""
        for row in rows:
            ends, cost = pooled(row, "top1", "n_clips"), costs(row, key)
            if ends is not None and cost and min(cost) > 0:
                points[row.name] = Estimate(mean(cost), mean(row.values("top1")), *ends)
            elif ends is not None and cost:
                left_out = "; heads that cost nothing have no place on this axis"
        if points:
            file = folder / "heads" / f"{table.name}-{name}.png"
            save_costs(file, points, axis, "accuracy over cost, with 95 % intervals")
            pictures.append(Figure(file, f"top-1 over {axis}{left_out}", plot=True))
    baseline = next((row for row in rows if row.name == table.plan.baseline), None)
    text = _HOW_TO_READ + ("" if baseline is None else _COMPARED.format(baseline=baseline.name))
    return Section(
        "What joins the frames", [text], heads_table(rows, baseline), figures=pictures, key="heads"
    )


def costs(row: Row, key: str) -> list[float]:
    """Collect a number of cost.json, one for each finished run that has it."""
    return [float(run.cost[key]) for run in row.finished if key in run.cost]


def heads_table(rows: Sequence[Row], baseline: Row | None) -> Table:
    """List heads with their cost, accuracy, knowledge of order and of the first part of a clip."""

    def parameters(row: Row) -> float:
        return mean(costs(row, "head_parameters")) / 1e6

    shares = [share for share in shares_of(rows) if share < 100]
    more, p_values = compared_with(rows, baseline)
    return Table.of(
        words("head", [row.name for row in rows]),
        number("parameters, million", map(parameters, rows), ".2f"),
        number("GFLOP a frame", [mean(costs(row, "head_gflop_per_frame")) for row in rows], ".4f"),
        spread("ms a clip", [costs(row, "head_ms_per_clip") for row in rows]),
        spread("top-1 %", [row.values("top1") for row in rows]),
        interval("95 % interval", [pooled(row, "top1", "n_clips") for row in rows]),
        number("points more", more, "+.1f"),
        p_value("p, Holm", p_values),
        spread("order %", [row.values("order") for row in rows]),
        *early_columns(rows, shares, intervals=False),
    )


def compared_with(rows: Sequence[Row], baseline: Row | None) -> tuple[list[float | None], list[float | None]]:
    """Compare top-1 with that of the baseline, clip by clip.

    Returns:
        Points above it, and p values by Holm's method; None for the baseline itself, and for rows that have
        no clips or seeds in common with it.
    """
    scores = {}
    for row in rows:
        if baseline is not None and row is not baseline:
            try:
                scores[row.name] = shared_scores(row, baseline)
            except UserError:  # the table of comparisons says why
                continue
    found = dict(zip(scores, paired_differences(list(scores.values())), strict=True))
    p_values = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    points = [found[row.name].points if row.name in found else None for row in rows]
    return points, [p_values.get(row.name) for row in rows]
