"""Which rows differ by more than the luck of the clips, corrected for the number of comparisons."""

from collections.abc import Sequence
from itertools import combinations

from core.errors import UserError
from metrics.accuracy import Ints
from metrics.predictions import clip_scores
from metrics.statistics import Difference, holm, paired_difference
from reporting.collect import FoundTable, Row
from reporting.table import EMPTY, Cell, Table, interval, number, p_value, without_gaps, words

Pair = tuple[Row, Row]
HOW_TO_COMPARE = (
    "The same clips, and the same seeds, under both trainings. The first interval draws the clips anew "
    "(bootstrap) and holds for these very networks; the second draws seeds as well, and says what another "
    "training might give. p is McNemar's exact test for one seed; for several it is a sign-flip permutation "
    "test over clips, a clip's score being its mean over the seeds. Holm's p is corrected for the number of "
    "lines: below 0.05, the difference is hardly luck of the clips, however many rows were compared."
)
_MANY = 10
_HEADER = (
    "row",
    "against",
    "clips",
    "points more",
    "95 % interval, clips",
    "95 % interval, clips and seeds",
    "seeds that agree",
    "p",
    "p, Holm",
)


def choose_pairs(table: FoundTable) -> list[Pair]:
    """Pair rows that have finished runs: with the baseline, or each with each, or many with the first."""
    rows, baseline = list(table.shown), table.plan.baseline
    if baseline is None and len(rows) <= _MANY:
        return [(later, earlier) for earlier, later in combinations(rows, 2)]
    against = [row for row in rows if row.name == baseline] if baseline is not None else rows[:1]
    return [(row, other) for other in against for row in rows if row is not other]


def comparison_table(pairs: Sequence[Pair], rivals: Ints | None = None) -> tuple[Table, str]:
    """Compare accuracy, clip by clip.

    Args:
        pairs: What is compared with what.
        rivals: As of `metrics.paired.clip_scores`, to compare how often a clip's class beats its rival.

    Returns:
        The table, without the columns of several seeds where there is one; and which pairs could not be
        compared and why, empty when all could.
    """
    found: dict[tuple[str, str], Difference] = {}
    left_out: dict[str, list[str]] = {}
    for row, other in pairs:
        try:
            found[row.name, other.name] = compare(row, other, rivals)
        except UserError as error:
            left_out.setdefault(str(error), []).append(f"{row.name} against {other.name}")
    note = " ".join(f"Not compared: {'; '.join(names)} ({why})." for why, names in left_out.items())
    corrected = holm([difference.p for difference in found.values()])
    lines = [
        _line(*names, difference, p) for (names, difference), p in zip(found.items(), corrected, strict=True)
    ]
    return without_gaps(Table(_HEADER, lines)), note


def compare(row: Row, other: Row, rivals: Ints | None = None) -> Difference:
    """Compare two rows over the seeds that both have.

    Raises:
        UserError: They have no seed, or not the clips, in common.
    """
    runs = [{run.plan.seed: run.predictions for run in one.finished} for one in (row, other)]
    shared = [seed for seed in runs[0] if seed in runs[1]]
    if not shared:
        raise UserError("they have no finished seed in common")
    both = clip_scores([one[seed] for one in runs for seed in shared], rivals)
    return paired_difference(both[: len(shared)], both[len(shared) :])


def _line(row: str, other: str, difference: Difference, corrected: float) -> list[Cell]:
    several = difference.seeds > 1
    agree = Cell(f"{difference.agree} of {difference.seeds}", (("", difference.agree),))
    return [
        words(row),
        words(other),
        number(difference.clips, ".0f"),
        number(difference.points, "+.1f"),
        interval(difference.low, difference.high, "+.1f"),
        interval(difference.seeds_low, difference.seeds_high, "+.1f") if several else EMPTY,
        agree if several else EMPTY,
        p_value(difference.p),
        p_value(corrected),
    ]
