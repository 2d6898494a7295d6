"""Late fusion: the scores that several runs gave the same items, averaged.

Axes: N items, K classes, M runs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # loads scipy.special when it is first used

from core.errors import UserError
from data.index import ClipIndex
from data.split import hold_out
from metrics import Scores
from metrics.accuracy import Floats, Ints, cross_entropy
from metrics.predictions import Predictions, unpredicted_note


@dataclass(frozen=True)
class Member:
    """Scores that one run gave the items.

    Attributes:
        name: How tables call the run.
        class_names: Its K classes.
        predictions: Its scores.
    """

    name: str
    class_names: tuple[str, ...]
    predictions: Predictions


@dataclass(frozen=True)
class Choice:
    """Weights chosen by their accuracy on some items.

    Attributes:
        weights: Non-negative, summing to 1. Shape: (M,).
        accuracy: Of the fusion with them on these items, in per cent.
        ties: Number of weights on the grid that are equally accurate.
    """

    weights: Floats
    accuracy: float
    ties: int


def align(members: Sequence[Member]) -> list[Member]:
    """Bring every run's items into the order of the first one's.

    Raises:
        UserError: The runs have different classes, were measured on different items, or disagree on the true
            class of one; the message names the difference.
    """
    first = members[0]
    for other in members[1:]:
        if other.class_names != first.class_names:
            found = _difference(first.name, first.class_names, other.name, other.class_names)
            raise UserError(f"the classes differ: {found}")
        if set(other.predictions.keys) != set(first.predictions.keys):
            found = _difference(first.name, first.predictions.keys, other.name, other.predictions.keys)
            raise UserError(f"the clips differ: {found}")
    aligned = [restrict(member, first.predictions.keys) for member in members]
    for other in aligned[1:]:
        wrong = np.flatnonzero(other.predictions.labels != first.predictions.labels)
        if len(wrong):
            clip = first.predictions.keys[wrong[0]]
            raise UserError(f"{first.name} and {other.name} disagree on the true class of {clip}")
    return aligned


def _difference(first: str, ours: Sequence[str], other: str, theirs: Sequence[str]) -> str:
    only_ours, only_theirs = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    if not only_ours and not only_theirs:
        return f"{first} and {other} have the same ones in another order"
    return (
        f"{first} has {len(ours)}, {other} has {len(theirs)}; only {first} has {only_ours[:5]}, only {other} "
        f"has {only_theirs[:5]}"
    )


def restrict(member: Member, keys: tuple[str, ...]) -> Member:
    """Keep the items of some keys, in the order of the keys."""
    own = member.predictions
    position = {key: number for number, key in enumerate(own.keys)}
    rows = np.array([position[key] for key in keys])
    kept = replace(own, keys=keys, labels=own.labels[rows], logits=own.logits[rows])
    return replace(member, predictions=kept)


def fuse(members: Sequence[Member], weights: Floats, scores: Scores = "logits") -> Predictions:
    """Average the scores of aligned runs.

    Args:
        members: From `align`.
        weights: One a run, non-negative; scaled to sum to 1. Shape: (M,).
        scores: Average the logits (as Ego-RNN's late fusion does), or the softmax probabilities.

    Returns:
        The fused scores; of probabilities the logarithm, whose softmax gives them back.
    """
    shares = np.asarray(weights, float) / np.sum(weights)
    stacked = np.stack([member.predictions.logits.astype(float) for member in members])  # (M, N, K)
    if scores == "probabilities":
        mean = np.tensordot(shares, scipy.special.softmax(stacked, axis=2), axes=1)
        fused = np.log(np.maximum(mean, np.finfo(float).tiny))
    else:
        fused = np.tensordot(shares, stacked, axes=1)  # (N, K)
    own = members[0].predictions
    return Predictions(own.keys, own.labels, fused, cross_entropy(fused, own.labels), {})


def choose_weights(members: Sequence[Member], scores: Scores = "logits") -> Choice:
    """Find the weights with the highest accuracy on the items; among equals, those with the lowest loss.

    The result is only as honest as the items: on clips that the runs have learned from, and know by heart, it
    says little.
    """
    grid = weight_grid(len(members))
    found = [fuse(members, weights, scores) for weights in grid]
    accuracy = np.array([one.right.mean() for one in found])
    best = np.flatnonzero(accuracy == accuracy.max())
    chosen = min(best, key=lambda number: found[number].loss)
    return Choice(grid[chosen], 100.0 * float(accuracy.max()), len(best))


def weight_grid(runs: int) -> Floats:
    """List weights that sum to 1, in steps of 0.05 for two runs and of 0.1 for more. Shape: (G, M)."""
    steps = 20 if runs == 2 else 10
    parts = [part for part in itertools.product(range(steps + 1), repeat=runs - 1) if sum(part) <= steps]
    return np.array([[*part, steps - sum(part)] for part in parts]) / steps


def held_out_by_all(tree: Path, checkpoints: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """Name the training users' clips that no run learned from, as far as that is known.

    Args:
        tree: Root of the clips.
        checkpoints: Contents of the runs' checkpoints.

    Returns:
        None without --val-fraction, or where the runs held out different clips or learned from another tree.
    """
    flags = ("val_fraction", "seed", "train_users")
    splits = [[checkpoint["config"][key] for key in flags] for checkpoint in checkpoints]
    fraction, seed, users = splits[0]
    if fraction == 0 or any(split != splits[0] for split in splits):
        return None
    index = ClipIndex.from_tree(tree).select(users)
    learned, held = (index.subset(part) for part in hold_out(index, fraction, seed))
    if any(one.get("images", {}).get("train", learned.digest) != learned.digest for one in checkpoints):
        return None
    return held.keys


def training_choice(
    tested: Sequence[Member], trained: Sequence[Member], held: tuple[str, ...] | None, scores: Scores
) -> dict[str, Any]:
    """Find the weights that clips of the training users would choose, and what these give on the test clips.

    Args:
        tested: The runs on the test clips, from `align`.
        trained: The runs on the training users' clips, from `align`.
        held: Clips to choose on; all of `trained` when None.
        scores: What is averaged.
    """
    shown = trained if held is None else [restrict(member, held) for member in trained]
    choice = choose_weights(shown, scores)
    return {
        "clips": "learned from by the runs" if held is None else "held out by every run",
        "n_clips": len(shown[0].predictions.labels),
        "alone": [100.0 * float(member.predictions.right.mean()) for member in shown],
        "weights": choice.weights.tolist(),
        "top1_there": choice.accuracy,
        "ties": choice.ties,
        "top1": fuse(tested, choice.weights, scores).top1,
    }


def changes_by_class(fused: Predictions, member: Member) -> tuple[Ints, Ints]:
    """Count for each class the items that the fusion repairs, and those that it breaks. Shapes: (K,)."""
    ours, theirs, classes = fused.right, member.predictions.right, fused.logits.shape[1]
    repaired, broken = fused.labels[ours > theirs], fused.labels[ours < theirs]
    return np.bincount(repaired, minlength=classes), np.bincount(broken, minlength=classes)


def changes_table(fused: Predictions, members: Sequence[Member]) -> dict[str, list[Any]]:
    """Count, for each class with items, what the fusion repairs and breaks against every run.

    The verdict "helped" or "hurt" compares the number of right items with the run that is best overall; None
    where they are equal.

    Returns:
        The columns of fusion.csv.
    """
    classes = fused.logits.shape[1]

    def count_right(predictions: Predictions) -> Ints:
        return np.bincount(fused.labels[predictions.right], minlength=classes)

    clips = np.bincount(fused.labels, minlength=classes)
    columns = {"clips": clips, "right": count_right(fused)}
    for member in members:
        repaired, broken = changes_by_class(fused, member)
        columns |= {f"right of {member.name}": count_right(member.predictions)}
        columns |= {f"repaired of {member.name}": repaired, f"broken of {member.name}": broken}
    shown = np.flatnonzero(clips)
    best = max(members, key=lambda member: member.predictions.top1)
    gains = (columns["right"] - count_right(best.predictions))[shown]
    return {
        "class": [members[0].class_names[label] for label in shown],
        **{name: values[shown].tolist() for name, values in columns.items()},
        "verdict": ["helped" if gain > 0 else "hurt" if gain < 0 else None for gain in gains],
    }


def members_table(
    paths: Sequence[Path], members: Sequence[Member], weights: Floats, fused: Predictions
) -> list[dict[str, Any]]:
    """Describe each run of a fusion: its weight, its own accuracy, and what the fusion repairs and breaks.

    Args:
        paths: Directories of the runs.
        members: The runs, from `align`.
        weights: Summing to 1. Shape: (M,).
        fused: From `fuse`.
    """
    rows = []
    for path, member, weight in zip(paths, members, weights, strict=True):
        repaired, broken = (int(counts.sum()) for counts in changes_by_class(fused, member))
        row = {"name": member.name, "run": str(path), "weight": float(weight)}
        rows.append(row | {"top1": member.predictions.top1, "repaired": repaired, "broken": broken})
    return rows


def fusion_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say what the eval.json of a fusion holds, in a line a run and one for the fusion."""
    width = max(len(row["name"]) for row in summary["runs"])
    lines = [
        f"{row['name']:{width}}  weight {row['weight']:.2f}  top-1 {row['top1']:.1f} %; the fusion repairs "
        f"{row['repaired']} of its clips and breaks {row['broken']}"
        for row in summary["runs"]
    ]
    interval = f"95 % interval {summary['ci95_low']:.1f} to {summary['ci95_high']:.1f}"
    note = f"; {note}" if (note := unpredicted_note(summary)) else ""
    lines.append(
        f"late fusion: top-1 {summary['top1']:.1f} % ({interval}) on {summary['n_clips']} clips{note}"
    )
    return lines


def choice_line(choice: Mapping[str, Any]) -> str:
    """Say what `training_choice` has found."""
    weights = " ".join(f"{weight:.2f}" for weight in choice["weights"])
    alone = ", ".join(f"{accuracy:.1f}" for accuracy in choice["alone"])
    return (
        f"training users' clips ({choice['n_clips']}, {choice['clips']}; alone {alone} %) would choose "
        f"weights {weights} ({choice['top1_there']:.1f} % there; {choice['ties']} weights are equally "
        f"accurate), which give {choice['top1']:.1f} % on the test clips"
    )
