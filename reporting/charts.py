"""Charts of a page as inline SVG, in the page's colours, so that they follow its dark mode and print sharply.

Coordinates are in pixels of a chart as wide as the page's column.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from markupsafe import Markup

from core.fonts import shortened

STYLE = Path(__file__).parent / "charts.css"
"""Colours of charts, and of the page that they stand on."""
_WIDTH, _LABELS, _LINE, _GAP = 1040, 300, 24, 22
_LABEL_LETTERS = 38
_HEAD, _FOOT = 30, 24
_LINED, _FEW = 3, 15
"""Points from which a curve has a line, and up to which it shows its points."""


@dataclass(frozen=True)
class Chart:
    """A drawing and what it shows, in words."""

    svg: Markup
    caption: str

    def as_file(self) -> str:
        """Write it as an SVG file of its own, for slides and READMEs; it turns dark with what shows it."""
        style = Markup("<style>{}</style>").format(Markup(STYLE.read_text(encoding="utf-8")))
        first, rest = self.svg.split(">", maxsplit=1)
        return f'{first} xmlns="http://www.w3.org/2000/svg" class="chart">{style}{rest}\n'


@dataclass(frozen=True)
class Mark:
    """A value with its interval.

    Attributes:
        value: Where the dot stands.
        low: Lower end of the interval.
        high: Upper end.
        seeds: The single values that `value` is the mean of.
        strong: Whether it is drawn full; others are hollow.
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()
    strong: bool = True


@dataclass(frozen=True)
class Panel:
    """A column of a dot plot.

    Attributes:
        title: Its heading.
        marks: One a line, None where there is none.
        low: Left end of the axis.
        high: Right end.
        chance: Where a line marks chance, or no difference.
        spec: How values are written.
    """

    title: str
    marks: Sequence[Mark | None]
    low: float = 0.0
    high: float = 100.0
    chance: float | None = None
    spec: str = ".1f"


def dot_plot(names: Sequence[str], panels: Sequence[Panel], caption: str) -> Chart:
    """Draw a line a row and a column a panel: dots with intervals, and the seeds' own values as small dots.

    Args:
        names: Of the lines.
        panels: Those without a mark are left out.
        caption: What the chart shows.
    """
    panels = [panel for panel in panels if any(panel.marks)]
    # Each panel has a gap before it, and half of one behind the last holds its axis' last number.
    width = (_WIDTH - _LABELS - _GAP * (len(panels) + 0.5)) / max(len(panels), 1)
    bottom = _HEAD + _LINE * len(names)
    parts = [
        _text(0, _HEAD + _LINE * (number + 0.5) + 5, shortened(name, _LABEL_LETTERS), title=name)
        for number, name in enumerate(names)
    ]
    rules = [_HEAD + _LINE * number for number in range(len(names) + 1)]
    parts += [_line("rule", 0, y, _WIDTH, y) for y in rules]
    for number, panel in enumerate(panels):
        left = _LABELS + number * (width + _GAP) + _GAP
        parts.append(_panel(panel, names, left, width, bottom))
    return Chart(_svg(_WIDTH, bottom + _FOOT, parts, caption), caption)


def _panel(panel: Panel, names: Sequence[str], left: float, width: float, bottom: float) -> Markup:
    def place(value: float) -> float:
        share = (value - panel.low) / (panel.high - panel.low)
        return left + width * min(max(share, 0.0), 1.0)

    parts = [_text(left, _HEAD - 12, panel.title, "head")]
    for tick in _ticks(panel.low, panel.high):
        parts.append(_line("grid", place(tick), _HEAD, place(tick), bottom))
        parts.append(_text(place(tick), bottom + 16, _signed(f"{tick:g}"), "tick"))
    if panel.chance is not None:
        parts.append(_line("chance", place(panel.chance), _HEAD, place(panel.chance), bottom))
    for number, (name, mark) in enumerate(zip(names, panel.marks, strict=True)):
        if mark is None:
            continue
        top = _HEAD + _LINE * number
        y = top + _LINE / 2
        seeds = mark.seeds if len(mark.seeds) > 1 else ()
        parts.append(
            _tag(
                "g",
                _tag("title", _said(name, mark, panel.spec)),
                _tag("rect", kind="hit", x=left, y=top, width=width, height=_LINE),
                _line("range", place(mark.low), y, place(mark.high), y),
                *(_tag("circle", kind="seed", cx=place(value), cy=y, r=2.2) for value in seeds),
                _tag("circle", kind="dot" if mark.strong else "dot hollow", cx=place(mark.value), cy=y, r=5),
            )
        )
    return Markup("").join(parts)


def _said(name: str, mark: Mark, spec: str) -> str:
    said = f"{name}: {mark.value:{spec}} ({mark.low:{spec}} to {mark.high:{spec}})"
    if len(mark.seeds) > 1:
        said += f"; seeds {', '.join(f'{value:{spec}}' for value in mark.seeds)}"
    return said


@dataclass(frozen=True)
class Pair:
    """How much a row has more than another: points, with p corrected for the number of pairs."""

    row: str
    other: str
    points: float
    p: float


def triangle(names: Sequence[str], differences: Iterable[Pair], caption: str) -> Chart:
    """Draw the differences of all pairs as coloured cells, the row's value less the column's.

    Cells whose p is below 0.05 are full and framed, the others pale.
    """
    found = {(each.row, each.other): each for each in differences}
    shown = [name for name in names if any(name in pair for pair in found)]
    largest = max((abs(each.points) for each in found.values()), default=0.0) or 1.0
    side, high, top = 62.0, 30.0, 26.0
    parts: list[Markup] = []
    for line, name in enumerate(shown):
        y, middle = top + high * line, top + high * (line + 0.5) + 5
        parts.append(_text(0, middle, f"{line + 1}  {shortened(name, _LABEL_LETTERS)}", title=name))
        if line + 1 < len(shown):
            parts.append(_text(_LABELS + side * (line + 0.5), top - 9, f"− {line + 1}", "tick"))
        for column, other in enumerate(shown[:line]):
            if (each := found.get((name, other))) is None:
                continue
            sure, x = each.p < 0.05, _LABELS + side * column
            kind = f"cell {'more' if each.points >= 0 else 'less'} {'sure' if sure else 'unsure'}"
            opacity = (0.25 + 0.6 * abs(each.points) / largest) * (1.0 if sure else 0.45)
            said = f"{name} − {other}: {_signed(f'{each.points:+.1f}')} points, Holm's p {each.p:.3f}"
            box = {"x": x + 1, "y": y + 1, "width": side - 2, "height": high - 2}
            written = _text(x + side / 2, middle, _signed(f"{each.points:+.1f}"), "cell-text")
            rect = _tag("rect", kind=kind, style=f"fill-opacity:{opacity:.2f}", **box)
            parts.append(_tag("g", _tag("title", said), rect, written))
    return Chart(_svg(_WIDTH, top + high * len(shown) + 4, parts, caption), caption)


@dataclass(frozen=True)
class Curve:
    """A line through points; of few points only the points are drawn, since a line would claim to know more.

    Attributes:
        kind: What it is of, such as "train", which gives its colour.
        points: x and y, by x.
    """

    kind: str
    points: Sequence[tuple[float, float]]


def curves(
    panels: Mapping[str, Sequence[Curve]], tops: Mapping[str, float], most: float, caption: str
) -> Chart:
    """Draw curves over epochs from 0 to `most`, a panel for each measure, small enough to stand in rows.

    Args:
        panels: The curves, by the panel's title.
        tops: Upper ends of the panels' axes, which begin at 0; what is above is drawn there.
        most: Right end of all axes.
        caption: What they are of.
    """
    width, height, gap, top, foot = 190.0, 110.0, 46.0, 26.0, 22.0
    parts: list[Markup] = []
    for number, (title, lines) in enumerate(panels.items()):
        left, bottom, end = gap + number * (width + gap), top + height, tops[title]
        parts.append(_text(left, top - 10, title, "head"))
        for tick in _ticks(0.0, end):
            y = bottom - height * tick / end
            parts += [_line("grid", left, y, left + width, y), _text(left - 16, y + 4, f"{tick:g}", "tick")]
        for tick in filter(float.is_integer, _ticks(0.0, most)):
            parts.append(_text(left + width * tick / most, bottom + 16, f"{tick:g}", "tick"))
        for curve in lines:
            places = [
                (left + width * x / most, bottom - height * min(max(y, 0.0), end) / end)
                for x, y in curve.points
            ]
            if len(places) >= _LINED:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
                parts.append(_tag("polyline", kind=f"curve {curve.kind}", points=path))
            if len(places) <= _FEW:
                parts += [_tag("circle", kind=f"point {curve.kind}", cx=x, cy=y, r=2.6) for x, y in places]
    total = gap + len(panels) * (width + gap)
    return Chart(_svg(total, top + height + foot, parts, caption), caption)


def of_seeds(values: Sequence[float], ends: tuple[float, float] | None) -> Mark | None:
    """Mark the mean of some seeds' values with an interval; None without values."""
    if not values or ends is None:
        return None
    return Mark(mean(values), *ends, seeds=tuple(values))


def _ticks(low: float, high: float) -> list[float]:
    """Choose three to six round numbers within an axis."""
    span = high - low
    power = math.floor(math.log10(span / 5))
    step = next(step for digit in (1, 2, 5, 10) if span / (step := digit * 10.0**power) <= 5 * (1 + 1e-9))
    first = -(-low // step)
    places = range(int((high - step * first) / step + 1e-9) + 1)
    return [round(step * (first + k), max(6, -power)) for k in places]


def _svg(width: float, height: float, parts: Sequence[Markup], caption: str) -> Markup:
    box = f"0 0 {width:.0f} {height:.0f}"
    return _tag("svg", *parts, viewBox=box, role="img", aria_label=caption)


def _text(x: float, y: float, text: str, kind: str = "label", title: str = "") -> Markup:
    told = [_tag("title", title)] if title not in ("", text) else []
    return _tag("text", *told, text, kind=kind, x=x, y=y)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return _tag("line", kind=kind, x1=x1, y1=y1, x2=x2, y2=y2)


def _tag(name: str, *content: str, kind: str = "", **attributes: float | str) -> Markup:
    """Make an element; what is no markup yet is escaped."""
    written = {"class": kind} if kind else {}
    for key, value in attributes.items():
        written[key.replace("_", "-")] = value if isinstance(value, str) else f"{value:.6g}"
    inside = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in written.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), inside, Markup("").join(content))


def _signed(number: str) -> str:
    return number.replace("-", "−")
