"""Accuracy of each row with its intervals, rows compared with each other, and next to published numbers."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

from core.errors import UserError
from data.actions import reversed_actions
from metrics.accuracy import Floats
from metrics.predictions import clip_scores
from metrics.statistics import Difference, holm, paired_differences, wilson_interval
from reporting.charts import Chart, Mark, Pair, Panel, dot_plot, of_seeds, triangle
from reporting.collect import FoundTable, Row
from reporting.page import Section
from reporting.tables import Table, count, interval, number, p_value, spread, words

HOW_TO_READ = (
    "Accuracy of the last epoch on the test clips, whose user was not trained on: the mean over seeds and, "
    "after the ± sign, the standard deviation between seeds. The interval is Wilson's at this mean for the "
    "number of test clips: all seeds are tested on the same clips, so more seeds do not make it narrower."
)
ORDER = (
    "Order: of the clips whose action has a reverse in time (open and close, take and put), the share that "
    "scores above this reverse; 50 % is chance. Turned: the share of these clips whose decision between the "
    "two changes when their frames are shown in reverse; it is 0 for a network that can't know the order."
)
HOW_TO_COMPARE = (
    "The same clips, and the same seeds, under both trainings. The first interval draws the clips at random "
    "(bootstrap) and holds for these very networks; the second draws seeds as well, and tells what another "
    "training might give. p is McNemar's exact test for one seed; for several it is a sign-flip permutation "
    "test over clips, a clip's score being its mean over the seeds. Holm's p is corrected for the number of "
    "lines: below 0.05, the choice of clips hardly explains the difference, however many rows were "
    "compared."
)
_OPTIMISM = (
    "The accuracy that is reported where the epoch with the best result on the test clips is kept. Its "
    "advantage over the last epoch is optimism, since the test clips chose the epoch; it is not the number "
    "to report."
)
_MANY = 10
"""Rows beyond which each is compared with the first alone."""


def results_section(table: FoundTable) -> Section:
    """Accuracy, with and without the seeds that are missing."""
    text = [HOW_TO_READ, ORDER] if any(row.values("order") for row in table.rows) else [HOW_TO_READ]
    return Section("Results", text, results_table(table.rows), chart=results_chart(table.shown))


_CHANCE = 50.0  # of two actions that are each other's reverse in time
_PANELS = (("top-1 %", "top1", "n_clips"), ("verb %", "verb", "n_clips"), ("noun %", "noun", "n_clips"))


def results_chart(rows: Sequence[Row]) -> Chart:
    """Draw the accuracy of each row: actions, verbs, nouns, and order in time."""

    def marks(key: str, clips: str) -> list[Mark | None]:
        return [of_seeds(row.values(key), pooled(row, key, clips)) for row in rows]

    panels = [Panel(title, marks(key, clips)) for title, key, clips in _PANELS]
    panels.append(Panel("order %", marks("order", "n_order"), chance=_CHANCE))
    caption = (
        "Mean over seeds with the 95 % interval of the test clips; small dots are the seeds. Dashed: chance."
    )
    return dot_plot([row.name for row in rows], panels, caption)


def results_table(rows: Sequence[Row]) -> Table:
    """List the accuracy of each row."""
    return Table.of(
        words("trained", [row.name for row in rows]),
        count("seeds", map(seeds, rows)),
        spread("top-1 %", [row.values("top1") for row in rows]),
        interval("95 % interval", [pooled(row, "top1", "n_clips") for row in rows]),
        spread("mean class %", [row.values("mean_class") for row in rows]),
        spread("verb %", [row.values("verb") for row in rows]),
        spread("noun %", [row.values("noun") for row in rows]),
        spread("order %", [row.values("order") for row in rows]),
        interval("order, 95 % interval", [pooled(row, "order", "n_order") for row in rows]),
        spread("turned %", [row.values("turned") for row in rows]),
    )


def seeds(row: Row) -> tuple[int, int]:
    """Count the row's seeds that have finished, and all of them."""
    return len(row.finished), len(row.plan.runs)


def pooled(row: Row, key: str, clips: str) -> tuple[float, float] | None:
    """Wilson's interval of a measure at its mean over the seeds; None where the row lacks it."""
    if not (values := row.values(key)):
        return None
    trials = int(row.values(clips)[0])
    return wilson_interval(mean(values) / 100 * trials, trials)


def optimism_section(table: FoundTable) -> Section | None:
    """The best epoch on the test clips next to the last, for rows that chose one so."""
    chosen = {
        row.name: runs
        for row in table.shown
        if (runs := [run for run in row.finished if run.selected.get("selection") == "best_on_test"])
    }
    last = [[float(run.evaluation["top1"]) for run in runs] for runs in chosen.values()]
    best = [[float(run.selected["top1"]) for run in runs] for runs in chosen.values()]
    gained = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(last, best, strict=True)]
    epochs = [max((run.epochs["split"] == "test").sum() for run in runs) for runs in chosen.values()]
    found = Table.of(
        words("trained", chosen),
        spread("last epoch %", last),
        spread("best epoch on the test %", best),
        spread("optimism, points", gained, "+.1f"),
        number("epochs to choose from", epochs, ".0f"),
    )
    title = "Last epoch and best on the test"
    return Section(title, [_OPTIMISM], found, key="optimism") if chosen else None


def comparisons_section(table: FoundTable) -> Section | None:
    """Rows compared clip by clip; or the reason why not, where the baseline has no finished run."""
    pairs, baseline = choose_pairs(table), table.plan.baseline
    title, key = "Which rows differ?", "comparisons"
    if baseline is not None and baseline not in {row.name for row in table.shown}:
        return Section(title, note=f"{baseline}, the baseline, has no finished run yet.", key=key)
    return comparison(title, pairs, [HOW_TO_COMPARE], key=key) if pairs else None


def order_section(table: FoundTable) -> Section | None:
    """Rows compared in how often a clip's action scores above its reverse in time."""
    pairs = [pair for pair in choose_pairs(table) if all(row.values("order") for row in pair)]
    if not pairs:
        return None
    text = "Whether a clip's action scores above its reverse in time, compared in the same way."
    return comparison("Which rows differ in knowing the order?", pairs, [text], order=True, key="order")


def choose_pairs(table: FoundTable) -> list[tuple[Row, Row]]:
    """Pair the rows that have finished runs: with the baseline, or each with each, or many with the first."""
    rows, baseline = list(table.shown), table.plan.baseline
    if baseline is None and len(rows) <= _MANY:
        return [(later, earlier) for earlier, later in combinations(rows, 2)]
    against = [row for row in rows if row.name == baseline] if baseline is not None else rows[:1]
    return [(row, other) for other in against for row in rows if row is not other]


def comparison(
    title: str,
    pairs: Sequence[tuple[Row, Row]],
    text: Sequence[str] = (),
    order: bool = False,
    key: str = "",
) -> Section:
    """Compare accuracy, clip by clip: a chart and a table of differences, and what could not be compared.

    Args:
        title: Of the section.
        pairs: Rows, and the rows that they are compared with.
        text: Of the section.
        order: Compare how often a clip's action beats its reverse in time, not how often it is right.
        key: Of the section.
    """
    scores: dict[tuple[str, str], tuple[Floats, Floats]] = {}
    left_out: dict[str, list[str]] = {}
    for row, other in pairs:
        try:
            scores[row.name, other.name] = shared_scores(row, other, order=order)
        except UserError as error:
            left_out.setdefault(str(error), []).append(f"{row.name} against {other.name}")
    note = " ".join(f"Not compared: {'; '.join(names)} ({why})." for why, names in left_out.items())
    if not scores:
        return Section(title, text, note=note, key=key)
    found = paired_differences(list(scores.values()))
    corrected = holm([each.p for each in found])
    table = Table.of(
        words("row", [row for row, _ in scores]),
        words("against", [other for _, other in scores]),
        number("clips", [each.clips for each in found], ".0f"),
        number("points more", [each.points for each in found], "+.1f"),
        interval("95 % interval, clips", [(each.low, each.high) for each in found], "+.1f"),
        interval(
            "95 % interval, clips and seeds",
            [(each.seeds_low, each.seeds_high) if each.seeds > 1 else None for each in found],
            "+.1f",
        ),
        count(
            "seeds that agree",
            [(each.agree, each.seeds) if each.seeds > 1 else None for each in found],
            when_all=True,
        ),
        p_value("p", [each.p for each in found]),
        p_value("p, Holm", corrected),
    )
    names = list(dict.fromkeys(row.name for pair in pairs for row in pair))
    if len(names) > 2 and len(pairs) == len(names) * (len(names) - 1) / 2:
        chart = _all_pairs([earlier.name for _, earlier in pairs], scores, found, corrected)
    else:
        chart = _each_pair(scores, found, corrected)
    return Section(title, text, table, note, chart=chart, key=key)


def _all_pairs(
    order: Sequence[str],
    pairs: Collection[tuple[str, str]],
    found: Sequence[Difference],
    corrected: Sequence[float],
) -> Chart:
    """Draw all rows against each other, in the order in which they are first compared with."""
    differences = [
        Pair(row, other, each.points, p)
        for (row, other), each, p in zip(pairs, found, corrected, strict=True)
    ]
    names = list(dict.fromkeys([*order, *(each.row for each in differences)]))
    caption = (
        "Points that the row has more than the column. Framed: Holm's p is below 0.05; pale: the choice of "
        "clips may explain it."
    )
    return triangle(names, differences, caption)


def _each_pair(
    pairs: Collection[tuple[str, str]], found: Sequence[Difference], corrected: Sequence[float]
) -> Chart:
    """Draw a line a pair, with its interval over the clips."""
    marks = [
        Mark(each.points, each.low, each.high, strong=p < 0.05)
        for each, p in zip(found, corrected, strict=True)
    ]
    end = max(5.0, *(max(abs(mark.low), abs(mark.high)) for mark in marks))
    against = {other for _, other in pairs}
    title = f"points more than {against.pop()}" if len(against) == 1 else "points more"
    names = [row if title != "points more" else f"{row} − {other}" for row, other in pairs]
    panel = Panel(title, marks, low=-end, high=end, chance=0.0, spec="+.1f")
    caption = "With the 95 % interval over clips. Full dots: Holm's p is below 0.05. Dashed: no difference."
    return dot_plot(names, [panel], caption)


def shared_scores(row: Row, other: Row, *, order: bool = False) -> tuple[Floats, Floats]:
    """Score the clips under two rows over the seeds that both have.

    Args:
        row: The first.
        other: The second.
        order: Whether a clip's action beats its reverse in time, for clips whose action has one.

    Returns:
        1 or 0 for each seed and clip under each row. Shapes: (S, N).

    Raises:
        UserError: They have no seed in common, or not the classes and clips.
    """
    names = row.finished[0].class_names
    if other.finished[0].class_names != names:
        raise UserError("they were trained on different classes")
    runs = [{run.plan.seed: run.predictions for run in one.finished} for one in (row, other)]
    shared = [seed for seed in runs[0] if seed in runs[1]]
    if not shared:
        raise UserError("they have no finished seed in common")
    both = clip_scores(
        [one[seed] for one in runs for seed in shared], reversed_actions(names) if order else None
    )
    return both[: len(shared)], both[len(shared) :]


@dataclass(frozen=True)
class Source:
    """Numbers that others published or reported on GTEA61: top-1 in per cent on clips of user S2.

    Attributes:
        name: The authors.
        protocol: How their protocol differs from ours.
        top1: Accuracy by what was trained: its kind and, except for flow, the number of frames.
    """

    name: str
    protocol: str
    top1: Mapping[str, float]


TEST_CLIPS = 116
_PUBLISHED = (
    f"Ours: the mean over seeds of the last epoch on all {TEST_CLIPS} test clips of GTEA61. The difference "
    "is ours minus theirs; where our interval contains their number, these clips can't tell the two apart. "
    "Choosing the best epoch on the test user raises a number, and most of those who did so do not say it."
)
_KINDS = ("convlstm", "attention", "flow", "joint", "classification", "regression")
_COURSE = [key for kind in _KINDS for key in ([kind] if kind == "flow" else [f"{kind}-7", f"{kind}-16"])]
_STUDENTS = "one run, no fixed seed, choice of the epoch not stated"


def _course(*top1: float | None) -> dict[str, float]:
    """Name the numbers of a course group: of each kind at 7 and at 16 frames, flow once."""
    return {key: value for key, value in zip(_COURSE, top1, strict=True) if value is not None}


# The same numbers stand in docs/published.md.
SOURCES = (
    Source(
        "Ego-RNN (Sudhakaran and Lanz, BMVC 2018)",
        "by its author's word the best of several runs; users of its code reached 71.6 and 75 when joint",
        {"attention-25": 63.79, "joint-25": 77.59},
    ),
    Source(
        "SparNet (Planamente et al., arXiv 2002.03982)",
        "mean of 3 runs; whole backbone trained, 500 epochs, batches of 4; MS rows have no attention",
        {
            "convlstm-7": 73.85,
            "convlstm-25": 73.56,
            "attention-7": 65.22,
            "attention-25": 66.95,
            "classification-7": 80.18,
            "classification-25": 78.16,
        },
    ),
    Source(
        "course group A",
        f"{_STUDENTS}; 114 clips",
        _course(37.7, 46.5, 55.2, 64.9, 42.2, 57, 73.7, None, 67.5, None, 72.8),
    ),
    Source("course group B", _STUDENTS, _course(52.6, 57.8, 56.9, 64.7, 42.2, 64.7, 68.1, 56, 65, 51, 62)),
    Source(
        "course group C",
        _STUDENTS,
        _course(57.7, 51.7, 58.6, 62.9, 42.2, 67.2, 70.6, 60.2, 74.1, 63.8, 70.6),
    ),
    Source(
        "course group D",
        _STUDENTS,
        _course(50, 57.8, 61.2, 67.2, 46.6, 62.9, 69.8, 65.5, None, 68.1, None),
    ),
    Source(
        "course group E",
        "mean of 3 runs without fixed seeds, choice of the epoch not stated",
        _course(50.0, 50.6, 58.9, 65.5, 46.3, 57.8, 66.4, 60.6, 62.1, 59.8, 66.4),
    ),
)


def published_section(table: FoundTable) -> Section | None:
    """Numbers of others, for rows whose recipe says which they reproduce; a line a row and source."""
    lines = [
        (row, source, source.top1[key])
        for row in table.shown
        for source in SOURCES
        if (key := reproduces(row)) in source.top1
    ]
    if not lines:
        return None
    rows, sources, theirs = zip(*lines, strict=True)
    found = Table.of(
        words("row", [row.name for row in rows]),
        count("seeds", map(seeds, rows)),
        spread("ours %", [row.values("top1") for row in rows]),
        interval("95 % interval", [pooled(row, "top1", "n_clips") for row in rows]),
        number("theirs %", theirs),
        number("difference", [mean(row.values("top1")) - top1 for row, _, top1 in lines], "+.1f"),
        words("source", [source.name for source in sources]),
        words("their protocol", [source.protocol for source in sources]),
    )
    clips = sorted({int(total) for row in table.shown for total in row.values("n_clips")})
    from data.synthetic.command import MARK  # with what draws, which nothing else here needs

    note = ""
    if clips != [TEST_CLIPS]:
        note = f"Ours were tested on {clips[0]} clips; on different data the numbers can't be compared."
    elif made_up := [tree for row in rows for tree in trees(row) if (tree / MARK).exists()]:
        note = f"Ours were tested on {made_up[0]}, which is rendered; the numbers can't be compared."
    return Section("Next to published numbers", [_PUBLISHED], found, note, key="published")


def trees(row: Row) -> list[Path]:
    """List the trees of clips that a row's runs were trained and tested on, as far as they are known."""
    return [Path(tree) for run in row.finished if (tree := run.settings.get("data")) is not None]


def reproduces(row: Row) -> str:
    """Name the published result that a row reproduces as `Source.top1` does, such as "joint-25"; else empty.

    A recipe's training names its kind by `published: joint`; the number of frames is that of the test.
    """
    kind = row.plan.published or ""
    frames = re.match(r"(\d+) frames", str(row.finished[0].evaluation.get("protocol", "")))
    return f"{kind}-{frames[1]}" if kind and frames else kind
