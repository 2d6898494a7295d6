"""Charts of predictions, drawn without a screen, as large as their labels need.

Axes: K classes.
"""

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from core.files import atomic_path
from core.fonts import drawable, fonts_for, shortened
from metrics.accuracy import Ints

_DPI = 110
_LONGEST = 36
"""Letters of the longest label of an axis; longer names stand in full below the chart."""
_SMALL = 8
"""Font size of the lines below a chart, in points."""
_LINES = 22
"""Lines in a column of a legend."""


class Estimate(NamedTuple):
    """A measured number with its interval, and where it stands on the other axis."""

    at: float
    value: float
    low: float
    high: float


def save_confusion(path: Path, counts: Ints, class_names: tuple[str, ...]) -> None:
    """Draw a confusion matrix: rows are true classes, columns predictions, colour the share of a row.

    Args:
        path: PNG file to write.
        counts: Items by true and predicted class. Shape: (K, K).
        class_names: The K names.
    """
    classes = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels, names = axis_labels(class_names, range(1, classes + 1))
    cell = 0.5 if classes <= 10 else 0.34 if classes <= 30 else min(0.24, 24 / classes)  # inches
    size, side = min(9.0, 29 * cell), max(cell * classes, 2.4)
    with _lettering(class_names):
        margin = _widest_in(labels, size) + 0.5
        width = margin + side + 1.2
        figure, axes = _figure(width, side, left=margin, right=1.2, bottom=margin, below=names)
        picture = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1)
        axes.set_xticks(range(classes), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(classes), labels, fontsize=size)
        for row, column in zip(*np.nonzero(counts), strict=True):
            text, colour = str(counts[row, column]), "black" if shares[row, column] > 0.6 else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=size - 1, color=colour)
        right, total = int(np.trace(counts)), int(counts.sum())
        axes.set(xlabel="predicted", ylabel="true", title=f"{right} of {total} clips right")
        scale = axes.inset_axes((1 + 0.15 / side, 0, 0.15 / side, 1))
        figure.colorbar(picture, cax=scale, label="share of the true class's clips")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=_DPI)


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
    labels, names = axis_labels([class_names[label] for label in shown], (shown + 1).tolist())
    others = [textwrap.fill(f"against {drawable(name)}", 70) for name in changes]
    with _lettering([*class_names, *changes]):
        margin = _widest_in(labels, 9) + 0.3
        width = max(margin + 4.8, _widest_in(others, 9) + 1)
        columns = min(max(int(width / (_widest_in(others, 9) + 0.7)), 1), 3, len(others))
        legend = 0.25 + 0.19 * sum(other.count("\n") + 1 for other in others) / columns
        tall = 0.4 + 0.34 * max(len(shown), 1)
        figure, axes = _figure(width, tall, left=margin, right=0.3, bottom=0.65 + legend, below=names)
        height = 0.8 / len(changes)
        for number, (other, gain) in enumerate(zip(others, changes.values(), strict=True)):
            places = np.arange(len(shown)) + 0.4 - height * (number + 0.5)
            axes.barh(places, gain[shown], height, label=other, color=f"C{number}")
        axes.axvline(0, color="black", linewidth=0.8)
        limit = max(1, int(np.abs(gains).max())) + 0.5
        axes.set(xlim=(-limit, limit), xlabel="clips lost (left) and gained (right)", title=title)
        axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_yticks(range(len(shown)), labels, fontsize=9)
        if not len(shown):
            axes.text(
                0, 0, "no class gains or loses a clip", ha="center", va="center", backgroundcolor="white"
            )
        axes.grid(axis="x", alpha=0.3)
        below_axis = axes.get_position().y0 - 0.5 / figure.get_figheight()
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, below_axis), ncols=columns, fontsize=9)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=_DPI)


def save_shares(path: Path, curves: Mapping[str, Sequence[Estimate]], title: str) -> None:
    """Draw accuracy over the share of a clip that was seen, both in per cent, a line a name.

    Args:
        path: PNG file to write.
        curves: What was measured, by name, in the order of the shares.
        title: The heading.
    """
    with _lettering(curves):
        figure, axes = _figure_with_legend([drawable(name) for name in curves])
        apart = 3.0 / max(len(curves), 6)  # intervals at one share stand side by side
        for number, (name, found) in enumerate(curves.items()):
            shift = (number - (len(curves) - 1) / 2) * apart
            _draw_estimates(axes, found, number, shift, drawable(name), line="-" if len(found) > 1 else "")
        axes.set(xlabel="share of a clip that was seen, %", ylabel="top-1, %", title=title)
        axes.set_xticks(sorted({each.at for found in curves.values() for each in found}))
        _finish(path, figure, axes)


def save_costs(path: Path, points: Mapping[str, Estimate], cost: str, title: str) -> None:
    """Draw accuracy in per cent over a cost on a logarithmic axis, a numbered point a name.

    Points that are more accurate than all that cost as much or less bear their name; a line joins them.

    Args:
        path: PNG file to write.
        points: The accuracy by name, at its cost, which is above 0.
        cost: What it costs, with its unit.
        title: The heading.
    """
    labels = {name: f"{number}  {drawable(name)}" for number, name in enumerate(points, start=1)}
    best = _unbeaten(points)
    with _lettering(points):
        figure, axes = _figure_with_legend(list(labels.values()), wider=1.4, least=4.4)
        axes.set_xscale("log")
        least, most = (end([found.at for found in points.values()]) for end in (min, max))
        axes.set_xlim(least / 1.6, most * 1.6)  # also where all cost the same
        axes.plot([points[n].at for n in best], [points[n].value for n in best], color="0.6", lw=0.8, ls="--")
        for number, (name, found) in enumerate(points.items()):
            _draw_estimates(axes, [found], number, 0.0, labels[name], line="", faint=True)
        axes.set(xlabel=cost, ylabel="top-1, %", title=title)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if most > 30 * least else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(axes.get_ylim())
        first = [*best, *(name for name in points if name not in best)]
        texts = {name: labels[name] if name in best else labels[name].split()[0] for name in first}
        _write_beside(axes, [(points[name].at, points[name].value) for name in first], list(texts.values()))
        _finish(path, figure, axes)


def _unbeaten(points: Mapping[str, Estimate]) -> list[str]:
    """List the points whose value is above those of all that cost as much or less, by their cost."""
    best: list[str] = []
    for name, found in sorted(points.items(), key=lambda item: (item[1].at, -item[1].value)):
        if not best or found.value > points[best[-1]].value:
            best.append(name)
    return best


def _write_beside(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write a text beside each point, the first ones nearest, on a line where it is far; none without room.

    Args:
        axes: The chart, with its limits as they stay.
        points: In its data.
        texts: One for each point.
    """
    inch = axes.figure.dpi  # in which positions on the figure are given
    places = np.asarray(axes.transData.transform(np.asarray(points, dtype=float))) / inch * 72  # in points
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in places]
    inside = Bbox(axes.get_window_extent().get_points() / inch * 72)
    for point, place, text in zip(points, places, texts, strict=True):
        width, height = 72 * _widest_in([text], _SMALL) + 2, 1.2 * _SMALL
        for far, turn in itertools.product((7, 14, 22, 32, 44, 58), range(16)):
            x, y = (far * f(math.tau * turn / 16) for f in (math.cos, math.sin))
            left = x if x > 1 else x - width if x < -1 else x - width / 2
            box = Bbox.from_bounds(place[0] + left, place[1] + y - height / 2, width, height)
            within = inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1
            if within and not any(box.overlaps(other) for other in taken):
                break
        else:
            continue
        taken.append(box)
        line = {"arrowstyle": "-", "lw": 0.4, "color": "0.4", "shrinkA": 0, "shrinkB": 2} if far > 7 else None
        axes.annotate(
            text, point, (left, y), textcoords="offset points", fontsize=_SMALL, va="center", arrowprops=line
        )


def _draw_estimates(
    axes: Axes,
    found: Sequence[Estimate],
    number: int,
    shift: float,
    label: str,
    line: str,
    *,
    faint: bool = False,
) -> None:
    # Rounding may put an end on the wrong side of 0 or 100 %.
    errors = [[max(e.value - e.low, 0) for e in found], [max(e.high - e.value, 0) for e in found]]
    axes.errorbar(
        [each.at + shift for each in found],
        [each.value for each in found],
        yerr=errors,
        linestyle=line,
        color=f"C{number % 10}",
        marker="osD^v*"[number // 10 % 6],
        markersize=4,
        linewidth=1.2,
        elinewidth=0.7,
        ecolor=("0.8" if faint else None),
        label=label,
    )


def _figure_with_legend(
    labels: Sequence[str], *, wider: float = 0.0, least: float = 3.4
) -> tuple[Figure, Axes]:
    """Make a figure of one chart, so many inches wider and at least so tall, with a legend at its right."""
    columns = -(-len(labels) // _LINES)
    legend = columns * (_widest_in(labels, _SMALL) + 0.55) + 0.2
    tall = max(least, 0.165 * min(len(labels), _LINES) + 0.3)
    return _figure(5.8 + wider + legend, tall, left=0.6, right=legend, bottom=0.5, below=[])


def _finish(path: Path, figure: Figure, axes: Axes) -> None:
    axes.grid(alpha=0.3)
    columns = -(-len(axes.get_legend_handles_labels()[1]) // _LINES)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0, ncols=columns,
        fontsize=_SMALL, frameon=False, handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


# Told apart by colour-blind readers and in grey.
SPLIT_COLOURS = {"train": "#8aa9c4", "val": "#3f8f5f", "test": "#b3541e"}
_FEW = 15
"""Epochs up to which each is marked with a dot."""
_LINED = 3
"""Fewer measurements of a split are dots without a line, which would claim to know what lies between."""


def save_curves(
    path: Path, runs: Sequence[Sequence[Mapping[str, Any]]], limits: Mapping[str, float] | None = None
) -> None:
    """Draw loss and accuracy after every epoch, a line a run and split.

    Args:
        path: PNG file to write.
        runs: The rows of each run's metrics.csv, by "epoch", "split", "loss" and "accuracy" (%).
        limits: Upper ends of the axes under "epoch" and "loss", so that pictures can be compared.
    """
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(4.9, 2.0))
        FigureCanvasAgg(figure)
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.22, top=0.84, wspace=0.28)
        for place, key in enumerate(("loss", "accuracy"), start=1):
            axes = figure.add_subplot(1, 2, place)
            for run in runs:
                for split, colour in SPLIT_COLOURS.items():
                    rows = [row for row in run if row["split"] == split]
                    axes.plot(
                        [row["epoch"] for row in rows],
                        [row[key] for row in rows],
                        color=colour,
                        marker="o" if len(rows) <= _FEW else None,
                        markersize=3,
                        linestyle="-" if len(rows) >= _LINED else "none",
                        lw=1.2,
                        label=split if rows and run is runs[0] else None,
                    )
            axes.set_title("accuracy, %" if key == "accuracy" else key, loc="left", fontsize=9)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if limits is not None:
                axes.set_xlim(0, limits["epoch"] + 0.5)
            if key == "accuracy":
                axes.set_ylim(0, 102)
            else:
                axes.set_ylim(0, None if limits is None else limits["loss"])
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.18, 1.01), ncols=3,
            fontsize=7, frameon=False, handlelength=1.2, columnspacing=0.9,
        )  # fmt: skip
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=_DPI)


def axis_labels(names: Sequence[str], numbers: Iterable[int]) -> tuple[list[str], list[str]]:
    """Shorten long names, and escape letters that no installed font has.

    Args:
        names: Of classes.
        numbers: Their lines in per_class.csv; a changed name has it in front.

    Returns:
        A label a name, and the lines that spell out what was changed.
    """
    labels, below, escaped = [], [], False
    for number, name in zip(numbers, names, strict=True):
        text = drawable(name)
        missing = text.count("\\") > name.count("\\")
        long, escaped = len(text) > _LONGEST, escaped or missing
        labels.append(f"{number}: {shortened(text, _LONGEST)}" if long or missing else text)
        below += [f"{number}: {text}"] if long else []
    if escaped:
        below.append(
            "\\u...: a letter that no font here has; the numbers are those of lines of per_class.csv"
        )
    return labels, below


def _lettering(names: Iterable[str]) -> AbstractContextManager[None]:
    """Draw with the fonts that names need; dollar signs in a name are not a formula."""
    return rc_context({"text.parse_math": False, "font.family": fonts_for("".join(names))})


def _widest_in(texts: Sequence[str], size: float) -> float:
    """Measure the longest line of texts, in inches; 0 without a text."""
    pen: Any = RendererAgg(10, 10, _DPI)  # type: ignore[no-untyped-call]
    lines = [line for text in texts for line in text.splitlines()]
    sizes = [pen.get_text_width_height_descent(line, FontProperties(size=size), False) for line in lines]
    return max((float(width) / _DPI for width, _, _ in sizes), default=0.0)


def _figure(
    width: float, height: float, *, left: float, right: float, bottom: float, below: Sequence[str]
) -> tuple[Figure, Axes]:
    """Make a figure of one chart with a title above, and lines of text below; all sizes in inches.

    Args:
        width: Of the figure.
        height: Of the chart.
        left: Room at its left.
        right: Room at its right.
        bottom: Room for what belongs to it below, such as the labels of its axis.
        below: Lines below that, broken where they are too long.
    """
    letters = [int(len(line) * (width - 0.2) / max(_widest_in([line], _SMALL), 0.1)) for line in below]
    text = "\n".join(textwrap.fill(line, max(min(letters), 20)) for line in below)
    foot = 0.2 + (text.count("\n") + 1) * 1.3 * _SMALL / 72 if text else 0.0
    total = foot + bottom + height + 0.45
    figure = Figure(figsize=(width, total))
    FigureCanvasAgg(figure)
    figure.text(0.1 / width, 0.1 / total, text, fontsize=_SMALL, va="bottom", linespacing=1.2)
    wide = width - left - right
    return figure, figure.add_axes((left / width, (foot + bottom) / total, wide / width, height / total))
