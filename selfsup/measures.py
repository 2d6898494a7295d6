"""How well moving places are found, in per cent. Arrays hold a value for each place of each frame."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


def place_measures(predicted: Floats, moves: Bools, decision: float) -> dict[str, float]:
    """Measure predictions of which places move.

    Args:
        predicted: The higher, the more likely the place moves.
        moves: Whether it does. Shape: as `predicted`.
        decision: Value above which the prediction says that the place moves.

    Returns:
        accuracy; balanced_accuracy, the mean of the accuracies of static and of moving places; iou, of the
        places that move and those said to; average_precision of the moving places. Where no place moves,
        accuracy alone.
    """
    said = predicted > decision
    measures = {"accuracy": (said == moves).mean()}
    if moves.any():
        classes = [(said == moves)[moves == kind].mean() for kind in np.unique(moves)]
        measures["balanced_accuracy"] = np.mean(classes)
        measures["iou"] = (said & moves).sum() / (said | moves).sum()
        measures["average_precision"] = average_precision(predicted, moves)
    return {name: 100.0 * float(value) for name, value in measures.items()}


def average_precision(scores: Floats, positive: Bools) -> float:
    """Precision at every distinct score, weighted by the recall gained there, in [0, 1].

    Equal scores are taken together, so a constant score has the share of positives as its precision.

    Args:
        scores: The higher, the more likely positive.
        positive: Whether it is; at least one should be. Shape: as `scores`.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    ranked, hits = scores.ravel()[order], np.cumsum(positive.ravel()[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    gained = np.diff(hits[ends], prepend=0) / hits[-1]
    return float((gained * hits[ends] / (ends + 1)).sum())
