"""Classification metrics, in per cent.

Axes: N items, K classes. Written out, since loading scikit-learn takes seconds.
"""

import numpy as np
import numpy.typing as npt
import scipy  # loads scipy.special when it is first used

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def top_k(logits: Floats, labels: Ints, k: int) -> float:
    """Share of items whose true class is among the k highest scores, in per cent.

    Ties count against the item: every class that scores as high as the true one ranks before it. (The
    prediction, the arg max, is the first of them.)

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        k: Number of highest scores looked at; k >= K gives 100.
    """
    true = logits[np.arange(len(labels)), labels][:, None]
    rank = (logits >= true).sum(axis=1)
    return 100.0 * float((rank <= max(k, 1)).mean()) if k < logits.shape[1] else 100.0


def mean_class_accuracy(logits: Floats, labels: Ints) -> float:
    """Mean over the classes present of the share of their items that are right, in per cent."""
    counts = confusion_matrix(logits, labels)
    items = counts.sum(axis=1)
    return 100.0 * float((counts.diagonal()[items > 0] / items[items > 0]).mean())


def group_accuracy(logits: Floats, labels: Ints, groups: Ints) -> float:
    """Share of items whose predicted class lies in the group of the true one, in per cent.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        groups: Group of every class, such as its verb. Shape: (K,).
    """
    return 100.0 * float((groups[logits.argmax(axis=1)] == groups[labels]).mean())


def rival_wins(logits: Floats, labels: Ints, rivals: Ints) -> tuple[int, int]:
    """Count the items whose class has a rival, and how many of them score above that rival.

    With time-reversed pairs as rivals (open against close) this measures knowledge of the order of the frames
    and nothing else: where there are as many items of both directions, as in GTEA61 and on the kitchen, a
    model without it wins half of them. A tie is lost.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
        rivals: Rival of every class, -1 for none. Shape: (K,).

    Returns:
        Wins, and items whose class has a rival.
    """
    items = np.flatnonzero(rivals[labels] >= 0)
    true, rival = logits[items, labels[items]], logits[items, rivals[labels[items]]]
    return int((true > rival).sum()), len(items)


def turned(logits: Floats, reversed_logits: Floats, labels: Ints, rivals: Ints) -> float | None:
    """Share of the items with a rival whose decision against it changes with reversed frames, in per cent.

    A network that can't know the order of the frames never changes its decision; one that hardly
    uses it seldom does, whatever its accuracy.

    Args:
        logits: Scores. Shape: (N, K).
        reversed_logits: Scores of the same items, their frames in reverse. Shape: (N, K).
        labels: True classes. Shape: (N,).
        rivals: Rival of every class, -1 for none. Shape: (K,).

    Returns:
        None where no item has a rival.
    """
    items = np.flatnonzero(rivals[labels] >= 0)
    if not len(items):
        return None
    before, after = (
        scores[items, labels[items]] > scores[items, rivals[labels[items]]]
        for scores in (logits, reversed_logits)
    )
    return 100.0 * float((before != after).mean())


def confusion_matrix(logits: Floats, labels: Ints) -> Ints:
    """Count items by true class (rows) and predicted class (columns). Shape: (K, K)."""
    counts = np.zeros((logits.shape[1], logits.shape[1]), np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Mean negative logarithm of the true class's softmax probability, in float64.

    Args:
        logits: Scores. Shape: (N, K).
        labels: True classes. Shape: (N,).
    """
    log_probabilities = scipy.special.log_softmax(np.asarray(logits, np.float64), axis=1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
