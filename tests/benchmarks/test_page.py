"""The page on speed says what was measured, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from benchmarks import run, tables
from benchmarks.steps import BF16, PLAIN, WAYS, Size
from benchmarks.tables import insert_tables, markdown, read_page
from core.errors import UserError


def test_the_fit_of_growth_takes_the_points_of_one_line():
    points = [
        {"clips": clips, "frames": frames, PLAIN: 10 + 3 * frames + 2 * (clips - 8), BF16: 1.0}
        for clips, frames in [(2, 7), (8, 7), (8, 16), (8, 25)]
    ]
    found = {"growth": {"stage 1": points}}
    lines = tables.step_lines(found, "frames")
    plain, fastest = lines[f"stage 1, {PLAIN}"], lines[f"stage 1, {BF16}"]
    assert list(plain) == [7, 16, 25] and tables.fit_line(plain) == pytest.approx((10, 3))
    assert list(fastest.values()) == [1, 1, 1]
    assert all(list(line) == [2, 8] for line in tables.step_lines(found, "clips of a batch").values())
    found = {"clips": {"64": {PLAIN: [0.5, 0.9, 0.7], BF16: [1.0]}, "16": {PLAIN: [0.3], BF16: [1.0]}}}
    plain, _ = tables.epoch_lines(found).values()
    assert list(plain) == [16, 64] and list(plain.values()) == pytest.approx([300, 700])


def test_every_table_has_its_place_on_the_page():
    page = Path(run.__file__).parents[1] / "docs" / "performance.md"
    text = insert_tables(read_page(page, tables.ON_PAGE), {name: f"new {name}" for name in tables.ON_PAGE})
    assert all(f"new {name}" in text for name in tables.ON_PAGE)
    assert set(run.MEASURES) == set(tables.TABLES) and tuple(run.MEASURES) == get_args(run.TableName)
    assert markdown(["a", "b"], [["x", "1"]]).splitlines() == ["| a | b |", "| --- | ---: |", "| x | 1 |"]


def test_what_was_not_measured_is_said():
    assert set(tables.write_tables({}).values()) == {tables.NOT_MEASURED}


class RunsOnce:
    """A timer that runs its statement once and has taken a second."""

    median = 1.0

    def __init__(self, statement, *, globals, num_threads):
        self.statement, self.names = statement, globals

    def blocked_autorange(self, *, min_run_time):
        eval(self.statement, self.names)
        return self


def test_one_table_measured_again_leaves_the_others_and_never_mixes_machines(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in tables.TABLES))
    monkeypatch.setattr(run, "Timer", RunsOnce)
    here = run.measure_machine() | {"peak": {"float32": 2.0, "bfloat16": 4.0}}
    monkeypatch.setitem(run.MEASURES, "machine", lambda _: here)
    monkeypatch.setitem(
        run.MEASURES, "memory", lambda _: {"stage 1": dict.fromkeys(WAYS, {"process": 7, "tensors": 3})}
    )
    monkeypatch.setattr(run, "draw_growth", lambda *_: None)
    config = run.BenchmarkConfig(quick=True, write=page, tables=("memory",))
    with pytest.raises(UserError, match="page.json"):
        run.main(config)
    (tmp_path / "page.json").write_text(json.dumps({"machine": here, "clips": {}}))
    run.main(config)
    assert "| stage 1 | 7 (3) |" in page.read_text() and "runs at 2 GFLOP/s" in page.read_text()
    assert json.loads((tmp_path / "page.json").read_text())["machine"] == here
    (tmp_path / "page.json").write_text(json.dumps({"machine": here | {"cpu": "another"}}))
    with pytest.raises(UserError, match="measured with cpu another"):
        run.main(config)


def test_the_page_and_the_readme_say_what_was_measured():
    """No table is typed by hand: written again from the rounds next to the page they are the same."""
    root = Path(run.__file__).parents[1]
    page, found = root / "docs" / "performance.md", json.loads((root / "docs/performance.json").read_text())
    written = tables.write_tables(found)
    assert insert_tables(page.read_text(), {n: written[n] for n in tables.ON_PAGE}) == page.read_text()
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
