"""The RGB stream end to end on the tiny kitchen, through the scripts' own main functions."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import cam_viz
import evaluate
import published
import train_frame
import train_rgb
from core.errors import UserError
from core.run_dir import read_evaluation
from data import ClipIndex, Preprocessing, rgb_frame_numbers
from data.images import read_rgb
from data.parts import ClipInput, Frames
from metrics.attention import measure_attention
from metrics.predictions import Predictions
from tests.support import thin
from tests.support.small_runs import stage_1_config, stage_2_config
from viz.overlay import resized
from viz.viewer import open_viewers

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "clips_per_sec")


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", weights_only=True)["model"]


def test_stage_2_goes_on_from_stage_1(tree, stage_1, tmp_path, capsys):
    train_rgb.main(stage_2_config(tree, stage_1, tmp_path / "run", epochs=1))
    before, after = weights(stage_1), weights(tmp_path / "run")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert "backbone.resnet.layer4.0.conv1.weight" in changed and "backbone.resnet.fc.weight" in changed
    frozen = ("downsample", "bn", "running", "num_batches", "layer3", "fc.bias")
    assert not [key for key in changed if any(part in key for part in frozen) and key.startswith("backbone")]
    saved = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert saved["n_clips"] == 12 and saved["epoch"] == 1
    assert "6 classes, 36 training, 12 test clips" in capsys.readouterr().out
    settings = train_rgb.Config.from_yaml(tmp_path / "run" / "config.yaml")
    assert (settings.frames, settings.image_size, settings.backbone, settings.lr) == (3, 64, "resnet18", 1e-4)


def test_the_backbone_of_stage_1_is_the_one_it_was_given(frame_run, stage_1):
    given, kept = weights(frame_run), weights(stage_1)
    for key in [key for key in kept if key.startswith("backbone.")]:
        assert torch.equal(given[key], kept[key]), key


@pytest.fixture(scope="module")
def measured(tree, stage_1, tmp_path_factory):
    """What evaluate.py writes of `stage_1`, and what it says."""
    out, said = tmp_path_factory.mktemp("measured"), io.StringIO()
    with redirect_stdout(said):
        evaluate.main(evaluate.Config(run=stage_1, data=tree, out=out, workers=0))
    return out, said.getvalue()


def test_evaluate_repeats_the_runs_numbers(tree, stage_1, measured):
    again, first = (json.loads((folder / "eval.json").read_text()) for folder in (measured[0], stage_1))
    for key in ("top1", "top5", "mean_class", "verb", "noun", "n_clips", "ci95_low", "ci95_high", "epoch"):
        assert again[key] == first[key]
    ours, theirs = (np.load(folder / "predictions.npz") for folder in (measured[0], stage_1))
    np.testing.assert_array_equal(ours["logits"], theirs["logits"])
    right = (theirs["logits"].argmax(1) == theirs["label"]).mean()
    assert first["top1"] == pytest.approx(100 * right)
    names = ClipIndex.from_tree(tree).class_names
    assert [key.split("/")[1] for key in theirs["clip"]] == [names[label] for label in theirs["label"]]


def copied(run: Path, to: Path) -> Path:
    """Copy a run without what other tests have measured of it."""
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("evaluation")))


def test_other_users_never_stand_for_the_test_users(moving_tree, stage_2, tmp_path):
    """Reports and fusions read the folder of the test users, also one that an earlier version filled."""
    run = copied(stage_2, tmp_path / "run")
    evaluate.main(evaluate.Config(run=run, data=moving_tree, users=("S1", "S3"), workers=0))
    assert [path.name for path in (run / "evaluation").iterdir()] == ["users-S1-S3-last"]
    assert read_evaluation(run, "test") == {}
    (run / "evaluation" / "users-S1-S3-last").rename(run / "evaluation" / "test-last")
    assert read_evaluation(run, "test") == {}
    evaluate.main(evaluate.Config(run=run, data=moving_tree, workers=0))
    assert read_evaluation(run, "test")["n_clips"] == 6


def test_another_tree_never_stands_for_the_runs_own(moving_tree, stage_2, tmp_path, capsys):
    """Its results lie where neither reports nor fusions look."""
    run, other = copied(stage_2, tmp_path / "run"), tmp_path / "other"
    frames = "processed_frames2"
    shutil.copytree(moving_tree / frames, other / frames, copy_function=os.link)
    shutil.rmtree(other / "processed_frames2/S2/open_jam/1")
    for split, number in (("test", 5), ("train", 18)):
        evaluate.main(evaluate.Config(run=run, data=other, split=split, workers=0))
        assert "other clips of the test users" in capsys.readouterr().out
        said = json.loads((run / "evaluation" / f"other-{split}-last" / "eval.json").read_text())
        assert said["n_clips"] == number
        assert read_evaluation(run, split) == {}
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == [
        "other-test-last",
        "other-train-last",
    ]
    with pytest.raises(UserError, match=f"{other} is not the tree of {run}"):
        evaluate.saved_predictions(run, "train", evaluate.Config(run=run, data=other, workers=0))


@pytest.mark.parametrize("place", ["run", "file", "file/below"])
def test_an_evaluation_replaces_no_run_and_no_file(tree, stage_1, tmp_path, place):
    run = shutil.copytree(stage_1, tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    before = (run / "eval.json").read_bytes(), (run / "predictions.npz").read_bytes()
    message = (
        "a run's own folder, whose results would be lost" if place == "run" else "is a file; name a folder"
    )
    for flags in ({"run": run, "data": tree}, {"fuse": (run, stage_1)}):
        with pytest.raises(UserError, match=message):
            evaluate.main(evaluate.Config(**flags, out=tmp_path / place, workers=0))
    assert before == ((run / "eval.json").read_bytes(), (run / "predictions.npz").read_bytes())
    if place != "run":
        with pytest.raises(UserError, match=message):
            cam_viz.main(cam_viz.Config(runs=(run,), data=tree, user=("S2",), out=tmp_path / place))
        with pytest.raises(UserError, match=f"exists; choose|{message}"):
            published.main(published.Config(run=run, out=tmp_path / place))


@pytest.mark.parametrize("users, message", [((), "at least 1 value"), (("S2", "S2"), "names a user twice")])
def test_users_who_can_not_be_meant(users, message):
    with pytest.raises(UserError, match=message):
        evaluate.Config(run="run", data="tree", users=users)


def test_a_run_with_other_numbers_of_classes_is_refused(tree, stage_1, tmp_path):
    run = shutil.copytree(stage_1, tmp_path / "run")
    content = torch.load(run / "last.pt", weights_only=True)
    torch.save(content | {"class_names": content["class_names"][:4]}, run / "last.pt")
    with pytest.raises(UserError, match="contradicts itself: it names 4 classes, and its network has 6"):
        cam_viz.main(cam_viz.Config(runs=(run,), data=tree, user=("S2",), out=tmp_path / "out"))


def test_evaluate_measures_attention_against_the_truth(measured):
    found = json.loads((measured[0] / "eval.json").read_text())["attention"]
    assert set(found) == {"hand", "object", "moving"}
    assert 0 < found["hand"]["n_clips"] <= 12
    assert "attention on hand: pointing" in measured[1]


def test_uniform_attention_covers_what_the_truth_covers_of_the_crop(tree):
    """Of 228 x 128 pixels the crop shows the middle 112 a side: the truth's own pixels, counted there."""
    index = ClipIndex.from_tree(tree).select(["S2"])
    even = np.full((12, 3, 2, 2), 0.25)
    predictions = Predictions(index.keys, np.zeros(12), np.zeros((12, 6)), 0.0, {}, details={"heat": even})
    found = measure_attention(predictions, index, ClipInput(Frames(3, Preprocessing.rgb(64))))
    shares = []
    for clip in index.clips:
        with np.load(tree / "truth" / f"{clip.key}.npz") as truth:
            hand = truth["hand"][rgb_frame_numbers(clip.num_frames, 3) - 1, 8:120, 58:170]
        cells = hand.reshape(3, 2, 56, 2, 56).mean(axis=(2, 4))
        counted = cells[(cells > 0.1).any(axis=(1, 2))]
        shares += [counted.mean()] if len(counted) else []
    assert found["hand"]["n_clips"] == len(shares) > 6
    share = found["hand"]["share"]
    assert share["heat"]["mean"] == pytest.approx(100 * np.mean(shares), abs=0.5)
    assert share["heat"] == share["uniform"] and share["above_uniform"]["points"] == 0


def test_the_same_command_gives_the_same_bytes_whatever_loads(tree, frame_run, stage_1, tmp_path, stress):
    ways = [(2, "off"), (4, "off"), (2, "auto")]  # the fixture has 0, and holds its pixels
    for workers, resident in ways if stress else ways[:1]:
        out = tmp_path / f"{workers}_{resident}"
        train_rgb.main(stage_1_config(tree, frame_run, out, workers=workers, resident=resident))
        assert metrics(stage_1) == metrics(out)
        first, again = weights(stage_1), weights(out)
        assert all(torch.equal(first[key], again[key]) for key in first)
    train_rgb.main(stage_1_config(tree, frame_run, tmp_path / "other", seed=1, epochs=1))
    assert metrics(tmp_path / "other")[0] != metrics(stage_1)[0]


def test_jpg_tree_and_its_decoded_png_tree_train_to_the_same_numbers(tree, frame_run, tmp_path):
    """The authors' JPG layout beside the canonical tree made from its decoded pixels, of eight clips."""
    for clip in ClipIndex.from_tree(tree).clips:
        if clip.instance != "1" or clip.action not in ("open_jam", "close_jam"):
            continue
        jpg = tmp_path / "jpg" / "frames" / clip.key
        png = tmp_path / "png" / "processed_frames2" / clip.key / "rgb"
        jpg.mkdir(parents=True)
        png.mkdir(parents=True)
        for number in range(1, 6):
            lossy = jpg / f"image_{number:05d}.jpg"
            Image.open(clip.frames.path(number)).save(lossy, quality=85)
            pixels = read_rgb(lossy).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(png / f"rgb{number:04d}.png", compress_level=1)
    for name in ("jpg", "png"):
        train_rgb.main(stage_1_config(tmp_path / name, frame_run, tmp_path / f"{name}_run", epochs=1))
    assert metrics(tmp_path / "jpg_run") == metrics(tmp_path / "png_run")


def test_heat_maps(tree, stage_1, tmp_path):
    key = "S2/open_jam/1"
    cam_viz.main(cam_viz.Config(runs=(stage_1,), data=tree, clips=(key,), out=tmp_path))
    heat = np.load(tmp_path / f"S2_open_jam_1_{stage_1.name}.npy")
    assert heat.shape == (3, 2, 2) and heat.min() >= 0 and heat.max() == 1
    with Image.open(tmp_path / "S2_open_jam_1.gif") as gif:
        assert gif.n_frames == 3
    sheet = np.asarray(Image.open(tmp_path / "S2_open_jam_1.png"))
    assert sheet.shape[1] == 3 * 400 + 2 * 4 and sheet.shape[0] > 2 * 400 * 128 / 228
    assert (tmp_path / "S2_open_jam_1.mp4").is_file()
    first = read_rgb(ClipIndex.from_tree(tree).find([key]).clips[0].frames.path(1)).permute(1, 2, 0).numpy()
    shown = resized(first[None], 400)[0]
    height = len(shown)
    windows = [(sheet[top : top + height, :400] == shown).all() for top in range(len(sheet) - height + 1)]
    assert sum(windows) == 1, "the frame itself should stand on the sheet, without heat, once"


def test_heat_of_wrong_clips_sampled_and_on_a_page(tree, mapped_tree, stage_1, tmp_path):
    """Clips that the drawn pictures call wrong are those that the run's own predictions have wrong."""
    settings = {"runs": (stage_1,), "data": tree, "user": ("S2",), "device": "cpu"}
    first_clips = settings | {"data": mapped_tree}
    cam_viz.main(cam_viz.Config(**first_clips, wrong=True, html=True, out=tmp_path / "wrong"))
    with np.load(stage_1 / "predictions.npz") as saved:
        missed = saved["clip"][saved["logits"].argmax(axis=1) != saved["label"]].tolist()
    missed = [key for key in missed if key.endswith("/1")]
    drawn = {path.stem for path in (tmp_path / "wrong").glob("*.mp4")}
    assert drawn == {key.replace("/", "_") for key in missed} and 0 < len(missed) <= 6
    page = (tmp_path / "wrong" / "index.html").read_text()
    assert all(f'"name": "{key}"' in page for key in missed)
    config = cam_viz.Config(**settings, action=("open_jam", "close_jam"), sample=3, out=tmp_path)
    first, again = cam_viz.choose_clips(config), cam_viz.choose_clips(config)
    assert first == again and len(first) == 4 and {clip.user for clip in first} == {"S2"}
    others = [cam_viz.choose_clips(config.replace(seed=seed)) for seed in range(1, 5)]
    assert any(other != first for other in others)
    viewers = open_viewers(config.runs, config.device)
    assert [scene.name for scene in cam_viz.scenes(config, viewers)] == [clip.key for clip in first[:3]]


def test_heat_of_a_video(stage_1, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (300, 400))
    for brightness in range(60, 90):
        writer.write(np.full((400, 300, 3), brightness, np.uint8))
    writer.release()
    video = {"runs": (stage_1,), "video": tmp_path / "film.avi", "out": tmp_path / "out"}
    cam_viz.main(cam_viz.Config(**video, window_sec=1.0, stop_sec=2.0))
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.png"))
    assert names == ["film_0000.00s", "film_0000.50s", "film_0000.90s"]
    with pytest.raises(UserError, match="look at 3"):
        cam_viz.main(cam_viz.Config(**(video | {"out": tmp_path / "none"}), start_sec=2.9))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--data {tree}", "say which clips"),
        ("--data {tree} --video film.mp4", "either --data"),
        ("--video film.mp4 --wrong", "--wrong chooses clips of --data"),
        ("--data {tree} --sample 1 --start-sec 3", "belong to --video"),
        ("--video film.mp4 --start-sec 3 --stop-sec 2", "should lie after"),
        ("--video film.mp4", "no such file"),
        ("--data {tree} --action open_jar", "no action open_jar"),
        ("--data {tree} --clips S1/open_jam/1 --user S2", "fits all of --clips, --user and --action"),
    ],
)
def test_mistakes_about_what_is_drawn(tree, stage_1, tmp_path, command, arguments, message):
    words = arguments.format(tree=tree).split()
    out = ("--runs", stage_1, "--out", tmp_path / "out")
    status, _, said = command(cam_viz.main, cam_viz.Config, *words, *out)
    assert status == 2 and message in " ".join(said.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_classifier_of_pictures_and_its_use_as_weights(once, tmp_path):
    from data.synthetic import command as synthetic

    pictures = once(
        "pictures",
        lambda out: synthetic.main(synthetic.Settings(out=out, catalogue=64, size=48, seed=0, jobs=1)),
    )
    settings = {"image_size": 32, "workers": 0, "epochs": 1, "device": "cpu", "held_out": 0.5}
    train_frame.main(
        train_frame.Config(
            images=pictures, out=tmp_path / "run", backbone="resnet18", weights="none", **settings
        )
    )
    saved = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert saved["n_clips"] == 32 and "verb" not in saved
    names = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["class_names"]
    assert weights(tmp_path / "run")["backbone.resnet.fc.weight"].shape == (len(names), thin.FEATURES)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"test_users": ("S9",)}, "S9"),
        ({"test_users": ("S1",)}, "S1"),
        ({"data": Path("/nowhere")}, "/nowhere"),
        ({"weights": "/nowhere.pth"}, "/nowhere.pth"),
        ({"backbone": "resnet50"}, "--backbone"),
        ({"epochs": 3, "milestones": (2, 1)}, "--milestones"),
        ({"val_fraction": 0.001}, "--val-fraction"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tree, frame_run, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train_rgb.main(stage_1_config(tree, frame_run, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_module_in_the_resnet_below_attention_and_recurrence(moving_tree, frame_run, tmp_path):
    """From the weights of single frames to a run that is measured and drawn like any other."""
    changes = {"stage": "joint", "attention": "cam", "module": "gsm", "epochs": 1}
    train_rgb.main(stage_1_config(moving_tree, frame_run, tmp_path / "run", **changes))
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["architecture"].items() >= {"module": "gsm", "frames": 3, "attention": "cam"}.items()
    assert saved["model"]["backbone.resnet.layer4.1.conv2.gate.plane.weight"].any(), "it has learned"
    evaluate.main(evaluate.Config(run=tmp_path / "run", data=moving_tree, out=tmp_path / "again", workers=0))
    again, first = (np.load(tmp_path / name / "predictions.npz")["logits"] for name in ("again", "run"))
    np.testing.assert_array_equal(again, first)
    shown = {"data": moving_tree, "clips": ("S2/open_jam/1",), "out": tmp_path / "heat"}
    cam_viz.main(cam_viz.Config(runs=(tmp_path / "run",), **shown))
    assert len(list((tmp_path / "heat").rglob("*.png"))) == 1


def test_mistakes_about_stages(tree, frame_run, stage_1, tmp_path):
    def mistake(**changes):
        with pytest.raises(UserError) as error:
            train_rgb.main(stage_2_config(tree, stage_1, tmp_path / "run", **changes))
        assert not (tmp_path / "run").exists()
        return str(error.value)

    assert "--init" in mistake(init=None)
    assert "no such folder" in mistake(init=tmp_path / "none")
    assert "last.pt" in mistake(init=tmp_path)
    assert "takes a run of train_rgb.py" in mistake(init=frame_run)
    assert "--frames 5" in mistake(frames=5) and "3" in mistake(frames=5)
    assert "--weights belongs to --stage 1" in mistake(weights="none")
    with pytest.raises(UserError, match="finished run"):
        train_rgb.main(stage_1_config(tree, frame_run, stage_1))
    with pytest.raises(UserError, match="--module tsm needs --stage joint"):
        stage_1_config(tree, frame_run, tmp_path / "run", module="tsm")
    with pytest.raises(UserError, match="--init belongs to --stage 2"):
        stage_1_config(tree, frame_run, tmp_path / "run", init=stage_1)


def test_a_run_without_attention_can_not_show_it(mapped_tree, frame_run, tmp_path):
    train_rgb.main(stage_1_config(mapped_tree, frame_run, tmp_path / "run", attention="none", epochs=1))
    clips = {"data": mapped_tree, "clips": ("S2/open_jam/1",)}
    shown = cam_viz.Config(runs=(tmp_path / "run",), **clips, out=tmp_path / "o")
    with pytest.raises(UserError, match="--attention none.* it can show --heat cam or --heat gradcam"):
        cam_viz.main(shown)
    assert not (tmp_path / "o").exists()
    cam_viz.main(shown.replace(heat="cam"))
    assert np.load(tmp_path / "o" / "S2_open_jam_1_run.npy").shape == (3, 2, 2)


@pytest.mark.stress
def test_command_line(tree, tmp_path):
    command = [sys.executable, "train_rgb.py", "--stage", "1", "--data", tmp_path / "none"]
    done = subprocess.run([*command, "--out", tmp_path / "run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr
