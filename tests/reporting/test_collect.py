"""What a grid has left is read as it is: finished, missing, stopped, damaged, each named."""

import json
import re

import numpy as np
import pytest

from core.errors import UserError
from reporting.collect import read_tables
from tests.support.fake_grid import ACTIONS, CLIPS, make_plan, make_run, right_but


def only_row(grid):
    return read_tables(grid)[0].rows[0]


def test_finished_runs_are_read_as_they_were_written(tmp_path):
    runs = [make_run(tmp_path / name, right_but(seed)) for seed, name in enumerate("ab")]
    plan = make_plan(tmp_path, {"a row": [runs[0], tmp_path / "b"]})
    (table,) = read_tables(tmp_path)
    (row,) = table.rows
    assert (table.name, table.plan, row.name, row.missing) == ("table", plan, "a row", ())
    assert [run.plan.seed for run in row.finished] == [0, 1]
    assert row.values("top1") == [pytest.approx(100 * 23 / 24)] * 2
    first = row.finished[0]
    assert first.class_names == ACTIONS and first.predictions.keys == CLIPS
    assert first.epochs.iloc[1].dropna().to_dict() == {
        "epoch": 1, "split": "test", "loss": 2, "accuracy": 20, "seconds": 3, "clips_per_sec": 99
    }  # fmt: skip
    assert first.cost == {} and first.settings == {"device": "cpu"}


def test_folders_of_a_plan_are_relative_to_the_grid(tmp_path):
    make_run(tmp_path / "grid" / "runs" / "a", right_but())
    make_plan(tmp_path / "grid", {"a row": ["runs/a"]})
    assert only_row(tmp_path / "grid").values("top1") == [100]


def test_runs_that_are_not_there_yet(tmp_path):
    started, stopped = tmp_path / "started", tmp_path / "stopped"
    for folder in (started, stopped):
        (make_run(folder, right_but()) / "eval.json").unlink()
    (started / "metrics.csv").unlink()
    (stopped / "log.txt").write_text("out of memory")
    make_plan(tmp_path, {"a row": [tmp_path / "never", started, stopped]})
    row = only_row(tmp_path)
    assert not row.finished
    assert [run.state for run in row.missing] == ["not started", "not finished", "not finished"]
    assert "has not finished an epoch" in row.missing[1].reason
    assert "epoch 2" in row.missing[2].reason and str(stopped / "log.txt") in row.missing[2].reason


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_epochs(run, old, new):
    (run / "metrics.csv").write_text((run / "metrics.csv").read_text().replace(old, new, 1))


HEADER = "epoch,split,loss,accuracy,lr,seconds,clips_per_sec\n"
DAMAGE = {
    "eval.json cut": (lambda run: cut(run / "eval.json"), "eval.json is missing or damaged"),
    "eval.json no object": (lambda run: (run / "eval.json").write_text("[]"), "eval.json is damaged"),
    "eval.json edited": (lambda run: edit(run / "eval.json", top1=99.0), "are not of one evaluation"),
    "metrics.csv cut in its first line": (
        lambda run: (run / "metrics.csv").write_text(
            "epoch,split,loss,accuracy,lr,seconds,clips_per_sec\n1,tr\n"
        ),
        "metrics.csv is damaged: a line has no epoch or no seconds",
    ),
    "metrics.csv of blank lines": (
        lambda run: (run / "metrics.csv").write_text(
            "epoch,split,loss,accuracy,lr,seconds,clips_per_sec\n\n"
        ),
        "metrics.csv is damaged: no epoch stands in it",
    ),
    "metrics.csv of another epoch": (
        lambda run: edit(run / "eval.json", epoch=9),
        "metrics.csv is damaged: it ends with epoch 2, and eval.json is of epoch 9",
    ),
    "packages no object": (lambda run: edit(run / "env.json", packages=[]), "no dict under packages"),
    "cost no number": (
        lambda run: (run / "cost.json").write_text('{"parameters": "many"}'),
        "cost.json is damaged: no number under parameters",
    ),
    "no number": (lambda run: edit(run / "eval.json", n_clips="many"), "no number under n_clips"),
    "no selection": (lambda run: edit(run / "eval.json", selected=None), "no number under selected.top1"),
    "predictions cut": (lambda run: cut(run / "predictions.npz"), "predictions.npz holds no predictions"),
    "predictions gone": (lambda run: (run / "predictions.npz").unlink(), "predictions.npz"),
    "other classes": (lambda run: (run / "per_class.csv").write_text("class\nx\n"), "not of one evaluation"),
    "empty table": (lambda run: (run / "per_class.csv").write_text(""), "per_class.csv is damaged"),
    "no class": (lambda run: (run / "per_class.csv").write_text("label\n1\n"), "per_class.csv is "),
    "no numbers": (lambda run: edit_epochs(run, "2.5", "much"), "metrics.csv is damaged: .*much"),
    "one cell more": (lambda run: edit_epochs(run, "2.5", "2.5,1"), "metrics.csv is "),
    "a column twice": (lambda run: edit_epochs(run, "loss", "accuracy"), "the column accuracy twice"),
    "metrics": (lambda run: (run / "metrics.csv").write_text("epoch\n1\n"), "metrics.csv is damaged"),
    "no environment": (lambda run: (run / "env.json").unlink(), "env.json is missing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_the_other_seeds_are_kept(tmp_path, kind):
    damage, message = DAMAGE[kind]
    runs = [make_run(tmp_path / name, right_but()) for name in "ab"]
    damage(runs[0])
    make_plan(tmp_path, {"a row": runs})
    row = only_row(tmp_path)
    assert [run.folder for run in row.finished] == [runs[1]]
    assert row.missing[0].state == "damaged"
    assert re.search(message, row.missing[0].reason) and str(runs[0]) in row.missing[0].reason


def test_a_seed_that_was_tested_on_other_clips_is_not_averaged_in(tmp_path):
    runs = [make_run(tmp_path / name, right_but()) for name in "ab"]
    with np.load(runs[1] / "predictions.npz") as saved:
        content = dict(saved)
    content["clip"][0] = "S2/close_jam/9"
    np.savez(runs[1] / "predictions.npz", **content)
    make_plan(tmp_path, {"a row": runs})
    row = only_row(tmp_path)
    assert len(row.finished) == 1 and "other clips" in row.missing[0].reason


def test_a_number_that_not_all_seeds_have_is_no_number_of_the_row(tmp_path):
    runs = [
        make_run(tmp_path / name, right_but(), **more) for name, more in (("a", {"turned": 40}), ("b", {}))
    ]
    make_plan(tmp_path, {"a row": runs})
    assert only_row(tmp_path).values("turned") == []
    make_plan(tmp_path, {"a row": runs[:1]})
    assert only_row(tmp_path).values("turned") == [40]


def test_no_table_at_all(tmp_path):
    with pytest.raises(UserError, match="no table in .*tables; name the --out of a grid"):
        read_tables(tmp_path)
