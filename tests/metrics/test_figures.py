"""Pictures of classes with long, foreign and odd names: readable, or shortened and explained; no warnings."""

import csv
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from core.fonts import DEFAULT, drawable, fonts_for, lines_in_one_font, shortened
from metrics.figures import (
    Estimate,
    _unbeaten,
    _write_beside,
    axis_labels,
    save_changes,
    save_confusion,
    save_costs,
    save_shares,
)
from metrics.statistics import wilson_interval

CHINESE, LONG = "\u6253\u5f00_\u679c\u9171", "take_" + "very_long_" * 12 + "cup"
UNKNOWN = "\ue0ff"  # of the private area, in which no font has a letter here
NAMES = {
    "Chinese": CHINESE,
    "Hebrew": "\u05e4\u05ea\u05d7_\u05e8\u05d9\u05d1\u05d4",
    "Arabic": "\u0641\u062a\u062d_\u0645\u0631\u0628\u0649",
    "Thai": "\u0e40\u0e1b\u0e34\u0e14",
    "Cyrillic and a formula": "\u041a\u043e\u0444\u0435_$x_1$",
    "accent apart": "pure\u0301e",
    "lines and tabs": "open\njam\tnow",
    "bytes that are no text": "open_\udcff",
    "emoji": "open_\U0001f36f",
    "no letters": "_",
    "long": LONG,
    "long and Chinese": CHINESE * 25,
    "backslash": "open\\njam",
}

LIKE_OTHERS = ("Hebrew", "Arabic", "Thai", "accent apart", "emoji", "backslash")  # once a matrix has them


@pytest.fixture(autouse=True)
def a_warning_is_an_error(recwarn):
    yield
    assert not [str(found.message) for found in recwarn]


@pytest.mark.parametrize("kind", NAMES)
def test_a_matrix_of_any_names(tmp_path, kind):
    save_confusion(tmp_path / "confusion.png", np.eye(2, dtype=np.int64), ("open_jam", NAMES[kind]))
    ink(tmp_path / "confusion.png")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.stress if kind in LIKE_OTHERS else ()) for kind in NAMES]
)
def test_changes_of_any_names_against_runs_of_any_names(tmp_path, kind):
    gains = {NAMES[kind]: np.array([1, -2]), "flow": np.array([0, 1])}
    save_changes(tmp_path / "fusion.png", gains, ("open_jam", NAMES[kind]), "a title")
    ink(tmp_path / "fusion.png")


@pytest.mark.parametrize(  # cells are of another size from 11 and from 31 classes on
    "classes", [2, 11, 31, *(pytest.param(many, marks=pytest.mark.stress) for many in (20, 61, 200))]
)
def test_labels_have_the_room_they_need(tmp_path, classes):
    names = tuple(f"spread_jam,spoon,bread_{number}" for number in range(classes))
    save_confusion(tmp_path / "confusion.png", np.eye(classes, dtype=np.int64), names)
    width, height = ink(tmp_path / "confusion.png")
    assert max(width, height) < 3500


def ink(path):
    """Check that nothing touches the edge of a picture; give its size."""
    with Image.open(path) as picture:
        dark = np.asarray(picture.convert("L")) < 200
        assert dark.any()
        edges = (dark[:4], dark[-4:], dark[:, :4], dark[:, -4:])
        assert not any(edge.any() for edge in edges), "a label is cut"
        return picture.size


def test_names_that_fit_are_labels_as_they_are():
    names = ["spread_jam,spoon,bread", "pour_mustard,cheese,bread", "caf\u00e9"]
    assert axis_labels(names, [1, 2, 3]) == (names, [])


def test_long_names_are_numbered_and_stand_in_full_below():
    labels, below = axis_labels(["open_jam", LONG, LONG[:-1] + "t"], [1, 2, 7])
    assert labels[0] == "open_jam" and labels[1].startswith("2: take_very") and labels[1].endswith("_cup")
    assert max(map(len, labels)) <= 40 and len(set(labels)) == 3
    assert below == [f"2: {LONG}", f"7: {LONG[:-1]}t"]


def test_letters_without_a_font_are_escaped_and_explained(tmp_path):
    labels, below = axis_labels([f"open_{UNKNOWN}", "open\\njam"], [4, 5])
    assert labels == ["4: open_\\ue0ff", "open\\njam"]
    assert len(below) == 1 and "no font here" in below[0] and "per_class.csv" in below[0]


def test_another_font_helps_where_the_first_lacks_a_letter():
    letter = "\u0359"  # in STIXGeneral, which comes with matplotlib like the default
    assert fonts_for("open_jam") == [DEFAULT]
    assert fonts_for("x" + letter)[0] == DEFAULT and len(fonts_for("x" + letter)) == 2
    assert drawable("x" + letter) == "x" + letter and drawable("e\u0301") == "\u00e9"


def test_one_font_for_captions():
    assert lines_in_one_font("S2/open_jam\n\u05e4")[1] == ["S2/open_jam", "\u05e4"]
    file, lines = lines_in_one_font(f"open_{UNKNOWN}")
    assert "DejaVuSans" in file and lines == ["open_\\ue0ff"]
    only_elsewhere = "\u0359\u1d8a"  # both in STIXGeneral, neither in the default
    file, lines = lines_in_one_font(only_elsewhere)
    assert "DejaVuSans.ttf" not in file and lines == [only_elsewhere]


def test_the_middle_is_cut_out():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 7) == "abcd\u2026jk"


def test_numbers_are_lines_of_the_table(tmp_path):
    from metrics.predictions import Predictions, write_evaluation

    names = ("open_jam", LONG)
    write_evaluation(tmp_path, Predictions(("a",), np.array([1]), np.eye(2)[1:], 0.0, {}), names, {})
    (label,) = axis_labels(names, [1, 2])[0][1:]
    with (tmp_path / "per_class.csv").open(newline="") as file:
        assert list(csv.DictReader(file))[int(label.split(":")[0]) - 1]["class"] == LONG


def test_texts_beside_a_crowd_of_points_cover_no_other_and_stay_inside():
    figure = Figure(figsize=(7, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", xlim=(0.1, 100), ylim=(0, 70))
    rng = np.random.default_rng(0)
    points = [*zip(np.exp(rng.normal(2, 0.3, 20)), rng.normal(40, 4, 20), strict=True), (99.0, 69.0)]
    _write_beside(axes, points, [f"{number}  a head" for number in range(len(points))])
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without their lines
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert all(axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1 for box in boxes)


@pytest.mark.parametrize("costs", [(2.0, 5.0), (25.0, 50.0), (0.03, 60.0), (4.0, 4.0)])
def test_an_axis_of_costs_has_numbers(costs, tmp_path, monkeypatch):
    seen, save = [], Figure.savefig

    def look(figure, *given, **named):
        axes = figure.axes[0]
        low, high = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        seen.extend(label.get_text() for at, label in ticks if low <= at <= high)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", look)
    points = {str(number): Estimate(cost, 50.0, 40.0, 60.0) for number, cost in enumerate(costs)}
    save_costs(tmp_path / "costs.png", points, "ms", "cost")
    assert seen and all(seen)


def test_what_no_other_beats_at_its_cost():
    points = {"dear": (9.0, 50.0), "worse": (5.0, 30.0), "cheap": (1.0, 20.0), "equal": (5.0, 40.0)}
    assert _unbeaten({n: Estimate(*at, 0.0, 99.0) for n, at in points.items()}) == ["cheap", "equal", "dear"]


def test_estimates_at_the_very_ends_are_drawn(tmp_path):
    """Wilson's interval of 0 of 6 clips begins at 0, but for rounding; so with 6 of 6."""
    ends = {right: Estimate(25.0, 100 * right / 6, *wilson_interval(right, 6)) for right in (0, 6)}
    beyond = Estimate(50.0, 0.0, 1e-15, 40.0)
    save_shares(tmp_path / "shares.png", {CHINESE: [ends[0], beyond], "$all$": [ends[6]]}, "how early")
    save_costs(tmp_path / "costs.png", {CHINESE: ends[0], "beyond": beyond, "all": ends[6]}, "ms", "cost")
    for name in ("shares.png", "costs.png"):
        ink(tmp_path / name)
