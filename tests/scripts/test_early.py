"""Early recognition through the scripts: which frames are read, and how runs are read along their frames."""

import os
import re
import shutil
from math import ceil

import numpy as np
import pytest
import torch
from PIL import Image

import cam_viz
import evaluate
import train_rgb
import train_twostream
import viz.motion
from core.errors import UserError
from core.files import read_json
from core.run_dir import read_evaluation
from data import ClipIndex
from data.parts import Frames, read_input
from metrics.early import EarlyPredictions
from models.build import build_trained
from tests.support.small_runs import joint_config, stage_1_config, stage_2_config
from viz.viewer import open_viewers


@pytest.fixture(autouse=True)
def motion_undrawn(monkeypatch):
    """No motion.png, which test_motion_path.py looks at."""
    monkeypatch.setattr(viz.motion, "draw_motion", lambda *given: None)


@pytest.fixture(scope="module")
def quarter(mapped_tree, frame_run, tmp_path_factory):
    """Stage 1 on the first quarter of every clip, for an epoch."""
    out = tmp_path_factory.mktemp("quarter") / "quarter"
    train_rgb.main(stage_1_config(mapped_tree, frame_run, out, epochs=1, observed=0.25))
    return out


@pytest.fixture(scope="module")
def spoiled(mapped_tree, tmp_path_factory):
    """The mapped tree with noise in place of every frame and map after a clip's first quarter."""
    root = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(mapped_tree, root / "tree", copy_function=os.link)
    noise = np.random.default_rng(0).integers(0, 256, (128, 228, 3), np.uint8)
    pictures = {"frames": noise, "maps": (noise[..., 0] > 99).astype(np.uint8) * 255}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(root / f"{name}.png", compress_level=1)
    for clip in ClipIndex.from_tree(root / "tree").clips:
        for number in range(ceil(clip.num_frames / 4) + 1, clip.num_frames + 1):
            for name in pictures:
                path = getattr(clip, name).path(number)
                path.unlink()
                os.link(root / f"{name}.png", path)
    return root / "tree"


def logits(run):
    with np.load(run / "predictions.npz") as saved:
        return saved["logits"]


def test_both_stages_of_a_run_see_the_first_quarter_alone(mapped_tree, spoiled, frame_run, quarter, tmp_path):
    """What comes later is noise in one of two trees, and every number is the same; with one epoch each."""
    found = {}
    for name, root in (("whole", mapped_tree), ("spoiled", spoiled)):
        first, second = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        cache = {"cache": tmp_path / "cache"} if name == "spoiled" else {}
        if name == "whole":
            first = quarter
        else:
            train_rgb.main(stage_1_config(root, frame_run, first, epochs=1, observed=0.25, **cache))
        motion = {"ms": "classification", "epochs": 1}
        train_rgb.main(stage_2_config(root, first, second, **motion, **cache))
        found[name] = (logits(first), logits(second), read_json(second / "eval.json"))
        assert train_rgb.Config.from_yaml(second / "config.yaml").observed == 0.25
        assert "3 frames of the first 25 % of a clip" in found[name][2]["protocol"]
    for ours, theirs in zip(*(found[name][:2] for name in found), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found["whole"][2] == found["spoiled"][2]
    evaluate.main(evaluate.Config(run=second, data=mapped_tree, out=tmp_path / "again", workers=0))
    np.testing.assert_array_equal(logits(tmp_path / "again"), logits(second))
    again = read_json(tmp_path / "again" / "eval.json")
    assert again["protocol"] == found["whole"][2]["protocol"]
    assert again["motion_layer4_accuracy"] == found["whole"][2]["motion_layer4_accuracy"]
    shown = {"data": spoiled, "clips": ("S2/open_jam/1",), "out": tmp_path / "heat"}
    scenes = list(cam_viz.scenes(cam_viz.Config(runs=(second,), **shown), open_viewers((second,), "cpu")))
    last = ceil(ClipIndex.from_tree(spoiled).find(["S2/open_jam/1"]).clips[0].num_frames / 4)
    assert all(int(label.split()[1]) <= last for label in scenes[0].labels) and len(scenes[0].labels) == 3


def test_the_whole_clip_is_the_run_without_the_flag(mapped_tree, frame_run, stage_1, tmp_path):
    runs = {"flag": {"observed": 1.0}, "plain": {}}
    for name, flags in runs.items():
        train_rgb.main(stage_1_config(mapped_tree, frame_run, tmp_path / name, epochs=1, **flags))
    first, again = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in runs)
    assert first["preprocessing"] == again["preprocessing"] and "observed" not in first["preprocessing"]
    assert first["config"]["observed"] is None and first["items"] == again["items"]
    assert (tmp_path / "flag/metrics.csv").read_text().split(",")[:9] == (
        (tmp_path / "plain/metrics.csv").read_text().split(",")[:9]
    )


def test_mistakes_about_the_share(mapped_tree, stage_1, quarter, tmp_path, command):
    for share in ("0", "1.5", "25", "nan"):
        words = ("--stage", 1, "--data", mapped_tree, "--out", tmp_path / "run", "--observed", share)
        status, _, said = command(train_rgb.main, train_rgb.Config, *words)
        assert status == 2 and "--observed" in said
    for init, share, was in ((stage_1, 0.5, "1.0"), (quarter, 1.0, "0.25")):
        with pytest.raises(UserError, match=f"--observed {share}: .* was trained with {was}"):
            train_rgb.main(stage_2_config(mapped_tree, init, tmp_path / "run", observed=share))
    with pytest.raises(UserError, match="different frames .*3 frames; .*3 frames of the first 25 %"):
        open_viewers((stage_1, quarter), "cpu")
    assert not (tmp_path / "run").exists()


def test_the_joint_network_keeps_the_share(moving_tree, frame_run, flow_run, tmp_path, capsys):
    rgb, out = tmp_path / "rgb", tmp_path / "joint"
    train_rgb.main(stage_1_config(moving_tree, frame_run, rgb, epochs=1, observed=0.5))
    config = joint_config(moving_tree, rgb, flow_run, out, epochs=1)
    train_twostream.main(config)
    protocol = read_json(out / "eval.json")["protocol"]
    assert protocol.startswith("3 frames of the first 50 % of a clip and the centre stack of")
    assert "sees the first 50 % of a clip; the flow stream sees" in capsys.readouterr().out
    checkpoint = torch.load(out / "last.pt", weights_only=True)
    inputs = read_input(checkpoint["preprocessing"])
    assert inputs.part(Frames).observed == 0.5


def test_learning_after_every_frame(tree, mapped_tree, frame_run, tmp_path):
    """Another loss of the same first forward pass; kept outputs change no bit, and stage 2 inherits it."""
    found = {}
    for name in ("last", "every-frame", "every-frame-rising", "kept"):
        # What the first keeps, the last finds.
        flags = {"cache": tmp_path / "cache"} if name in ("last", "kept") else {}
        flags |= {"predict": "every-frame" if name == "kept" else name, "frames": 4, "epochs": 1}
        train_rgb.main(stage_1_config(mapped_tree, frame_run, tmp_path / name, **flags))
        with (tmp_path / name / "metrics.csv").open() as file:
            found[name] = [line.split(",")[2] for line in file][1:]
    assert found["kept"] == found["every-frame"]
    first = [found[name][0] for name in ("last", "every-frame", "every-frame-rising")]
    assert len(set(first)) == 3
    np.testing.assert_array_equal(logits(tmp_path / "kept"), logits(tmp_path / "every-frame"))
    assert (np.abs(logits(tmp_path / "last") - logits(tmp_path / "kept")) > 0).any()
    train_rgb.main(
        stage_2_config(mapped_tree, tmp_path / "kept", tmp_path / "two", epochs=1, ms="regression")
    )
    assert train_rgb.Config.from_yaml(tmp_path / "two/config.yaml").predict == "every-frame"
    saved = torch.load(tmp_path / "kept/last.pt", weights_only=True)
    other = stage_2_config(mapped_tree, tmp_path / "kept", tmp_path / "new", predict="last")
    assert train_rgb.resolve(other, {"init": saved["config"]})[0].predict is None
    for name in ("last", "kept", "two"):
        saved = read_json(tmp_path / name / "eval.json")
        early = EarlyPredictions.load(tmp_path / name / "early.npz")
        assert early.shares == (25, 50, 75, 100) and early.frames == (2, 3, 4, 4)
        np.testing.assert_array_equal(early.at(100).logits, logits(tmp_path / name))
        assert [line["top1"] for line in saved["early"]["shares"]][-1] == saved["top1"]
    for name in ("kept", "two"):
        evaluate.main(evaluate.Config(run=tmp_path / name, data=mapped_tree, out=tmp_path / "o", workers=0))
        np.testing.assert_allclose(logits(tmp_path / "o"), logits(tmp_path / name), rtol=1e-4, atol=1e-5)
    cost = read_json(tmp_path / "last/cost.json")
    assert cost["head_parameters"] > 0 and cost["head_ms_per_clip"] > 0


def test_scores_along_the_frames_are_those_of_the_clip_cut_short(mapped_tree, frame_run, tmp_path):
    """A run of the average over four frames, read after two, is what the network says of these two frames."""
    train_rgb.main(
        stage_1_config(mapped_tree, frame_run, tmp_path / "run", epochs=1, frames=4, temporal="avgpool")
    )
    checkpoint = torch.load(tmp_path / "run/last.pt", weights_only=True)
    model = build_trained(checkpoint["architecture"], checkpoint["model"], "run").eval()
    index, early = ClipIndex.from_tree(mapped_tree).select(["S2"]), tmp_path / "run/early.npz"
    inputs = read_input(checkpoint["preprocessing"])
    dataset, scores = inputs.dataset(index), EarlyPredictions.load(early)
    for number, key in enumerate(inputs.test_keys(index)):
        with torch.no_grad():
            expected = model(dataset[key]["frames"][None, :2]).logits[0]
        torch.testing.assert_close(torch.tensor(scores.at(25).logits[number]), expected, rtol=1e-4, atol=1e-5)


def test_a_finished_run_is_read_along_its_frames(moving_tree, frame_run, joint_run, tmp_path, command):
    """It says what the training said, in a folder that nothing takes for the run's own results."""
    run = tmp_path / "run"
    train_rgb.main(stage_1_config(moving_tree, frame_run, run, epochs=1, frames=4))
    before = {path.name for path in run.iterdir()}
    words = ("--run", run, "--data", moving_tree, "--workers", 0, "--device", "cpu")
    status, said, _ = command(evaluate.main, evaluate.Config, *words, "--observed", 25, 50, 75, 100)
    out = run / "evaluation" / "observed-test-last"
    assert status == 0 and f"written to {out}" in said and "after 25 % (2 frames): top-1" in said
    assert {path.name for path in run.iterdir()} == before | {"evaluation"}
    assert {path.name for path in out.iterdir()} == {"early.json", "early.npz", "early.csv", "early.png"}
    ours, trained = (EarlyPredictions.load(folder / "early.npz") for folder in (out, run))
    np.testing.assert_allclose(ours.logits, trained.logits, rtol=1e-4, atol=1e-5)
    found, at_the_end = read_json(out / "early.json"), read_json(run / "eval.json")
    assert found["shares"] == at_the_end["early"]["shares"] and found["split"] == "test"
    assert found["protocol"] == at_the_end["protocol"]
    with (out / "early.csv").open() as file:
        assert next(file).startswith("observed,frames,top1,ci95_low,ci95_high")
    assert read_evaluation(run, "test") == {}
    frames = frame_run  # the classifier of single frames, tested on two
    status, said, _ = command(
        evaluate.main, evaluate.Config, "--run", frames, *words[2:], "--observed", 50, 100
    )
    assert status == 0 and "after 50 % (2 frames)" in said
    for mistake, message in (
        ((run, 20), "none of the 4 frames of .* lies at 20 %.* --frames 5"),
        ((run, 0.25), "per cent of a clip from 1 to 100"),
        ((run, 50, 25), "from the smallest to the largest"),
        ((joint_run, 100), "can't be read along its frames: --observed takes runs of train_rgb.py"),
    ):
        path, *shares = mistake
        status, _, said = command(
            evaluate.main, evaluate.Config, "--run", path, *words[2:], "--observed", *shares
        )
        assert status == 2 and re.search(message, " ".join(said.split())), said
