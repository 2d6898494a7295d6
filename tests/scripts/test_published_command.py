"""Published checkpoints to run directories and back, through the command's own main function."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

import cam_viz
import evaluate
import published
import train_twostream
from core.errors import UserError
from data.parts import Flow, Frames
from tests.support import thin
from tests.support.small_runs import joint_config
from training.parents import open_parents

SIZES = {"image_size": 64, "frames": 3, "test_stacks": 2}


def exported(run, file):
    published.main(published.Config(run=run, out=file))
    return file


def imported(file, tree, run, **changes):
    published.main(published.Config(checkpoint=file, data=tree, out=run, **(SIZES | changes)))
    return run


@pytest.fixture(scope="module")
def round_trips(moving_tree, stage_2, flow_run, joint_run, tmp_path_factory):
    """Each run and what it became on the way out and in again."""
    folder = tmp_path_factory.mktemp("published")
    runs = {"rgb": stage_2, "flow": flow_run, "joint": joint_run}
    files = {name: exported(run, folder / f"{name}.pth.tar") for name, run in runs.items()}
    return {name: (runs[name], imported(files[name], moving_tree, folder / name)) for name in runs}


@pytest.mark.parametrize("name", ["rgb", "flow", "joint"])
def test_the_run_that_comes_back_measures_the_same(moving_tree, round_trips, name, capsys):
    first, again = round_trips[name]
    evaluate.main(evaluate.Config(run=again, data=moving_tree, workers=0))
    ours, theirs = (np.load(f / "predictions.npz") for f in (again / "evaluation/test-last", first))
    assert ours["clip"].tolist() == theirs["clip"].tolist()
    np.testing.assert_allclose(ours["logits"], theirs["logits"], rtol=1e-5, atol=1e-5)
    said = json.loads((again / "evaluation/test-last/eval.json").read_text())
    assert said["selection"] == "published checkpoint" and said["epoch"] is None
    assert ", published checkpoint" in capsys.readouterr().out
    assert {path.name for path in again.iterdir()} == {"last.pt", "config.yaml", "evaluation"}


def test_published_streams_can_be_seen_joined_and_fused(moving_tree, round_trips, tmp_path):
    rgb, flow = round_trips["rgb"][1], round_trips["flow"][1]
    cam_viz.main(cam_viz.Config(runs=(rgb,), data=moving_tree, clips=("S2/open_jam/1",), out=tmp_path))
    with Image.open(tmp_path / "S2_open_jam_1.gif") as gif:
        assert gif.n_frames == 3
    config = joint_config(moving_tree, rgb, flow, tmp_path / "run")
    parents = open_parents(config, train_twostream.PARENTS)
    config, _ = train_twostream.resolve(config, {name: parent.settings for name, parent in parents.items()})
    inputs = train_twostream.show(config, parents)
    assert (inputs.part(Frames).frames, inputs.part(Flow).stack) == (3, 3)
    fusion = {"fuse": (rgb, flow), "data": moving_tree, "out": tmp_path / "fusion", "workers": 0}
    evaluate.main(evaluate.Config(**fusion))
    assert json.loads((tmp_path / "fusion/eval.json").read_text())["n_clips"] == 6


def test_names_in_the_file_are_the_published_ones(round_trips, tmp_path, joint_run):
    state = torch.load(exported(joint_run, tmp_path / "joint.pth"), weights_only=True)
    prefixes = {key.split(".")[0] for key in state}
    assert prefixes == {"flowModel", "frameModel", "fc2", "classifier"}
    assert state["flowModel.fc_action.weight"].shape == (6, thin.FEATURES)


def test_what_others_put_around_the_names_is_taken_off_and_said(moving_tree, flow_run, tmp_path, capsys):
    state = torch.load(exported(flow_run, tmp_path / "flow.pth"), weights_only=True)
    saved = {"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    torch.save(saved, tmp_path / "parallel.pth")
    imported(tmp_path / "parallel.pth", moving_tree, tmp_path / "run")
    assert "found under 'model', without 'module.' before every name" in capsys.readouterr().out


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_what_is_refused(moving_tree, flow_run, frame_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow = exported(flow_run, tmp_path / "flow.pth")

    def mistake(call, *arguments, **changes):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError) as error:
            call(*arguments, **changes)
        assert sorted(tmp_path.rglob("*")) == before
        return str(error.value)

    torch.save({"fc_action.weight": Trap()}, tmp_path / "code.pth")
    assert "it could run code" in mistake(imported, tmp_path / "code.pth", moving_tree, tmp_path / "run")
    assert "no checkpoint at" in mistake(imported, tmp_path / "none.pth", moving_tree, tmp_path / "run")
    assert "exists; choose another name" in mistake(exported, flow_run, flow)
    assert "exists; choose another name" in mistake(imported, flow, moving_tree, tmp_path)
    assert "no published form" in mistake(exported, frame_run, tmp_path / "frame.pth")
    state = torch.load(flow, weights_only=True)
    torch.save(
        state | {f"fc_action.{p}": state[f"fc_action.{p}"][:5] for p in ("weight", "bias")}, "five.pth"
    )
    assert "knows 5 classes" in mistake(imported, tmp_path / "five.pth", moving_tree, tmp_path / "run")
    assert "has no user S9" in mistake(imported, flow, moving_tree, tmp_path / "run", test_users=("S9",))
    assert "S2 in both" in mistake(imported, flow, moving_tree, tmp_path / "run", train_users=("S2",))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="--checkpoint needs --data"):
        published.Config(checkpoint=flow, out=tmp_path / "run")
    with pytest.raises(UserError, match="--checkpoint .* or --run"):
        published.Config(out=tmp_path / "run")
