"""Scores of a set of clips: saved, read back, checked, and described in numbers.

Axes: S seeds, N items, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import UserError, reason
from core.files import atomic_path, write_json, write_text
from core.task import Details
from metrics.accuracy import (
    Floats,
    Ints,
    confusion_matrix,
    cross_entropy,
    group_accuracy,
    mean_class_accuracy,
    rival_wins,
    top_k,
)


@dataclass(frozen=True)
class Predictions:
    """Scores of N items over K classes.

    Attributes:
        keys: Name of each item, such as "S2/open_jam/1".
        labels: True classes. Shape: (N,).
        logits: Scores. Shape: (N, K).
        loss: Mean loss over the items.
        parts: Mean of each named part of the loss.
        measures: Further numbers that the task measured, by name.
        details: Further arrays that the task kept of every item, by name; not saved. Shapes: (N, ...).
    """

    keys: tuple[str, ...]
    labels: Ints
    logits: Floats
    loss: float
    parts: dict[str, float]
    measures: dict[str, float] = field(default_factory=dict)
    details: Details = field(default_factory=dict)

    @property
    def predicted(self) -> Ints:
        """The class of each item with the highest score. Shape: (N,)."""
        classes: Ints = self.logits.argmax(axis=1)
        return classes

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether that is the true one. Shape: (N,)."""
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right

    @property
    def top1(self) -> float:
        """Share of the items that are right, in per cent."""
        return 100.0 * int(self.right.sum()) / len(self.labels)

    def save(self, path: Path) -> None:
        """Write `clip`, `label` and `logits` to an npz file."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, clip=np.array(self.keys), label=self.labels, logits=self.logits)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote; the loss is recomputed as plain cross entropy.

        Raises:
            UserError: The file can't be read or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                keys, labels, logits = (saved[name] for name in ("clip", "label", "logits"))
            check_predictions(keys, labels, logits)
        except Exception as error:  # a damaged or forged file can fail in numpy's reader in any way
            raise UserError(f"{path} holds no predictions of this project: {reason(error)}") from None
        return cls(tuple(keys.tolist()), labels, logits, cross_entropy(logits, labels), {})


def check_predictions(keys: npt.NDArray[Any], labels: npt.NDArray[Any], logits: npt.NDArray[Any]) -> None:
    """Refuse what can't be scores of N items over K classes, or can't be logits."""
    sizes = keys.shape, labels.shape, logits.shape[:1]
    if len(set(sizes)) > 1 or logits.ndim != 2 or not logits.size or labels.dtype.kind != "i":
        raise ValueError(f"clip, label and logits don't fit together (shapes {sizes})")
    if labels.min() < 0 or labels.max() >= logits.shape[1] or len(set(keys.tolist())) < len(keys):
        raise ValueError("a label is no class of the logits, or a clip stands there twice")
    check_logits(logits, keys.tolist())


def check_logits(logits: Floats, keys: Sequence[str]) -> None:
    """Refuse scores that no accuracy should be computed from.

    Args:
        logits: Scores. Shape: (N, K).
        keys: Names of the items. Length: N.

    Raises:
        UserError: Some are not finite, or all are probabilities, whose softmax would be a second one.
    """
    sound = np.isfinite(logits).all(axis=1)
    if not sound.all():
        names = ", ".join(str(keys[item]) for item in np.flatnonzero(~sound)[:5])
        raise UserError(
            f"the network's scores of {int((~sound).sum())} of {len(keys)} clips are not finite ({names}); "
            "look at these clips, or train with a lower --lr"
        )
    sums_to_one = np.abs(logits.sum(axis=1, dtype=np.float64) - 1) < 1e-5
    if logits.shape[1] > 1 and sums_to_one.all() and logits.min() >= 0:
        raise UserError("the scores are probabilities, but should be logits; a softmax would be taken twice")


@dataclass(frozen=True)
class Relations:
    """How the K classes of a task relate to each other.

    Attributes:
        groups: Coarser classes by name (such as "verb"), each the group of every class. Shape: (K,).
        rivals: The class that each is hardest to tell from (such as its reverse in time), -1 for none. Shape:
            (K,).
    """

    groups: Mapping[str, Ints] = field(default_factory=dict)
    rivals: Ints | None = None


def summarise(predictions: Predictions, relations: Relations) -> dict[str, Any]:
    """Describe predictions in numbers.

    Args:
        predictions: Scores of a set of clips.
        relations: Groups and rivals of the classes.

    Returns:
        top1, top5, mean_class and each group in per cent, n_clips, and the 95 % Wilson interval of top1;
        tested_classes, the number of classes that have items, and predicted_classes, how many of these are
        predicted for at least one item; where classes have rivals also `order`, the share of their items that
        score above the rival, in per cent, and n_order, the number of these items; and the measures of the
        task.
    """
    from metrics.statistics import wilson_interval  # loads scipy, which training needs only at its end

    logits, labels = predictions.logits, predictions.labels
    right, tested = int(predictions.right.sum()), np.unique(labels)
    low, high = wilson_interval(right, len(labels))
    order: dict[str, Any] = {}
    if relations.rivals is not None:
        wins, items = rival_wins(logits, labels, relations.rivals)
        order = {"order": 100.0 * wins / items, "n_order": items} if items else {}
    return {
        "top1": predictions.top1,
        "top5": top_k(logits, labels, 5),
        "mean_class": mean_class_accuracy(logits, labels),
        **{name: group_accuracy(logits, labels, ids) for name, ids in relations.groups.items()},
        "n_clips": len(labels),
        "tested_classes": len(tested),
        "predicted_classes": int(np.isin(tested, predictions.predicted).sum()),
        "ci95_low": low,
        "ci95_high": high,
        **order,
        **predictions.measures,
    }


def unpredicted_note(summary: Mapping[str, Any]) -> str:
    """Say what a good accuracy can hide, that some of the tested classes are never predicted; else empty.

    A network that gives every clip the commonest class is right as often as that class is common. Classes
    without a test clip are not counted, since not to predict them is right.
    """
    predicted, tested = summary["predicted_classes"], summary["tested_classes"]
    verb = "is" if predicted == 1 else "are"
    return f"{predicted} of {tested} classes {verb} ever predicted" if predicted < tested else ""


def write_evaluation(
    folder: Path,
    predictions: Predictions,
    class_names: tuple[str, ...],
    summary: Mapping[str, Any],
) -> None:
    """Write predictions.npz, per_class.csv, confusion.png and, last, eval.json into `folder`."""
    from metrics.figures import save_confusion  # matplotlib takes its time, and only this needs it

    counts = confusion_matrix(predictions.logits, predictions.labels)
    clips, right = counts.sum(axis=1).tolist(), counts.diagonal().tolist()
    wrong = counts - np.diag(counts.diagonal())
    per_class = {
        "class": class_names,
        "clips": clips,
        "right": right,
        "accuracy": [f"{100 * r / n:.2f}" if n else None for r, n in zip(right, clips, strict=True)],
        "most_often_taken_for": [class_names[row.argmax()] if row.any() else None for row in wrong],
    }
    predictions.save(folder / "predictions.npz")
    write_csv(folder / "per_class.csv", per_class)
    save_confusion(folder / "confusion.png", counts, class_names)
    write_json(folder / "eval.json", dict(summary))


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table by its columns, all or nothing; None is an empty cell."""
    import pandas as pd  # takes its time to import, and a help text needs none

    write_text(path, pd.DataFrame(dict(columns)).to_csv(index=False, lineterminator="\n"))


def clip_scores(runs: Sequence[Predictions], rivals: Ints | None = None) -> Floats:
    """Tell which clips were right under each of several seeds.

    Args:
        runs: Predictions of the same clips, one a seed.
        rivals: Rival of every class, -1 for none; then a clip is right when its class scores above the rival,
            and clips of classes without a rival are left out. Shape: (K,).

    Returns:
        1 or 0, clips in the order of their names. Shape: (S, N).

    Raises:
        UserError: The clips, or their true classes, are not the same.
    """
    found: list[Floats] = []
    for run in runs:
        order = np.argsort(run.keys)
        keys, labels, logits = np.array(run.keys)[order], run.labels[order], run.logits[order]
        if not found:
            first_keys, first_labels = keys, labels
        if not (np.array_equal(keys, first_keys) and np.array_equal(labels, first_labels)):
            raise UserError("runs that were tested on different clips can't be compared clip by clip")
        if rivals is None:
            right = logits.argmax(axis=1) == labels
        else:
            items = np.flatnonzero(rivals[labels] >= 0)
            right = logits[items, labels[items]] > logits[items, rivals[labels[items]]]
        found.append(right.astype(np.float64))
    return np.stack(found)
