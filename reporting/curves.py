"""Learning curves of a row: loss and accuracy of training and test, a line a seed."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.files import atomic_path
from reporting.collect import Finished, Row

# Told apart by colour-blind readers and in grey.
_COLOURS = {"train": "#8aa9c4", "val": "#3f8f5f", "test": "#b3541e"}
_SIZE, _DPI = (4.7, 1.9), 110


def save_curves(path: Path, row: Row) -> None:
    """Draw the epochs of all finished runs of a row.

    Args:
        path: PNG file to write.
        row: One with finished runs.
    """
    figure = Figure(figsize=_SIZE)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.25, top=0.84, wspace=0.3)
    for place, key in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        for number, run in enumerate(row.finished):
            _draw(axes, run, key, label=number == 0)
        _dress(axes, "accuracy, %" if key == "accuracy" else key)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.18, 1.01), ncols=3,
        fontsize=7, frameon=False, handlelength=1.2, columnspacing=0.9,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def _draw(axes: Axes, run: Finished, key: str, *, label: bool) -> None:
    for split, colour in _COLOURS.items():
        points = [(epoch["epoch"], epoch[key]) for epoch in run.epochs if epoch["split"] == split]
        if points:
            # A set that was measured once is a dot; many epochs are a line alone.
            marker = "o" if len(points) <= 15 else None
            name = split if label else None
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, markersize=3, lw=1.2, label=name
            )


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
