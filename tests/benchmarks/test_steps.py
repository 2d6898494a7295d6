"""What the benchmarks time are the same steps, whichever way they are taken."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import run
from benchmarks.alternate import alternate, speedup
from benchmarks.pages import insert_tables, markdown
from benchmarks.steps import BF16, EXACT, KEPT, PARTS, PLAIN, Size, build, gradient, gradient_error, in_double

SMALL = Size(batch=2, frames=3, side=64, hidden=8, backbone="resnet18")


@pytest.mark.parametrize("part", PARTS)
def test_every_way_has_the_loss_and_the_gradient_of_the_plain_loop(part):
    exact = in_double(build(part, PLAIN, SMALL))
    loss, true = float(exact.loss().detach()), gradient(exact)
    assert loss == pytest.approx(math.log(61), rel=0.5), "a classifier that knows nothing"
    for way in (PLAIN, EXACT, KEPT):
        step = build(part, way, SMALL)
        assert float(step.loss().detach()) == pytest.approx(loss, rel=1e-5)
        assert gradient_error(gradient(step), true) < 1e-3
    if part != "flow":
        half = build(part, KEPT, SMALL, "float16")
        assert 0 < gradient_error(gradient(half), true) < 0.1


def test_a_wrong_gradient_is_told():
    true = gradient(in_double(build("stage 1", PLAIN, SMALL)))
    wrong = true | {"classifier.bias": true["classifier.bias"] * 1.5}
    assert gradient_error(wrong, true) > 1e-3
    with pytest.raises(AssertionError, match=r"classifier\.bias"):
        gradient_error({name: value for name, value in true.items() if name != "classifier.bias"}, true)


def test_alternation_and_ratios():
    order = []
    found = alternate({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == ["a", "b"] * 4 and [len(times) for times in found.values()] == [3, 3]
    assert speedup([2.0, 9.0, 4.0], [1.0, 1.0, 2.0]) == 2.0


def test_the_fit_of_growth_takes_the_points_of_one_line():
    points = [
        {"clips": clips, "frames": frames, PLAIN: 10 + 3 * frames + 2 * (clips - 8), BF16: 1.0}
        for clips, frames in [(2, 7), (8, 7), (8, 16), (8, 25)]
    ]
    at, ms = run._line(points, "frames", PLAIN)
    assert at == [7, 16, 25] and np.polyfit(at, ms, 1) == pytest.approx([3, 10])
    assert run._line(points, "clips", PLAIN)[0] == [2, 8]


def test_every_table_has_its_place_on_the_page():
    page = Path(run.__file__).parents[1] / "docs" / "performance.md"
    text = insert_tables(run.read_page(page, run.TABLES), {name: f"new {name}" for name in run.TABLES})
    assert all(f"new {name}" in text for name in run.TABLES)
    assert {*run.WRITERS, "marks"} == set(run.TABLES)
    assert markdown(["a", "b"], [["x", "1"]]).splitlines() == ["| a | b |", "| --- | ---: |", "| x | 1 |"]


def test_the_page_and_the_readme_say_what_was_measured():
    """Nothing of the tables is typed in: they are written anew from the rounds beside the page."""
    root = Path(run.__file__).parents[1]
    page, found = root / "docs" / "performance.md", json.loads((root / "docs/performance.json").read_text())
    tables = run.write_tables(found)
    tables["growth"] = f"![Time of a step over frames and over clips](performance.png)\n\n{tables['growth']}"
    assert insert_tables(page.read_text(), tables) == page.read_text()
    readme = (root / "README.md").read_text()
    for name, costs in found["recipes"].items():
        hours = f"{costs['hours at the fastest']:.0f} h | {costs['hours in float32']:.0f} h |"
        (line,) = (line for line in readme.splitlines() if line.startswith(f"| `{name}.yaml`"))
        assert line.endswith(hours) and f"| {costs['trainings']} |" in line
        at_20_tflops = costs["10^15 operations"] * 1e15 / 20e12 / 3600
        assert f"| {at_20_tflops:.{0 if at_20_tflops > 10 else 1}f} h |" in line


def test_quick_is_small():
    config = run.BenchmarkConfig(quick=True)
    assert config.size.side == 64 and replace(config.size, frames=16).hidden == 16
    assert run.BenchmarkConfig().size == Size()
