"""Late fusion by `evaluate.py --fuse`: on hand-made runs, and on the streams of the tiny kitchen."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
from core.errors import UserError
from data.images import read_grey, read_rgb
from data.index import ClipIndex
from metrics.predictions import Predictions

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("close_jam", "open_jam")
KEYS = ("S2/close_jam/1", "S2/close_jam/2", "S2/open_jam/1", "S2/open_jam/2")


def made(folder, logits, *, names=NAMES, keys=KEYS, labels=(0, 0, 1, 1)):
    """A run directory with what fusion reads."""
    folder.mkdir(parents=True)
    config = {"train_users": ["S1"], "test_users": ["S2"], "val_fraction": 0.0, "seed": 0}
    about = {"architecture": {}, "class_names": list(names), "preprocessing": {}, "config": config}
    torch.save({"model": {}, "epoch": 3} | about, folder / "last.pt")
    logits = np.array(logits, np.float32)
    Predictions(tuple(keys), np.array(labels), logits, 0.0, {}).save(folder / "predictions.npz")
    return folder


@pytest.fixture
def runs(tmp_path):
    rgb = made(tmp_path / "rgb", [[3, 0], [1, 0], [2, 0], [0, 1]])  # wrong on the third
    flow = made(tmp_path / "flow", [[0, 1], [1, 0], [0, 3], [1, 0]])  # wrong on the first and the last
    return rgb, flow


def fused(runs, **changes):
    config = evaluate.Config(fuse=runs, **changes)
    evaluate.main(config)
    names = "-".join(run.name for run in runs[1:])
    return config.out or runs[0] / "evaluation" / f"fusion-{names}"


def test_equal_weights_average_the_logits(runs, capsys):
    out = fused(runs)
    summary = json.loads((out / "eval.json").read_text())
    saved = np.load(out / "predictions.npz")
    np.testing.assert_allclose(saved["logits"], [[1.5, 0.5], [1, 0], [1, 1.5], [0.5, 0.5]])
    assert saved["clip"].tolist() == list(KEYS)
    assert summary["top1"] == 75.0 and summary["n_clips"] == 4 and summary["selection"] == "equal weights"
    rgb, flow = summary["runs"]
    assert (rgb["name"], rgb["weight"], rgb["top1"]) == ("rgb", 0.5, 75.0)
    assert (rgb["repaired"], rgb["broken"]) == (1, 1) and (flow["repaired"], flow["broken"]) == (1, 0)
    assert flow["top1"] == 50.0 and "weights_by_training_clips" not in summary
    said = capsys.readouterr().out
    assert "late fusion: top-1 75.0 %" in said and "repairs 1 of its clips and breaks 1" in said
    assert {path.name for path in out.iterdir()} >= {
        "fusion.csv",
        "fusion.png",
        "confusion.png",
        "per_class.csv",
    }
    table = (out / "fusion.csv").read_text().splitlines()
    assert table[1].startswith("close_jam,2,2,2,0,0,1,1,0")


def test_weights_and_probabilities(runs, tmp_path):
    out = fused(runs, weights=(3.0, 1.0), out=tmp_path / "w")
    np.testing.assert_allclose(np.load(out / "predictions.npz")["logits"][0], [2.25, 0.25])
    assert json.loads((out / "eval.json").read_text())["selection"] == "given weights"
    out = fused(runs, scores="probabilities", out=tmp_path / "p")
    first = torch.softmax(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), dim=1).mean(dim=0)
    np.testing.assert_allclose(np.exp(np.load(out / "predictions.npz")["logits"][0]), first, rtol=1e-5)


def test_three_runs_and_runs_of_one_name(runs, tmp_path):
    third = made(tmp_path / "other" / "rgb", [[0, 0], [0, 0], [0, 9], [0, 9]])
    out = fused((*runs, third), out=tmp_path / "out")
    summary = json.loads((out / "eval.json").read_text())
    assert summary["top1"] == 100.0
    assert [row["name"] for row in summary["runs"]] == [str(run) for run in (*runs, third)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"names": ("close_jam", "open_tea")}, r"classes differ.*rgb has 2, other has 2.*open_jam.*open_tea"),
        ({"keys": (*KEYS[:3], "S3/open_jam/2")}, r"clips differ.*S2/open_jam/2.*S3/open_jam/2"),
        ({"labels": (0, 0, 1, 0)}, "disagree on the true class of S2/open_jam/2"),
    ],
)
def test_runs_that_do_not_fit(runs, tmp_path, changes, message):
    other = made(tmp_path / "other", np.zeros((4, 2)), **changes)
    with pytest.raises(UserError, match=message):
        fused((runs[0], other))
    assert not (runs[0] / "evaluation").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fuse": ("rgb",)}, "two run directories or more"),
        ({"weights": (1.0,)}, "2 runs need 2, got 1"),
        ({"weights": (1.0, -1.0)}, "not be negative"),
        ({"weights": (0.0, 0.0)}, "nor all zero"),
        ({"weights": (0.0, 2.0)}, "leaves flow alone, which is no fusion; measure it with --run"),
        ({"fuse": ("rgb", "rgb")}, "--fuse names rgb twice; name each once"),
        ({"fuse": ("rgb", "flow", "./rgb")}, "--fuse names rgb twice"),
        ({"fuse": ("rgb", "flow/../rgb")}, "--fuse names flow/../rgb twice"),
        ({"split": "train"}, "test users"),
        ({"fuse": (), "run": None}, "--run .* or --fuse"),
        ({"run": "rgb"}, "--run .* or --fuse"),
        ({"fuse": (), "run": "rgb"}, "--run needs --data"),
        ({"fuse": (), "run": "rgb", "data": "tree", "weights": (1.0,)}, "--weights belongs to --fuse"),
    ],
)
def test_flags_that_contradict_each_other(changes, message):
    with pytest.raises(UserError, match=message):
        evaluate.Config(**({"fuse": ("rgb", "flow")} | changes))


def test_a_run_under_two_names(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs[0])
    with pytest.raises(UserError, match="--fuse names .*link twice"):
        evaluate.Config(fuse=(runs[0], tmp_path / "link"))


def test_a_fusion_says_what_it_never_predicts(tmp_path, capsys):
    runs = tuple(made(tmp_path / name, [[3, 0], [1, 0], [2, 0], [1, 0]]) for name in ("rgb", "flow"))
    summary = json.loads((fused(runs) / "eval.json").read_text())
    assert (summary["top1"], summary["tested_classes"], summary["predicted_classes"]) == (50, 2, 1)
    assert "on 4 clips; 1 of 2 classes is ever predicted\n" in capsys.readouterr().out


def test_a_run_without_predictions(runs):
    (runs[1] / "predictions.npz").unlink()
    with pytest.raises(UserError, match="flow has no predictions of its test clips; name .* --data"):
        fused(runs)


def test_weights_that_training_clips_choose(moving_tree, stage_2, flow_run, tmp_path, capsys):
    out = fused((stage_2, flow_run), data=moving_tree, workers=0, out=tmp_path / "fusion")
    choice = json.loads((out / "eval.json").read_text())["weights_by_training_clips"]
    assert choice["n_clips"] == 18 and choice["clips"] == "learned from by the runs"
    rgb, flow = (
        np.load(run / "evaluation" / "train-last" / "predictions.npz") for run in (stage_2, flow_run)
    )
    weight = choice["weights"][0]
    there = (weight * rgb["logits"] + (1 - weight) * flow["logits"]).argmax(axis=1) == rgb["label"]
    assert choice["top1_there"] == pytest.approx(100 * there.mean())
    assert choice["alone"][1] == pytest.approx(100 * (flow["logits"].argmax(1) == flow["label"]).mean())
    first, second = (np.load(run / "predictions.npz")["logits"] for run in (stage_2, flow_run))
    labels = np.load(out / "predictions.npz")["label"]
    tested = (weight * first + (1 - weight) * second).argmax(axis=1) == labels
    assert choice["top1"] == pytest.approx(100 * tested.mean())
    said = capsys.readouterr().out
    # What was asked for comes first.
    fused_at, measured_at = said.index("late fusion: top-1"), said.index("measuring ")
    assert fused_at < measured_at < said.index("18, learned from by the runs"), (
        "what was asked for comes first"
    )
    assert "generalisation" not in said
    partly = shutil.copytree(flow_run, tmp_path / "partly")
    checkpoint = torch.load(partly / "last.pt", weights_only=True)
    checkpoint["config"]["unseen"] = ["open_jam"]
    torch.save(checkpoint, partly / "last.pt")
    fused((stage_2, partly), data=moving_tree, workers=0, out=tmp_path / "again")
    assert "(18, of which --unseen kept some from a run; alone" in capsys.readouterr().out
    fused((stage_2, flow_run), data=moving_tree, workers=0, out=tmp_path / "fusion")
    assert "measuring" not in capsys.readouterr().out, "saved predictions are used again"


def test_flow_as_a_second_tree_by_the_lines_of_the_page(moving_tree, tmp_path, monkeypatch):
    """The same clips, whose frames hold x in red and y in green: of three clips, for those take the time."""
    for clip in ClipIndex.from_tree(moving_tree).clips[::8]:
        for part in (clip.frames, clip.flow_x, clip.flow_y):
            there = tmp_path / "tree" / part.folder.relative_to(moving_tree)
            shutil.copytree(part.folder, there, copy_function=os.link)
    lines = re.search(
        r"```python\n(.*?)```", (ROOT / "docs/systems.md").read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.setattr(sys, "argv", ["it", str(tmp_path / "tree"), str(tmp_path / "flow")])
    exec(lines[1], {})
    ours, theirs = (ClipIndex.from_tree(root).clips for root in (tmp_path / "flow", tmp_path / "tree"))
    assert [clip.key for clip in ours] == [clip.key for clip in theirs]
    assert len(ours) == 3
    for mine, clip in zip(ours, theirs, strict=True):
        assert mine.num_frames == clip.num_flow
        red, green, _ = read_rgb(mine.frames.paths[-1])
        assert red.equal(read_grey(clip.flow_x.paths[-1])[0])
        assert green.equal(read_grey(clip.flow_y.paths[-1])[0])
