"""Whole commands as the benchmark times them: their tables, and that they run."""

import sys
from pathlib import Path

import pytest

from benchmarks.commands import ROWS, measure_rows, measure_start, measure_together
from benchmarks.run import BenchmarkConfig
from benchmarks.steps import Size
from benchmarks.tables import write_tables
from core.errors import UserError
from grids.recipe import read_recipes
from tests.support.trees import png_tree

LENGTHS = {f"S{user}/{action}/1": 9 for user in range(1, 5) for action in ("close_jam", "open_jam")}
SMALL = Size(batch=2, frames=2, side=64, hidden=4, backbone="resnet18")


def rows(table):
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_the_table_of_starts_adds_up():
    seconds = {
        "loading modules": 5.0,
        "finding and checking images": 1.0,
        "decoding": 20.0,
        "the first step": 2.0,
    }
    found = {"start": {"alone": seconds | {"in all": 30.0}}}
    assert rows(write_tables(found)["start"]) == [["alone", "5.0", "1.0", "2.0", "8.0", "20.0", "2.0"]]


def test_the_table_of_trainings_at_once():
    timed = {"trainings": 4, "seconds": 80.0, "epoch": 0.5, "memory": None}
    found = {"together": {"1": timed, "4": timed | {"seconds": 40.0, "memory": 1.25}}}
    one, four = rows(write_tables(found)["together"])
    assert one == ["1", "80", "20.0", "0.50", "—"] and four == ["4", "40", "10.0", "0.50", "1.2"]


def test_the_table_of_rows_ends_with_the_report():
    trainings = {"convlstm-stage1": [2.0, 1.0, 1.0], "flow": [3.0]}
    found = {"rows": {"trainings": trainings, "grid": 20.0, "report": 4.0}}
    assert rows(write_tables(found)["rows"]) == [
        ["convlstm-stage1", "3", "1.00", "4"],
        ["flow", "1", "3.00", "3"],
        ["starts and ends", "", "", "13"],
        ["report", "", "", "4"],
        ["from command to report", "", "", "24"],
    ]


def test_the_rows_are_those_of_the_recipe():
    file = Path("recipes/step1.yaml")
    assert set(ROWS) <= {training.row for training in read_recipes((file,), None)[file].variants}


def test_what_takes_a_cpu_days_is_refused_there():
    with pytest.raises(
        UserError, match="--tables rows together: a CPU takes days; add --device cuda or --quick"
    ):
        BenchmarkConfig(tables=("together", "rows", "start"))
    assert BenchmarkConfig(tables=("together", "rows"), quick=True).quick


@pytest.mark.stress
def test_starts_are_timed_alone_and_in_a_grid(tmp_path):
    tree = png_tree(tmp_path / "tree", LENGTHS, maps=False, flow=False)
    found = measure_start(tree, SMALL)
    assert list(found) == ["alone", "first of a grid", "next of a grid"]
    for seconds in found.values():
        parts = [value for name, value in seconds.items() if name != "in all"]
        assert len(parts) == 4 and min(parts) >= 0 and sum(parts) < seconds["in all"]
    assert found["next of a grid"]["loading modules"] < found["alone"]["loading modules"] / 3


@pytest.mark.stress
def test_several_at_once_and_rows_run_on_a_tree(tmp_path):
    tree = png_tree(tmp_path / "tree", LENGTHS, maps=False)
    found = measure_together(tree, SMALL, 2, 2, (2,))
    assert list(found) == ["2"] and found["2"]["seconds"] > found["2"]["epoch"] > 0
    timed = measure_rows(tree, SMALL, 1)
    assert len(timed["trainings"]) == 6 and timed["report"] > 0
    assert timed["grid"] > sum(map(sum, timed["trainings"].values()))


def test_a_training_that_fails_is_no_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="the training that was timed failed: .*first_step.py"):
        measure_start(tmp_path, SMALL)
