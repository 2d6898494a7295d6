"""Which classes, verbs and nouns each row knows.

Axes: K classes, G groups of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from data.actions import noun_ids, nouns, verb, verb_ids
from metrics.accuracy import Floats, Ints
from reporting.collect import Row
from reporting.table import Cell, Table, number, words

HOW_TO_READ = (
    "Share of a class's test clips that are right, in per cent, the mean over seeds. Many classes have few "
    "test clips, so a single class proves little; of verbs and nouns, a clip is right when its action's verb "
    "or noun is that of the predicted action."
)
_NAMED = 3


def extremes_table(rows: Sequence[Row]) -> Table:
    """Name the classes each row knows best and least, and what it mistakes most often."""
    header = ("row", "best classes, %", "worst classes, %", "most often mistaken, clips")
    return Table(header, [[words(row.name), *_extremes(row)] for row in rows])


def _extremes(row: Row) -> list[Cell]:
    names = row.finished[0].class_names
    shares = group_shares(row, np.arange(len(names)))
    order = [label for label in np.argsort(-shares, kind="stable").tolist() if not np.isnan(shares[label])]
    best, worst = order[:_NAMED], order[::-1][:_NAMED]
    said = ["; ".join(f"{names[label]} {shares[label]:.0f}" for label in some) for some in (best, worst)]
    return [words(text) for text in (*said, _mistakes(row))]


def _mistakes(row: Row) -> str:
    names, pairs = row.finished[0].class_names, Counter[tuple[int, int]]()
    for run in row.finished:
        predicted = run.predictions.logits.argmax(axis=1).tolist()
        pairs.update(
            (t, p) for t, p in zip(run.predictions.labels.tolist(), predicted, strict=True) if t != p
        )
    runs = len(row.finished)
    return "; ".join(f"{names[t]} for {names[p]} {n / runs:.3g}" for (t, p), n in pairs.most_common(_NAMED))


def class_table(rows: Sequence[Row]) -> Table:
    """Give the accuracy of each class under each row."""
    return _matrix("class", rows, lambda names: np.arange(len(names)), lambda name: name)


def verb_table(rows: Sequence[Row]) -> Table:
    """Give the accuracy of each verb under each row."""
    return _matrix("verb", rows, verb_ids, verb)


def noun_table(rows: Sequence[Row]) -> Table:
    """Give the accuracy of each list of nouns under each row."""
    return _matrix("nouns", rows, noun_ids, nouns)


def _matrix(
    title: str, rows: Sequence[Row], group: Callable[[Sequence[str]], Ints], name: Callable[[str], str]
) -> Table:
    first = rows[0].finished[0]
    ids, same = group(first.class_names), [r for r in rows if r.finished[0].class_names == first.class_names]
    columns = [group_shares(row, ids) for row in same]
    clips = np.bincount(ids[first.predictions.labels], minlength=int(ids.max()) + 1)
    named = {number: name(text) for text, number in zip(first.class_names, ids.tolist(), strict=True)}
    lines = [
        [words(named[g]), number(clips[g], ".0f"), *(number(float(column[g]), ".0f") for column in columns)]
        for g in sorted(named)
        if clips[g]
    ]
    return Table((title, "clips", *(row.name for row in same)), lines)


def group_shares(row: Row, groups: Ints) -> Floats:
    """Give the share of each group's clips whose predicted class is of the group, the mean over seeds.

    Args:
        row: One with finished runs.
        groups: Group of every class, from 0. Shape: (K,).

    Returns:
        In per cent, NaN for a group without clips. Shape: (G,).
    """
    shares = [_shares(run.predictions.logits, run.predictions.labels, groups) for run in row.finished]
    return np.asarray(np.mean(shares, axis=0))


def _shares(logits: Floats, labels: Ints, groups: Ints) -> Floats:
    true, size = groups[labels], int(groups.max()) + 1
    right = true == groups[logits.argmax(axis=1)]
    counts = np.bincount(true, minlength=size)
    return np.asarray(100 * np.bincount(true, right, size) / np.where(counts, counts, np.nan))
