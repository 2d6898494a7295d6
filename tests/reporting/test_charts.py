"""Charts as SVG: every mark where its value belongs, names escaped, and nothing but what a page may hold."""

import re
from xml.etree import ElementTree

import pytest

from reporting.charts import Mark, Pair, Panel, dot_plot, of_seeds, triangle

NAMES = ["plain", '<b> & "odd"', "a name of many, many letters, longer than its column is wide"]


def elements(chart, kind):
    tree = ElementTree.fromstring(chart.svg)
    return [one for one in tree.iter() if kind in one.get("class", "").split()]


def text(element):
    return "".join(element.itertext())


def test_marks_stand_where_their_values_are_between_the_ticks():
    marks = [Mark(0.0, 0.0, 20.0), Mark(50.0, 40.0, 60.0), Mark(100.0, 90.0, 100.0)]
    chart = dot_plot(NAMES, [Panel("top-1 %", marks), Panel("order %", marks, chance=50.0)], "what it shows")
    ticks = {float(t.get("x")): text(t) for t in elements(chart, "tick")}
    first = sorted(ticks)[:6]
    assert [ticks[x] for x in first] == ["0", "20", "40", "60", "80", "100"]
    dots, ranges = elements(chart, "dot"), elements(chart, "range")
    assert [float(dot.get("cx")) for dot in dots[:3]] == pytest.approx(
        [first[0], sum(first[2:4]) / 2, first[5]]
    )
    assert float(ranges[1].get("x1")) == pytest.approx(first[2], abs=0.01)
    assert float(ranges[1].get("x2")) == pytest.approx(first[3], abs=0.01)
    heights = [float(dot.get("cy")) for dot in dots]
    assert heights[:3] == heights[3:] == sorted(set(heights))
    (chance,) = elements(chart, "chance")
    assert float(chance.get("x1")) == pytest.approx(float(dots[4].get("cx")), abs=0.01)


def test_what_is_missing_leaves_a_gap_and_an_empty_panel_is_left_out():
    chart = dot_plot(NAMES, [Panel("a", [None, Mark(1, 0, 2), None]), Panel("b", [None] * 3)], "c")
    assert len(elements(chart, "dot")) == 1
    assert [text(head) for head in elements(chart, "head")] == ["a"]


def test_a_mark_says_its_numbers_and_shows_its_seeds():
    mark = of_seeds([40.0, 50.0, 60.0], (41.5, 58.4))
    chart = dot_plot(["row"], [Panel("x", [mark])], "c")
    assert "row: 50.0 (41.5 to 58.4); seeds 40.0, 50.0, 60.0" in text(ElementTree.fromstring(chart.svg))
    assert len(elements(chart, "seed")) == 3
    assert of_seeds([], None) is None
    assert not elements(dot_plot(["row"], [Panel("x", [of_seeds([40.0], (30.0, 50.0))])], "c"), "seed")


def test_names_are_escaped_and_long_ones_are_whole_when_pointed_at():
    svg = dot_plot(NAMES, [Panel("x", [Mark(1, 0, 2)] * 3)], "a <caption>").svg
    assert "<b>" not in svg and "<caption>" not in svg and "http" not in svg
    labels = [text(label) for label in ElementTree.fromstring(svg).findall("text[@class='label']")]
    assert labels[1] == NAMES[1] and labels[2].startswith(NAMES[2]) and "…" in labels[2]


def test_a_triangle_has_every_pair_once_coloured_by_sign_and_framed_where_sure():
    pairs = [Pair("b", "a", 4.0, 0.01), Pair("c", "a", -8.0, 0.04), Pair("c", "b", -12.0, 0.3)]
    chart = triangle(["a", "b", "c"], pairs, "c")
    assert [text(cell) for cell in elements(chart, "cell-text")] == ["+4.0", "−8.0", "−12.0"]
    cells = elements(chart, "cell")
    assert [cell.get("class") for cell in cells] == ["cell more sure", "cell less sure", "cell less unsure"]
    assert float(cells[1].get("x")) == float(cells[0].get("x")) < float(cells[2].get("x"))
    assert float(cells[0].get("y")) < float(cells[1].get("y")) == float(cells[2].get("y"))
    strength = [float(re.search(r"[\d.]+$", cell.get("style"))[0]) for cell in cells]
    assert strength[1] > strength[0] and strength[2] < strength[1], "the largest is pale, since it is unsure"


def test_a_file_of_its_own_has_its_colours_in_it():
    chart = dot_plot(NAMES[:2], [Panel("top-1 %", [Mark(0.0, 0.0, 20.0), None])], "what it shows")
    text = chart.as_file()
    tree = ElementTree.fromstring(text)
    assert tree.tag.endswith("}svg") and tree.get("class") == "chart" and tree.get("viewBox")
    assert "prefers-color-scheme: dark" in text and ".chart .dot" in text
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))
