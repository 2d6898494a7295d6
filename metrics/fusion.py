"""Late fusion: the scores that several runs gave the same items, averaged.

Axes: N items, K classes, M runs.
"""

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from core.errors import UserError
from metrics.accuracy import Floats, Ints, cross_entropy, log_softmax
from metrics.predictions import Predictions

Scores = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Member:
    """What one run said about the items.

    Attributes:
        name: How tables call the run.
        class_names: Its K classes.
        predictions: Its scores.
    """

    name: str
    class_names: tuple[str, ...]
    predictions: Predictions

    @property
    def right(self) -> Ints:
        """Which items it has right, 0 or 1. Shape: (N,)."""
        return _right(self.predictions.logits, self.predictions.labels)


@dataclass(frozen=True)
class Choice:
    """The weights that some items would have chosen.

    Attributes:
        weights: Non-negative, summing to 1. Shape: (M,).
        accuracy: Of the fusion with them on these items, in per cent.
        ties: Number of weights on the grid that are as accurate.
    """

    weights: Floats
    accuracy: float
    ties: int


def align(members: Sequence[Member]) -> list[Member]:
    """Bring every run's items into the order of the first one's.

    Raises:
        UserError: The runs know other classes, were measured on other items, or disagree on the true class
            of one; the message names the difference.
    """
    first = members[0]
    for other in members[1:]:
        if other.class_names != first.class_names:
            raise UserError(f"the classes differ: {_difference(first, other, 'class_names')}")
        if set(other.predictions.keys) != set(first.predictions.keys):
            raise UserError(f"the clips differ: {_difference(first, other, 'keys')}")
    aligned = [restrict(member, first.predictions.keys) for member in members]
    for other in aligned[1:]:
        wrong = np.flatnonzero(other.predictions.labels != first.predictions.labels)
        if len(wrong):
            clip = first.predictions.keys[wrong[0]]
            raise UserError(f"{first.name} and {other.name} disagree on the true class of {clip}")
    return aligned


def restrict(member: Member, keys: tuple[str, ...]) -> Member:
    """Keep a run's items of some keys, in the order of the keys."""
    own = member.predictions
    position = {key: number for number, key in enumerate(own.keys)}
    rows = np.array([position[key] for key in keys])
    return replace(
        member, predictions=replace(own, keys=keys, labels=own.labels[rows], logits=own.logits[rows])
    )


def fuse(members: Sequence[Member], weights: Floats, scores: Scores = "logits") -> Predictions:
    """Average the scores of aligned runs.

    Args:
        members: From `align`.
        weights: One a run, non-negative; scaled to sum to 1. Shape: (M,).
        scores: Average the logits (as Ego-RNN's late fusion does), or the softmax probabilities.

    Returns:
        The fused scores; of probabilities the logarithm, so that their softmax gives them back.
    """
    shares = np.asarray(weights, float) / np.sum(weights)
    stacked = np.stack([member.predictions.logits.astype(float) for member in members])
    if scores == "probabilities":
        mean = np.tensordot(shares, np.exp(log_softmax(stacked)), axes=1)
        fused = np.log(np.maximum(mean, np.finfo(float).tiny))
    else:
        fused = np.tensordot(shares, stacked, axes=1)
    own = members[0].predictions
    return Predictions(own.keys, own.labels, fused, cross_entropy(fused, own.labels), {})


def choose_weights(members: Sequence[Member], scores: Scores = "logits") -> Choice:
    """Find the weights with the highest accuracy on the items, among equals those of the lowest loss.

    The result is only as honest as the items: on clips that the runs have learned from, and know by heart,
    it says little.
    """
    grid = weight_grid(len(members))
    found = [fuse(members, weights, scores) for weights in grid]
    accuracy = np.array([_right(one.logits, one.labels).mean() for one in found])
    best = np.flatnonzero(accuracy == accuracy.max())
    chosen = min(best, key=lambda number: found[number].loss)
    return Choice(grid[chosen], 100.0 * float(accuracy.max()), len(best))


def weight_grid(runs: int) -> Floats:
    """List weights that sum to 1, in steps of 0.05 for two runs and of 0.1 for more. Shape: (G, M)."""
    steps = 20 if runs == 2 else 10
    parts = [part for part in itertools.product(range(steps + 1), repeat=runs - 1) if sum(part) <= steps]
    return np.array([[*part, steps - sum(part)] for part in parts]) / steps


def changes_by_class(fused: Predictions, member: Member) -> tuple[Ints, Ints]:
    """Count for each class the items that the fusion repairs, and those that it breaks. Shapes: (K,)."""
    ours, theirs = _right(fused.logits, fused.labels), member.right
    classes = fused.logits.shape[1]
    repaired, broken = fused.labels[(ours == 1) & (theirs == 0)], fused.labels[(ours == 0) & (theirs == 1)]
    return np.bincount(repaired, minlength=classes), np.bincount(broken, minlength=classes)


def _right(logits: Floats, labels: Ints) -> Ints:
    right: Ints = (logits.argmax(axis=1) == labels).astype(np.int64)
    return right


def _difference(first: Member, other: Member, what: Literal["class_names", "keys"]) -> str:
    ours, theirs = (
        member.class_names if what == "class_names" else member.predictions.keys for member in (first, other)
    )
    only_ours, only_theirs = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    if not only_ours and not only_theirs:
        return f"{first.name} and {other.name} have the same ones in another order"
    return (
        f"{first.name} has {len(ours)}, {other.name} has {len(theirs)}; only {first.name} has "
        f"{only_ours[:5]}, only {other.name} has {only_theirs[:5]}"
    )


def changes_table(fused: Predictions, members: Sequence[Member]) -> str:
    """Write as CSV what the fusion repairs and breaks in each class, against every run and against the best.

    The verdict "helped" or "hurt" is by the number of right items against the run that is best overall.
    """
    best = max(members, key=lambda member: member.right.mean())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    against = [f"{what} of {member.name}" for member in members for what in ("right", "repaired", "broken")]
    table.writerow(["class", "clips", "right", *against, "verdict"])
    by_run = [changes_by_class(fused, member) for member in members]
    for label in np.unique(fused.labels):
        own = fused.labels == label
        right = int(_right(fused.logits[own], fused.labels[own]).sum())
        cells = [
            [int(member.right[own].sum()), int(repaired[label]), int(broken[label])]
            for member, (repaired, broken) in zip(members, by_run, strict=True)
        ]
        gain = right - int(best.right[own].sum())
        verdict = "helped" if gain > 0 else "hurt" if gain < 0 else ""
        table.writerow(
            [members[0].class_names[label], int(own.sum()), right, *itertools.chain(*cells), verdict]
        )
    return text.getvalue()
