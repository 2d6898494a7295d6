"""Pictures of numbers, drawn without a screen."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.files import atomic_path
from engine.metrics import Ints


def save_confusion(path: Path, counts: Ints, class_names: tuple[str, ...]) -> None:
    """Draw a confusion matrix: rows are true classes, columns predictions, colour the share of a row.

    Args:
        path: PNG file to write.
        counts: Items by true and predicted class. Shape: (K, K).
        class_names: The K names.
    """
    classes = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(18.0, 3.5 + 0.24 * classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1)
    size = 9 if classes <= 30 else 6
    axes.set_xticks(range(classes), class_names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), class_names, fontsize=size)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "black" if shares[row, column] > 0.6 else "white"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=size - 1, color=colour)
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set(xlabel="predicted", ylabel="true", title=f"{right} of {total} clips right")
    figure.colorbar(picture, ax=axes, shrink=0.7, label="share of the true class's clips")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
