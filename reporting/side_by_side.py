"""Confusions of two rows beside each other, and the clips on which rows disagree, as the page shows them.

The page itself draws them from plain values, since it is its reader who picks the rows: `page.js`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from reporting.collect import Finished, FoundTable
from reporting.page import Section

_TEXT = (
    "Pick two rows. Lines are the true actions, columns the predicted ones; in the difference, blue is more "
    "often said by the second row, orange by the first. A click on a cell lists its clips (by keyboard: "
    "arrows, then Enter); a clip whose attention was drawn plays here. Shown are the rows' first seeds."
)


def confusions_section(table: FoundTable, plays: Mapping[str, str] | None = None) -> Section:
    """Let the page's reader compare two rows, cell by cell and clip by clip.

    Args:
        table: One with finished runs.
        plays: Where a clip plays: an address beside the page, by the clip's name.
    """
    runs = {row.name: row.finished[0] for row in table.shown}
    first = next(iter(runs.values()))
    same = {name: run for name, run in runs.items() if _comparable(run, first)}
    note = ""
    if left_out := [name for name in runs if name not in same]:
        note = f"Not here, since they have other classes or clips: {'; '.join(left_out)}."
    data = {
        "classes": first.class_names,
        "clips": first.predictions.keys,
        "labels": first.predictions.labels.tolist(),
        "rows": [{"name": name, "predicted": predicted(run, first)} for name, run in same.items()],
        "plays": dict(plays or {}),
    }
    return Section("Confusions, side by side", [_TEXT], note=note, compared=data, key="confusions")


def _comparable(run: Finished, first: Finished) -> bool:
    return run.class_names == first.class_names and set(run.predictions.keys) == set(first.predictions.keys)


def predicted(run: Finished, first: Finished) -> list[int]:
    """List the predicted class of each clip, in the order of another run's clips."""
    places = {key: place for place, key in enumerate(run.predictions.keys)}
    ours = run.predictions.predicted
    return [int(ours[places[key]]) for key in first.predictions.keys]


def disagreements(runs: Sequence[Finished], most: int) -> tuple[str, ...]:
    """Name the clips that tell runs apart: those that half of the runs have right first, classes in turn.

    Args:
        runs: At least one; those with other clips than the first are left out.
        most: Clips to name at most; those on which all are right, or all wrong, are not named.
    """
    first = runs[0]
    alike = [run for run in runs if _comparable(run, first)]
    right = np.array([predicted(run, first) for run in alike]) == first.predictions.labels  # (M, N)
    shares = right.mean(axis=0)
    apart, seen = np.abs(shares - 0.5), Counter[int]()
    order = list[tuple[float, int, str]]()
    for place in np.lexsort((first.predictions.keys, apart)).tolist():
        label = int(first.predictions.labels[place])
        order.append((float(apart[place]), seen[label], first.predictions.keys[place]))
        seen[label] += 1
    return tuple(key for distance, _, key in sorted(order) if distance < 0.5)[:most]
