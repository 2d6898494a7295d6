"""Charts of predictions, drawn without a screen.

Axes: K classes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.files import atomic_path
from metrics.accuracy import Ints


@rc_context({"text.parse_math": False})  # dollar signs in a class's name are not a formula
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


@rc_context({"text.parse_math": False})  # dollar signs in a class's name are not a formula
def save_changes(path: Path, changes: Mapping[str, Ints], class_names: tuple[str, ...], title: str) -> None:
    """Draw how many items of each class a result gains (right) or loses (left) against other results.

    Args:
        path: PNG file to write.
        changes: The gain by class against each other result, by its name. Shapes: (K,).
        class_names: The K names; classes without any change are left out.
        title: The heading.
    """
    gains = np.stack(list(changes.values()))
    shown = np.flatnonzero(gains.any(axis=0))
    shown = shown[np.argsort(gains[:, shown].sum(axis=0), kind="stable")]
    figure = Figure(figsize=(8, 1.8 + 0.34 * max(len(shown), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    height = 0.8 / len(changes)
    for number, (name, gain) in enumerate(changes.items()):
        places = np.arange(len(shown)) + 0.4 - height * (number + 0.5)
        axes.barh(places, gain[shown], height, label=f"against {name}", color=f"C{number}")
    axes.axvline(0, color="black", linewidth=0.8)
    limit = max(1, int(np.abs(gains).max())) + 0.5
    axes.set(xlim=(-limit, limit), xlabel="clips lost (left) and gained (right)", title=title)
    axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yticks(range(len(shown)), [class_names[label] for label in shown], fontsize=9)
    if not len(shown):
        axes.text(0, 0, "no class gains or loses a clip", ha="center", va="center", backgroundcolor="white")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(3, len(changes)), fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
