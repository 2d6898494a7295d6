"""Learning curves of a row: loss and accuracy of training and test, a line a seed."""

from pathlib import Path

from core.files import atomic_path
from reporting.collect import FoundTable, Row
from reporting.page import Figure, Section

# Told apart by colour-blind readers and in grey.
_COLOURS = {"train": "#8aa9c4", "val": "#3f8f5f", "test": "#b3541e"}
_SIZE, _DPI = (4.7, 1.9), 110
_FEW = 15


def curves_section(table: FoundTable, folder: Path) -> Section:
    """Draw the curves of each row into the folder of the report."""
    pictures = []
    for number, row in enumerate(table.shown, start=1):
        file = folder / "curves" / f"{table.name}-{number}.png"
        save_curves(file, row)
        pictures.append(Figure(file, row.name))
    text = "After every epoch, a line a seed. Training is measured on augmented clips, with dropout."
    return Section("Learning curves", [text], figures=pictures, key="curves")


def save_curves(path: Path, row: Row) -> None:
    """Draw the epochs of all finished runs of a row.

    Args:
        path: PNG file to write.
        row: One with finished runs.
    """
    import matplotlib.figure  # takes its time, and a help text needs none
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.ticker import MaxNLocator

    figure = matplotlib.figure.Figure(figsize=_SIZE)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.25, top=0.84, wspace=0.3)
    for place, key in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        for run in row.finished:
            for split, colour in _COLOURS.items():
                epochs = run.epochs[run.epochs["split"] == split]
                if len(epochs):
                    axes.plot(
                        epochs["epoch"],
                        epochs[key],
                        color=colour,
                        # A set that was measured once is a dot; many epochs are a line alone.
                        marker="o" if len(epochs) <= _FEW else None,
                        markersize=3,
                        lw=1.2,
                        label=split if run is row.finished[0] else None,
                    )
        axes.set_title("accuracy, %" if key == "accuracy" else key, loc="left", fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.18, 1.01), ncols=3,
        fontsize=7, frameon=False, handlelength=1.2, columnspacing=0.9,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
