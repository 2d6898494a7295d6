"""How well each row knows each class, verb and noun, and which it mistakes for which.

Axes: K classes, G groups of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from data.actions import noun_ids, nouns, verb, verb_ids
from metrics.accuracy import Floats, Ints
from reporting.collect import FoundTable, Row
from reporting.page import Picture, Section
from reporting.tables import Column, Number, Table, Words

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
        Section("Verbs", table=verb_table(rows), folded=True),
        Section("Nouns", table=noun_table(rows), folded=True),
        Section("Every class", table=class_table(rows), folded=True, key="classes"),
    ]
    found = extremes_table(rows)
    return Section("Classes, verbs and nouns", [text], found, parts=folded, key="per-class")


def extremes_table(rows: Sequence[Row]) -> Table:
    """Name the classes each row knows best and worst, and its most frequent mistakes."""
    return Table.of(
        rows,
        {
            Words("row"): lambda row: row.name,
            Words("best classes, %"): lambda row: _extremes(row, best=True),
            Words("worst classes, %"): lambda row: _extremes(row, best=False),
            Words("most often mistaken, clips"): _mistakes,
        },
    )


def _extremes(row: Row, best: bool) -> str:
    names = row.finished[0].class_names
    shares = group_shares(row, np.arange(len(names)))
    order = [label for label in np.argsort(-shares, kind="stable").tolist() if not np.isnan(shares[label])]
    named = order[:_NAMED] if best else order[::-1][:_NAMED]
    return "; ".join(f"{names[label]} {shares[label]:.0f}" for label in named)


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
    """List the accuracy of each class under each row."""
    return _group_table("class", rows, lambda names: np.arange(len(names)), lambda name: name)


def verb_table(rows: Sequence[Row]) -> Table:
    """List the accuracy of each verb under each row."""
    return _group_table("verb", rows, verb_ids, verb)


def noun_table(rows: Sequence[Row]) -> Table:
    """List the accuracy of each list of nouns under each row."""
    return _group_table("nouns", rows, noun_ids, nouns)


def _group_table(
    title: str, rows: Sequence[Row], group: Callable[[Sequence[str]], Ints], name: Callable[[str], str]
) -> Table:
    first = rows[0].finished[0]
    groups = group(first.class_names)  # (K,)
    clips = np.bincount(groups[first.predictions.labels], minlength=int(groups.max()) + 1)  # (G,)
    named = {number: name(text) for text, number in zip(first.class_names, groups.tolist(), strict=True)}
    columns: dict[Column, Callable[[int], object]] = {
        Words(title): lambda number: named[number],
        Number("clips", ".0f"): lambda number: clips[number],
    }
    for row in rows:
        if row.finished[0].class_names == first.class_names:  # else its classes have other numbers
            columns[Number(row.name, ".0f")] = group_shares(row, groups).__getitem__
    return Table.of([number for number in sorted(named) if clips[number]], columns)


def group_shares(row: Row, groups: Ints) -> Floats:
    """Compute the share of each group's clips whose predicted class is of the group, the mean over seeds.

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


def confusions_section(table: FoundTable) -> Section | None:
    """The confusion matrix of each row's first seed."""
    firsts = [(row, row.finished[0]) for row in table.shown]
    pictures = [
        Picture(run.folder / "confusion.png", f"{row.name}, seed {run.plan.seed}")
        for row, run in firsts
        if (run.folder / "confusion.png").exists()
    ]
    if not pictures:
        return None
    text = "Test clips of the first seed: lines are the true actions, columns the predicted ones."
    folded = Section(f"{len(pictures)} matrices", pictures=pictures, folded=True, key="matrices")
    return Section("Confusions", [text], parts=[folded])
