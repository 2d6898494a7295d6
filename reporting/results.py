"""Accuracy of each row over its seeds, with how sure it is, and what choosing an epoch on the test adds."""

from collections.abc import Sequence
from statistics import mean

from metrics.statistics import wilson_interval
from reporting.collect import Finished, Row
from reporting.table import EMPTY, Cell, Table, interval, number, spread, words

HOW_TO_READ = (
    "Accuracy of the last epoch on the test clips, whose user was never trained on: the mean over seeds and, "
    "behind the sign, the standard deviation between them. The interval is Wilson's at the mean and the "
    "number of test clips: seeds are tested on the same clips, so more seeds do not make it narrower."
)
ORDER = (
    "Order: of the clips of actions with a reverse in time (open and close, take and put), the share that "
    "scores above its reverse; 50 % is chance."
)
OPTIMISM = (
    "What reports get that keep the epoch which does best on the test clips themselves. Its advantage over "
    "the last epoch is optimism, since the test clips were asked which epoch to take; it is not the number "
    "to report."
)
_GROUPS = {"mean_class": "mean class %", "verb": "verb %", "noun": "noun %"}


def results_table(rows: Sequence[Row]) -> Table:
    """Give one line a row; measures that no row has are left out."""
    groups = {key: name for key, name in _GROUPS.items() if any(row.values(key) for row in rows)}
    order = any(row.values("order") for row in rows)
    header = ["trained", "seeds", "top-1 %", "95 % interval", *groups.values()]
    header += ["order %", "order, 95 % interval"] if order else []
    return Table(header, [_line(row, list(groups), order) for row in rows])


def _line(row: Row, groups: Sequence[str], order: bool) -> list[Cell]:
    cells = [words(row.name), seeds(row), spread(row.values("top1")), pooled(row, "top1", "n_clips")]
    cells += [spread(row.values(key)) for key in groups]
    return cells + ([spread(row.values("order")), pooled(row, "order", "n_order")] if order else [])


def seeds(row: Row) -> Cell:
    """How many of the row's seeds have finished."""
    there, wanted = len(row.finished), len(row.plan.runs)
    return Cell(str(there) if there == wanted else f"{there} of {wanted}", (("", there),))


def pooled(row: Row, key: str, count: str) -> Cell:
    """Wilson's interval of a measure at its mean over the seeds; nothing where the row lacks it."""
    values = row.values(key)
    if not values:
        return EMPTY
    clips = int(row.values(count)[0])
    return interval(*wilson_interval(mean(values) / 100 * clips, clips))


def optimism_table(rows: Sequence[Row]) -> Table:
    """Set the best epoch on the test clips beside the last, for rows that chose one so."""
    header = (
        "trained",
        "last epoch %",
        "best epoch on the test %",
        "optimism, points",
        "epochs to choose from",
    )
    chosen = [(row, [run for run in row.finished if _selection(run) == "best_on_test"]) for row in rows]
    return Table(header, [_choice(row, runs) for row, runs in chosen if runs])


def _choice(row: Row, runs: Sequence[Finished]) -> list[Cell]:
    last = [float(run.evaluation["top1"]) for run in runs]
    best = [float(run.evaluation["selected"]["top1"]) for run in runs]
    gained = [high - low for high, low in zip(best, last, strict=True)]
    measured = max(sum(epoch["split"] == "test" for epoch in run.epochs) for run in runs)
    return [words(row.name), spread(last), spread(best), spread(gained, "+.1f"), number(measured, ".0f")]


def _selection(run: Finished) -> str:
    return str(run.evaluation.get("selected", {}).get("selection", ""))
