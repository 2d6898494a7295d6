"""Classification metrics, in per cent, with their uncertainty.

Axes: N items, K classes.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def top_k(logits: Floats, labels: Ints, k: int) -> float:
    """Share of items whose true class is among the k highest scores, in per cent.

    Ties count against the item: every class that scores as high as the true one stands before it, so a
    constant output is not rewarded.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        k: How many classes may be named; k >= K gives 100.
    """
    true = logits[np.arange(len(labels)), labels][:, None]
    rank = (logits >= true).sum(axis=1)
    return 100.0 * float((rank <= max(k, 1)).mean()) if k < logits.shape[1] else 100.0


def mean_class_accuracy(logits: Floats, labels: Ints) -> float:
    """Mean over the classes present of the share of their items that are right, in per cent."""
    right = logits.argmax(axis=1) == labels
    return 100.0 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def group_accuracy(logits: Floats, labels: Ints, groups: Ints) -> float:
    """Share of items whose predicted class lies in the group of the true one, in per cent.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        groups: Group of every class, such as its verb. Shape: (K,).
    """
    return 100.0 * float((groups[logits.argmax(axis=1)] == groups[labels]).mean())


def rival_wins(logits: Floats, labels: Ints, rivals: Ints) -> tuple[int, int]:
    """Count items of classes that have a rival, and those among them that score above it.

    With time-reversed pairs as rivals (open against close) this asks for the order of the frames and nothing
    else: a model that does not know it wins half of them. A tie is lost.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        rivals: Rival of every class, -1 for none. Shape: (K,).

    Returns:
        Wins, and items that have a rival.
    """
    items = np.flatnonzero(rivals[labels] >= 0)
    true, rival = logits[items, labels[items]], logits[items, rivals[labels[items]]]
    return int((true > rival).sum()), len(items)


def confusion_matrix(logits: Floats, labels: Ints) -> Ints:
    """Count items by true class (rows) and predicted class (columns). Shape: (K, K)."""
    classes = logits.shape[1]
    counts = np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def log_softmax(logits: Floats) -> Floats:
    """Logarithm of the softmax over the last axis, computed in float64. Shape: as given."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Mean negative logarithm of the true class's softmax probability.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
    """
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def wilson_interval(successes: float, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), in per cent.

    Args:
        successes: Number of right items, from 0 to `trials`; a mean over several runs may be fractional.
        trials: Number of items, at least 1.
        z: Normal quantile; the default gives 95 %.

    Returns:
        Lower and upper end, in [0, 100].
    """
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 100.0 / (1 + z * z / trials)
    return max(0.0, scale * (centre - spread)), min(100.0, scale * (centre + spread))
