"""How well each row knows each class, verb and noun, and which it mistakes for which.

Axes: K classes, G groups of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from data.actions import noun_ids, nouns, verb, verb_ids
from metrics.accuracy import Floats, Ints
from reporting.collect import FoundTable, Row, labels
from reporting.page import Section
from reporting.tables import Table, number, words

_NAMED = 3


def classes_section(table: FoundTable) -> Section:
    """The extremes, and folded all verbs, nouns and classes."""
    text = (
        "Share of a class's test clips that are right, in per cent, the mean over seeds. Many classes have "
        "few test clips, so a single class proves little; of verbs and nouns, a clip is right when its "
        "action's verb or noun is that of the predicted action."
    )
    rows = table.shown
    folded = [
        Section("Verbs", table=group_table("verb", rows, verb_ids, verb), folded=True),
        Section("Nouns", table=group_table("nouns", rows, noun_ids, nouns), folded=True),
        Section("Every class", table=class_table(rows), folded=True, key="classes"),
    ]
    found = Table.of(
        words("row", [row.name for row in rows]),
        words("best classes, %", [_extremes(row, best=True) for row in rows]),
        words("worst classes, %", [_extremes(row, best=False) for row in rows]),
        words("most often mistaken, clips", map(_mistakes, rows)),
    )
    return Section("Classes, verbs and nouns", [text], found, parts=folded, key="per-class")


def _extremes(row: Row, best: bool) -> str:
    names = row.finished[0].class_names
    shares = group_shares(row, np.arange(len(names)))
    order = [label for label in np.argsort(-shares, kind="stable").tolist() if not np.isnan(shares[label])]
    named = order[:_NAMED] if best else order[::-1][:_NAMED]
    return "; ".join(f"{names[label]} {shares[label]:.0f}" for label in named)


def _mistakes(row: Row) -> str:
    names, pairs = row.finished[0].class_names, Counter[tuple[int, int]]()
    for run in row.finished:
        true, predicted = run.predictions.labels.tolist(), run.predictions.predicted.tolist()
        pairs.update((t, p) for t, p in zip(true, predicted, strict=True) if t != p)
    runs = len(row.finished)
    return "; ".join(f"{names[t]} for {names[p]} {n / runs:.3g}" for (t, p), n in pairs.most_common(_NAMED))


def class_table(rows: Sequence[Row]) -> Table:
    """List the accuracy of each class under each row."""
    return group_table("class", rows, lambda names: np.arange(len(names)), lambda name: name)


def group_table(
    title: str, rows: Sequence[Row], number_of: Callable[[Sequence[str]], Ints], name: Callable[[str], str]
) -> Table:
    """List the accuracy of each group of classes, such as those of one verb, under each row.

    Args:
        title: Heading of the groups.
        rows: Those tested on the first one's clips are shown.
        number_of: Numbers the group of every class.
        name: Names the group of a class.
    """
    first = rows[0].finished[0]
    groups = number_of(first.class_names)  # (K,)
    clips = np.bincount(groups[first.predictions.labels], minlength=int(groups.max()) + 1)  # (G,)
    named = dict(zip(groups.tolist(), map(name, first.class_names), strict=True))
    shown = np.flatnonzero(clips)
    same = [row for row in rows if labels(row.finished[0]) == labels(first)]
    return Table.of(
        words(title, [named[group] for group in shown.tolist()]),
        number("clips", clips[shown], ".0f"),
        *(number(row.name, group_shares(row, groups)[shown], ".0f") for row in same),
    )


def group_shares(row: Row, groups: Ints) -> Floats:
    """Compute the share of each group's clips whose predicted class is of the group, the mean over seeds.

    Args:
        row: One with finished runs.
        groups: Group of every class, from 0. Shape: (K,).

    Returns:
        In per cent, NaN for a group without clips. Shape: (G,).
    """
    shares = []
    for run in row.finished:
        true, predicted = groups[run.predictions.labels], groups[run.predictions.predicted]
        clips = np.bincount(true, minlength=int(groups.max()) + 1)
        right = np.bincount(true, true == predicted, len(clips))
        shares.append(100 * right / np.where(clips, clips, np.nan))
    return np.asarray(np.mean(shares, axis=0))
