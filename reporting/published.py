"""Published and reported accuracy on GTEA61 beside ours, with what differs in the protocols.

Top-1 in per cent on clips of user S2. A recipe's training says by `published: joint` which kind its row is
of; the number of frames is that of the test. The same numbers stand in docs/published.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from reporting.collect import Row
from reporting.results import pooled, seeds
from reporting.table import Cell, Table, number, spread, words


@dataclass(frozen=True)
class Source:
    """Who reported what.

    Attributes:
        name: Who.
        protocol: How it differs from how we measure.
        top1: Accuracy in per cent by what was trained: kind and, but for flow, the number of frames.
    """

    name: str
    protocol: str
    top1: Mapping[str, float]


TEST_CLIPS = 116
HOW_TO_READ = (
    f"Ours: the mean over seeds of the last epoch, all {TEST_CLIPS} test clips of GTEA61. The difference is "
    "ours less theirs; where our interval holds their number, these clips can't tell the two apart. Choosing "
    "the best epoch on the test user adds 3.5 to 6 points, and who did so mostly does not say."
)
_STUDENTS = "one run, no fixed seed, choice of the epoch not stated"


_KINDS = ("convlstm", "attention", "flow", "joint", "classification", "regression")
_COURSE = [key for kind in _KINDS for key in ([kind] if kind == "flow" else [f"{kind}-7", f"{kind}-16"])]


def _course(*top1: float | None) -> dict[str, float]:
    """Name a course group's numbers: of each kind at 7 and at 16 frames, flow once."""
    return {key: value for key, value in zip(_COURSE, top1, strict=True) if value is not None}


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
    Source(
        "course group B",
        _STUDENTS,
        _course(52.6, 57.8, 56.9, 64.7, 42.2, 64.7, 68.1, 56, 65, 51, 62),
    ),
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


def published_table(rows: Sequence[Row]) -> Table:
    """Give a line for each row and source that has its number; other rows are left out."""
    header = ("row", "seeds", "ours %", "95 % interval", "theirs %", "difference", "source", "their protocol")
    lines = [
        _line(row, source, source.top1[key])
        for row in rows
        for source in SOURCES
        if row.finished and (key := what_was_tested(row)) in source.top1
    ]
    return Table(header, lines)


def what_was_tested(row: Row) -> str:
    """Name what a row reproduces as `Source.top1` does, such as "joint-25"; empty for nothing."""
    kind = row.plan.published or ""
    frames = re.match(r"(\d+) frames", str(row.finished[0].evaluation.get("protocol", "")))
    return f"{kind}-{frames[1]}" if kind and frames else kind


def _line(row: Row, source: Source, theirs: float) -> list[Cell]:
    ours = row.values("top1")
    cells = [words(row.name), seeds(row), spread(ours), pooled(row, "top1", "n_clips"), number(theirs)]
    return [*cells, number(mean(ours) - theirs, "+.1f"), words(source.name), words(source.protocol)]
