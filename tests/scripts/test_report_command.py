"""report.py as a user starts it: on real runs, on grids with gaps, on what can't be meant."""

import csv
import json
import re
import shutil

import pytest

import report
from core.files import write_json
from grids.plan import TABLES
from reporting.collect import read_tables
from tests.support.fake_grid import make_plan, make_run, right_but


def start(command, grid, out, *more):
    return command(report.main, report.Config, "--grid", grid, "--out", out, *more)


def test_real_runs_with_attention_measured_and_drawn(command, tmp_path, tree, stage_1, flow_run):
    """A run directory that training made has everything that the report reads."""
    copy = shutil.copytree(stage_1, tmp_path / "stage_1")
    make_plan(tmp_path, {"first": [copy], "flow": [flow_run]}, inputs={"data": tree})
    status, said, errors = start(
        command, tmp_path, tmp_path / "out", "--attention", "--heat", "S2/open_jam/1", "--device", "cpu"
    )
    assert (status, errors) == (0, ""), said
    out = tmp_path / "out"
    evaluation = json.loads((stage_1 / "eval.json").read_text())
    with (out / "table-results.csv").open() as file:
        first, flow = csv.DictReader(file)
    assert float(first["top-1 %"]) == evaluation["top1"] and float(first["order %"]) == evaluation["order"]
    with (out / "table-cost.csv").open() as file:
        assert all(
            float(row["memory, GiB"]) > 0.05 and float(row["epochs"]) > 0 for row in csv.DictReader(file)
        )
    with (out / "table-attention-pointing.csv").open() as file:
        assert {row["on"] for row in csv.DictReader(file)} >= {"hand", "object", "moving"}
    page = (out / "index.html").read_text()
    assert "data:image/gif" not in page and not re.search(r"src=\"(?!data:)", page)
    named = re.findall(r"href=\"(?!data:|#)([^\"]*)", page)
    assert all((out / file).exists() for file in named) and "heat/table/index.html" in named
    assert (out / "heat" / "table" / "S2_open_jam_1.png").is_file()
    assert "measured; report.py --attention does it" not in page


def test_a_run_whose_weights_are_lost_costs_no_report(command, tmp_path, tree, stage_1):
    runs = [shutil.copytree(stage_1, tmp_path / name) for name in ("cut", "gone")]
    (runs[0] / "last.pt").write_bytes((runs[0] / "last.pt").read_bytes()[:5000])
    (runs[1] / "last.pt").unlink()
    make_plan(tmp_path, {run.name: [run] for run in runs}, inputs={"data": tree})
    words = ("--attention", "--heat", "S2/open_jam/1", "--device", "cpu")
    status, said, errors = start(command, tmp_path, tmp_path / "out", *words)
    assert (status, errors) == (0, ""), said
    for run in runs:
        assert f"attention not measured: {run}" in said
    text = (tmp_path / "out" / "report.md").read_text()
    assert f"Not drawn: {runs[0] / 'last.pt'} is no checkpoint" in text


def test_gaps_are_reported_and_damage_is_status_1(command, tmp_path):
    runs = [make_run(tmp_path / name, right_but()) for name in "abc"]
    (runs[1] / "eval.json").unlink()
    make_plan(tmp_path, {"a row": runs[:2], "another": ["never"]})
    status, said, _ = start(command, tmp_path, tmp_path / "out")
    assert status == 0 and f"not finished: a row, seed 1: {runs[1]}" in said
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| a row | 1 of 2 | 100.0 |" in text and "| another | 0 of 1 | — |" in text
    assert "### What is missing" in text and "1 of 3 runs finished" in text
    (runs[0] / "predictions.npz").write_bytes(b"?")
    make_plan(tmp_path, {"a row": runs})
    status, said, _ = start(command, tmp_path, tmp_path / "out")
    assert status == 1 and f"damaged: a row, seed 0: {runs[0] / 'predictions.npz'}" in said
    assert "| a row | 1 of 3 | 100.0 |" in (tmp_path / "out" / "report.md").read_text()


def test_a_grid_where_nothing_has_finished(command, tmp_path):
    make_plan(tmp_path, {"a row": ["never"]})
    status, _, errors = start(command, tmp_path, tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "No run of this table has finished yet." in (tmp_path / "out" / "report.md").read_text()


def test_clips_that_are_gone(command, tmp_path):
    run = make_run(tmp_path / "a", right_but())
    (run / "config.yaml").write_text("attention: cam\nframes: 7\n")
    (run / "last.pt").touch()
    make_plan(tmp_path, {"a row": [run]}, inputs={"data": tmp_path / "gone"})
    status, _, _ = start(command, tmp_path, tmp_path / "out", "--heat", "S2/open_jam/1")
    said = f"the clips of table are not at {tmp_path / 'gone'}; say where they are with --data"
    assert status == 0 and said in (tmp_path / "out" / "report.md").read_text()
    status, _, errors = start(command, tmp_path, tmp_path / "out", "--attention")
    assert status == 2 and said in errors


def test_clips_of_another_tree_are_not_taken_for_the_runs_own(command, tmp_path, tree, stage_1):
    run = shutil.copytree(stage_1, tmp_path / "run")
    make_plan(tmp_path, {"a row": [run]}, inputs={"data": tree})
    status, _, errors = start(command, tmp_path, tmp_path / "out", "--attention", "--data", tmp_path / "none")
    assert status == 2 and f"no such folder: --data {tmp_path / 'none'}" in errors
    other = shutil.copytree(tree, tmp_path / "other", symlinks=True)
    shutil.rmtree(other / "processed_frames2/S2/stir_spoon,cup")
    status, _, errors = start(command, tmp_path, tmp_path / "out", "--attention", "--data", other)
    assert status == 2 and f"{other} holds other clips of the test users than {run} was tested on" in errors
    assert not (tmp_path / "out").exists()


def test_attention_is_measured_on_the_tree_that_each_row_was_trained_on(tmp_path, monkeypatch):
    runs = {}
    for name in ("whole", "hidden"):
        (tmp_path / name).mkdir()
        runs[name] = [make_run(tmp_path / "runs" / name, right_but())]
        settings = f"attention: cam\nframes: 7\ndata: {tmp_path / name}\n"
        (runs[name][0] / "config.yaml").write_text(settings)
    make_plan(tmp_path, runs, inputs={"data": tmp_path / "whole", "hidden": tmp_path / "hidden"})
    measured = {}

    def measure(config):
        measured[config.run.name] = config.data.name
        content = json.loads((config.run / "eval.json").read_text()) | {"split": "test"}
        write_json(config.run / "evaluation" / "test-last" / "eval.json", content)

    monkeypatch.setattr(report.evaluate, "main", measure)
    monkeypatch.setattr(report, "unreadable", lambda folder: "")
    config = report.Config(grid=tmp_path, out=tmp_path / "out", attention=True)
    report.measure_attention(read_tables(tmp_path), config)
    assert measured == {"whole": "whole", "hidden": "hidden"}


@pytest.mark.parametrize("there", ["nothing", "a bad table", "other files", "a file"])
def test_mistakes_are_said_before_anything_is_written(command, tmp_path, there):
    out = tmp_path / "out"
    if there != "nothing":
        make_plan(tmp_path, {"a row": ["never"]})
    if there == "a bad table":
        (tmp_path / TABLES / "table.yaml").write_text("title: x\nrow: []\n")
    if there == "other files":
        out.mkdir()
        (out / "thesis.tex").touch()
    if there == "a file":
        out.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    status, _, errors = start(command, tmp_path, out)
    messages = {
        "nothing": "no table in",
        "a bad table": "table.yaml: ",
        "other files": "no report",
        "a file": "a file",
    }
    assert status == 2 and messages[there] in errors and "Traceback" not in errors
    assert sorted(tmp_path.rglob("*")) == before
