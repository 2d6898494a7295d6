"""Stage 2 and the joint stage with motion heads, end to end on the tiny kitchen and its true motion."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cam_viz
import evaluate
import published
import train_rgb
import train_twostream
import viz.motion
from core.errors import UserError
from core.ranks import ONE
from data import ClipIndex, Preprocessing
from data.parts import ClipInput, Frames, Maps
from data.sampling import rgb_frame_numbers
from models import reference_state
from selfsup import MotionSegmentation
from tests.support.small_runs import joint_config, stage_1_config, stage_2_config
from training.batches import open_clips
from training.parents import open_parents
from viz.viewer import open_viewers, view_clip

SHARED = ("epoch", "split", "accuracy")
PIXELS = Preprocessing.rgb(64)


def rows(run: Path, *names: str) -> list[tuple[str, ...]]:
    with (run / "metrics.csv").open() as file:
        return [tuple(row[name] for name in (*SHARED, *names)) for row in csv.DictReader(file)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", weights_only=True)["model"]


def said(folder: Path) -> dict:
    return json.loads((folder / "eval.json").read_text())


@pytest.fixture
def motion_undrawn(monkeypatch):
    """No motion.png, which other tests here look at."""
    monkeypatch.setattr(viz.motion, "draw_motion", lambda *given: None)


@pytest.fixture(scope="module")
def both_heads(once, mapped_tree, stage_1) -> Path:
    """Stage 2 with regression heads on both layers."""
    settings = {"ms": "regression", "ms_layer": "both", "epochs": 1}
    return once(
        "both_heads", lambda out: train_rgb.main(stage_2_config(mapped_tree, stage_1, out, **settings))
    )


def test_weight_0_is_training_without_a_head_and_kept_outputs_are_training(
    mapped_tree, stage_1, stage_2, motion_undrawn, tmp_path
):
    """The training without a head is `stage_2`, of the same frames, clip by clip."""
    runs = {
        "weight 0": {"ms": "classification", "ms_weight": 0},
        "kept": {"ms": "classification", "ms_weight": 0, "cache": tmp_path / "cache"},
    }
    for name, settings in runs.items():
        train_rgb.main(stage_2_config(mapped_tree, stage_1, tmp_path / name, epochs=1, **settings))
    plain, headed, kept = (weights(run) for run in (stage_2, *(tmp_path / name for name in runs)))
    assert all(torch.equal(value, headed[key]) for key, value in plain.items())
    assert {key.split(".")[0] for key in headed.keys() - plain.keys()} == {"motion"}
    assert rows(stage_2) == rows(tmp_path / "weight 0")
    assert all(torch.equal(value, kept[key]) for key, value in headed.items())
    parts = ("action", "motion_layer4", "motion_layer4_average_precision")
    assert rows(tmp_path / "weight 0", *parts) == rows(tmp_path / "kept", *parts)


def test_what_a_run_with_heads_leaves(mapped_tree, stage_1, both_heads):
    before, after = weights(stage_1), weights(both_heads)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert "backbone.resnet.layer3.0.conv1.weight" in changed
    assert not [key for key in changed if any(part in key for part in ("layer2", "bn", "downsample"))]
    train, test = rows(both_heads, "loss", "action", "motion_layer3", "motion_layer4")
    for _, _, _, loss, *parts in (train, test):
        assert float(loss) == pytest.approx(sum(map(float, parts)), rel=1e-5)
    found = said(both_heads)
    for layer, cells in (("layer3", 4), ("layer4", 2)):
        moves = 100 - found[f"motion_{layer}_accuracy_all_static"]
        assert 0 < moves < 50
        assert found[f"motion_{layer}_average_precision_all_static"] == pytest.approx(moves)
        assert found[f"motion_{layer}_iou_all_static"] == 0
        assert after[f"motion.{layer}.frequency"].shape == (cells, cells)
    sheet = np.asarray(Image.open(both_heads / "motion.png"))
    assert sheet.shape[1] == 3 * 400 + 2 * 4 and sheet.shape[0] > 4 * 2 * 2 * 128 * 400 // 228


def test_evaluate_repeats_the_motion_numbers_and_does_without_maps(
    mapped_tree, moving_tree, both_heads, tmp_path, capsys
):
    evaluate.main(evaluate.Config(run=both_heads, data=mapped_tree, out=tmp_path / "maps", workers=0))
    first, again = said(both_heads), said(tmp_path / "maps")
    motion = {key for key in first if key.startswith("motion_")}
    assert len(motion) == 2 * 3 * 4 and {k: first[k] for k in motion} == {k: again[k] for k in motion}
    assert (tmp_path / "maps" / "motion.png").is_file()
    evaluate.main(evaluate.Config(run=both_heads, data=moving_tree, out=tmp_path / "none", workers=0))
    assert capsys.readouterr().out.count("has no motion maps") == 1
    without = said(tmp_path / "none")
    assert without["n_clips"] == 6 and not [key for key in without if key.startswith("motion")]


def test_other_scripts_take_a_run_with_heads(
    mapped_tree, moving_tree, both_heads, flow_run, tmp_path, capsys
):
    clips = ("S2/open_jam/1",)
    cam_viz.main(cam_viz.Config(runs=(both_heads,), data=mapped_tree, clips=clips, out=tmp_path / "heat"))
    assert (tmp_path / "heat" / "S2_open_jam_1.gif").is_file()
    published.main(published.Config(run=both_heads, out=tmp_path / "published.pth"))
    assert "motion head has no published form" in capsys.readouterr().out
    names = torch.load(tmp_path / "published.pth", weights_only=True).keys()
    config = joint_config(moving_tree, both_heads, flow_run, tmp_path / "run")
    parents = open_parents(config, train_twostream.PARENTS)
    class_names = ClipIndex.from_tree(moving_tree).class_names
    architecture, model = train_twostream.build(config, class_names, parents)
    assert "motion" not in architecture["rgb"] and model.rgb.motion is None
    assert names == reference_state(model.rgb).keys()


def test_motion_is_drawn_beside_heat_where_the_run_has_heads(mapped_tree, tree, both_heads, stage_1):
    """Predictions are those that evaluate.py measures; the map is what the renderer knows to move."""
    viewers = open_viewers([stage_1, both_heads], "cpu")
    (clip,), (bare,) = (
        ClipIndex.from_tree(root).find(["S2/open_jam/1"]).clips for root in (mapped_tree, tree)
    )
    scene = view_clip(clip, viewers)
    names = [motion.name for motion in scene.motion]
    assert names == ["both_heads, layer3 motion", "both_heads, layer4 motion", "motion map"]
    settings, inputs = viewers[1].motion, ClipInput(Frames(3, PIXELS), Maps(3, PIXELS))
    task = MotionSegmentation(viewers[1].model, inputs.names, settings)
    index = ClipIndex.from_tree(mapped_tree).find([clip.key])
    found = task.look(inputs.dataset(index)[inputs.test_keys(index)[0]])
    for motion, layer in zip(scene.motion, ("layer3", "layer4"), strict=False):
        np.testing.assert_allclose(motion.cells, found[f"{layer}_predicted"], atol=1e-6)
        assert motion.threshold == task.target.decision
    finest = scene.motion_map
    with np.load(tree / "truth" / f"{clip.key}.npz") as truth:
        seen = truth["moving"][rgb_frame_numbers(clip.num_frames, 3) - 1, 8:120, 58:170]
    cells = seen.reshape(3, 4, 28, 4, 28).mean(axis=(2, 4))
    # Maps are scaled by their nearest pixels, from 28 to 16 a side of a cell.
    np.testing.assert_allclose(finest.cells, cells, atol=0.05)
    assert cells.max() > 0.1 and finest.threshold == 0.1
    assert view_clip(bare, viewers).motion_map is None
    assert view_clip(clip, viewers[:1]).motion == ()


def test_the_joint_stage_begins_with_a_backbone_and_no_attention(
    mapped_tree, frame_run, motion_undrawn, tmp_path
):
    settings = {"stage": "joint", "ms": "classification", "ms_classes": "balanced", "epochs": 1}
    train_rgb.main(stage_1_config(mapped_tree, frame_run, tmp_path / "run", **settings))
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["architecture"]["attention"] == "none" and saved["config"]["milestones"] == [250, 400]
    before, after = weights(frame_run), saved["model"]
    body = [key for key in after if key.startswith("backbone.") and ".fc." not in key]
    assert not [key for key in body if torch.equal(before[key], after[key])]
    share = saved["model"]["motion.layer4.frequency"].mean()
    torch.testing.assert_close(
        saved["model"]["motion.layer4.class_weights"], torch.stack([0.5 / (1 - share), 0.5 / share])
    )


def test_grey_maps_are_said_once(mapped_tree, stage_1, tmp_path, capsys):
    grey = shutil.copytree(mapped_tree, tmp_path / "grey")
    for path in (grey / "processed_frames2/S1/open_jam/1/mmaps").iterdir():
        Image.open(path).point(lambda level: level * 2 // 3).save(path)
    for variant, taken in (("classification", "brighter than half"), ("regression", "are kept")):
        config = stage_2_config(grey, stage_1, tmp_path / "run", ms=variant)
        parents = open_parents(config, train_rgb.PARENTS)
        config, _ = train_rgb.resolve(config, {"init": parents["init"].settings})
        data = open_clips(config, train_rgb.show(config, parents))
        _, model = train_rgb.build(config, data.class_names, parents)
        train_rgb.learn_motion_prior(config, model, data, ONE)
        printed = capsys.readouterr().out
        assert printed.count("grey levels") == 1 and taken in printed


def test_mistakes_are_named_before_anything_is_written(mapped_tree, tree, stage_1, frame_run, tmp_path):
    def mistake(make, *arguments, **changes):
        with pytest.raises(UserError) as error:
            train_rgb.main(make(*arguments, tmp_path / "run", **changes))
        assert not (tmp_path / "run").exists()
        return str(error.value)

    ms = {"ms": "regression"}
    assert "needs --stage 2 or joint" in mistake(stage_1_config, mapped_tree, frame_run, **ms)
    assert f"data.motion --root {tree} --maps" in mistake(stage_2_config, tree, stage_1, **ms)
    one_lacks = shutil.copytree(mapped_tree, tmp_path / "lacking")
    shutil.rmtree(one_lacks / "processed_frames2/S3/open_jam/1/mmaps")
    assert "S3/open_jam/1" in mistake(stage_2_config, one_lacks, stage_1, **ms)
    small = one_lacks / "processed_frames2/S3/open_jam/1/mmaps"
    small.mkdir()
    for number in range(1, 1 + len(list((small.parent / "rgb").iterdir()))):
        Image.new("L", (20, 10)).save(small / f"map{number:04}.png")
    assert "maps of 20x10 pixels" in mistake(stage_2_config, one_lacks, stage_1, **ms)
