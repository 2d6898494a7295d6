"""The flow stream and joint training end to end on the tiny kitchen, through the scripts' main functions."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import evaluate
import train_flow
import train_twostream
from core.errors import UserError
from data import ClipIndex, Flow, Preprocessing
from models import build_model
from tests.support.small_runs import flow_config, joint_config
from training.record import Recorder


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        rows = csv.DictReader(file)
        return [{k: v for k, v in row.items() if k not in ("seconds", "clips_per_sec")} for row in rows]


def checkpoint(run: Path) -> dict:
    return torch.load(run / "last.pt", weights_only=True)


def evaluation(run: Path) -> dict:
    return json.loads((run / "eval.json").read_text())


def doctored(run: Path, copy: Path, **changes) -> Path:
    """A finished run whose checkpoint says something else."""
    copy.mkdir()
    torch.save(checkpoint(run) | changes, copy / "last.pt")
    shutil.copy(run / "eval.json", copy)
    return copy


def test_the_flow_stream_is_validated_at_the_centre_and_reported_over_several_stacks(moving_tree, flow_run):
    saved = checkpoint(flow_run)
    model = build_model(saved["architecture"]).eval()
    model.load_state_dict(saved["model"])
    index = ClipIndex.from_tree(moving_tree).select(["S2"])
    flow = Flow(3, 2, Preprocessing.flow(64))

    @torch.no_grad()
    def logits(number, start):
        return model(flow.read(index.clips[number], (start,), None)).logits.numpy()[0]

    lengths = [clip.num_frames for clip in index.clips]
    spread = [[int(s) for s in np.floor(np.linspace(1, n - 2, 2, endpoint=False))] for n in lengths]
    reported = [np.mean([logits(c, s) for s in starts], axis=0) for c, starts in enumerate(spread)]
    found = np.load(flow_run / "predictions.npz")
    np.testing.assert_allclose(found["logits"], reported, rtol=1e-4, atol=1e-5)
    assert found["clip"].tolist() == list(index.keys)
    centre = np.stack([logits(c, -(-(n - 3) // 2)) for c, n in enumerate(lengths)])
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(centre), torch.tensor(index.labels))
    last = metrics(flow_run)[-1]
    assert last["split"] == "test" and float(last["loss"]) == pytest.approx(float(loss), rel=1e-4)
    said = evaluation(flow_run)
    assert said["protocol"] == "mean logits of 2 stacks of 3 flow images, centre crop"
    assert said["selected"]["selected_with"] == "the centre stack of 3 flow images, centre crop"
    assert said["n_clips"] == 6 and said["selection"] == "last_epoch"


def test_the_flow_stream_begins_with_the_mean_of_the_rgb_layer(moving_tree, frame_run, tmp_path):
    config = train_flow.resolve(flow_config(moving_tree, frame_run, tmp_path), {})[0]
    _, model = train_flow.build(config, ("a", "b", "c", "d", "e", "f"), {})
    rgb = checkpoint(frame_run)["model"]["backbone.resnet.conv1.weight"]
    first = model.backbone.resnet.conv1.weight
    assert first.shape[1] == 6
    for channel in range(6):
        torch.testing.assert_close(first[:, channel], rgb.sum(dim=1) / 3)
    settings = (config.lr, config.milestones, config.dropout)
    assert settings == (1e-2, (150, 300, 500), 0.5)


def test_every_weight_of_the_flow_stream_learns(frame_run, flow_run):
    before, after = checkpoint(frame_run)["model"], checkpoint(flow_run)["model"]
    same = [key for key in after if key in before and torch.equal(before[key], after[key])]
    assert not same


def test_joint_training_changes_what_the_paper_says_and_nothing_else(stage_2, flow_run, joint_run):
    after = checkpoint(joint_run)["model"]
    changed = {}
    for stream, parent in (("rgb", stage_2), ("flow", flow_run)):
        before = checkpoint(parent)["model"]
        changed[stream] = {k for k, v in before.items() if not torch.equal(v, after[f"{stream}.{k}"])}
    assert changed["flow"] == {k for k in before if ".layer4." in k}, "statistics of batch norm too"
    layer4 = {f"backbone.resnet.layer4.{b}.conv{c}.weight" for b in (0, 1) for c in (1, 2)}
    cell = {f"temporal.cell.{k}" for k in ("input_conv.weight", "input_conv.bias", "hidden_conv.weight")}
    assert changed["rgb"] == layer4 | cell | {"backbone.resnet.fc.weight"}


def test_a_joint_run_says_which_runs_it_came_from(stage_2, flow_run, joint_run):
    hashes = {
        f"{flag}_sha256": hashlib.sha256((run / "last.pt").read_bytes()).hexdigest()
        for flag, run in (("rgb", stage_2), ("flow", flow_run))
    }
    config = yaml.safe_load((joint_run / "config.yaml").read_text())
    assert config.items() >= hashes.items() and checkpoint(joint_run)["config"].items() >= hashes.items()
    assert (config["rgb"], config["flow"]) == (str(stage_2), str(flow_run))
    assert (config["lr"], config["flow_lr"], config["gamma"]) == (1e-2, 1e-4, 0.99)
    rates = [float(row["lr"]) for row in metrics(joint_run) if row["split"] == "train"]
    assert rates == pytest.approx([1e-2, 0.99e-2])
    assert evaluation(joint_run)["protocol"] == "3 frames and the centre stack of 3 flow images, centre crop"


def test_a_stopped_joint_training_goes_on_to_the_same_bits(
    moving_tree, stage_2, flow_run, joint_run, tmp_path, monkeypatch
):
    record = Recorder.record

    def stop(*arguments):
        record(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        train_twostream.main(joint_config(moving_tree, stage_2, flow_run, tmp_path / "run"))
    monkeypatch.undo()
    train_twostream.main(joint_config(moving_tree, stage_2, flow_run, tmp_path / "run", resume=True))
    assert metrics(tmp_path / "run") == metrics(joint_run)
    ours, theirs = checkpoint(tmp_path / "run")["model"], checkpoint(joint_run)["model"]
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_evaluate_repeats_the_numbers_of_any_run(moving_tree, flow_run, joint_run, frame_run, tmp_path):
    for run in (flow_run, joint_run):
        evaluate.main(evaluate.Config(run=run, data=moving_tree, out=tmp_path / run.name, workers=0))
        first, again = evaluation(run), evaluation(tmp_path / run.name)
        assert again.items() <= (first | {"selected": None}).items()
        ours, theirs = (np.load(folder / "predictions.npz") for folder in (tmp_path / run.name, run))
        np.testing.assert_allclose(ours["logits"], theirs["logits"], rtol=1e-5, atol=1e-5)
    evaluate.main(evaluate.Config(run=frame_run, data=moving_tree, out=tmp_path / "frame", workers=0))
    assert evaluation(tmp_path / "frame")["protocol"] == "2 frames, centre crop"


def links(tree: Path, copy: Path) -> Path:
    return shutil.copytree(tree, copy, copy_function=os.link)


def test_trees_without_flow_or_with_half_of_it(moving_tree, tree, frame_run, tmp_path):
    def mistake(data):
        with pytest.raises(UserError) as error:
            train_flow.main(flow_config(data, frame_run, tmp_path / "run"))
        assert not (tmp_path / "run").exists()
        return str(error.value)

    assert "no flow_x and no flow_y images" in mistake(tree) and "data.motion --root" in mistake(tree)
    half = links(moving_tree, tmp_path / "half")
    shutil.rmtree(half / "flow_y_processed")
    assert "flow_x without any flow_y" in mistake(half)
    short = links(moving_tree, tmp_path / "short")
    folder = short / "flow_x_processed/S1/open_jam/1"
    for path in sorted(folder.iterdir())[-2:]:
        path.unlink()
    assert "flow_x_processed/S1/open_jam/1: ends at number" in mistake(short)


def test_flow_that_ends_a_frame_early_is_accepted_and_said_once(moving_tree, frame_run, tmp_path, capsys):
    early = links(moving_tree, tmp_path / "early")
    for folder in (early / "flow_x_processed").glob("S2/*/1"):
        sorted(folder.iterdir())[-1].unlink()
    train_flow.main(flow_config(early, frame_run, tmp_path / "run", epochs=1))
    said = capsys.readouterr().out
    assert (
        said.count("end one image early") == 1
        and "flow_x end one image early, replaced by the last one: 6" in said
    )


def test_mistakes_about_the_runs_to_join(
    moving_tree, stage_1, stage_2, flow_run, frame_run, tmp_path, capsys
):
    def mistake(rgb=stage_2, flow=flow_run, **changes):
        with pytest.raises(UserError) as error:
            train_twostream.main(joint_config(moving_tree, rgb, flow, tmp_path / "run", **changes))
        assert not (tmp_path / "run").exists()
        return str(error.value)

    swapped = mistake(rgb=flow_run)
    assert f"--rgb {flow_run} holds a FlowStream" in swapped and "train_rgb.py" in swapped
    assert "--flow takes a run of train_flow.py" in mistake(flow=stage_2)
    assert "holds a FrameClassifier" in mistake(rgb=frame_run)
    assert "no such folder" in mistake(flow=tmp_path / "none")
    unfinished = shutil.copytree(flow_run, tmp_path / "unfinished")
    (unfinished / "eval.json").unlink()
    assert "has not finished" in mistake(flow=unfinished)
    names = list(checkpoint(flow_run)["class_names"])
    other = doctored(flow_run, tmp_path / "classes", class_names=[*names[:-1], "stir_soup"])
    assert "stir_soup" in mistake(flow=other) and names[-1] in mistake(flow=other)
    config = checkpoint(flow_run)["config"]
    seen = doctored(flow_run, tmp_path / "users", config=config | {"train_users": ["S2", "S3"]})
    assert "has learned from S2" in mistake(flow=seen)
    assert "held out other clips" in mistake(val_fraction=0.3)
    assert "is not the run this was configured with" in mistake(flow_sha256="0" * 64)
    large = Preprocessing.flow(128).to_dict()
    preprocessing = checkpoint(flow_run)["preprocessing"] | {"pixels": large}
    assert "--image-size" in mistake(flow=doctored(flow_run, tmp_path / "large", preprocessing=preprocessing))
    assert "--gamma" in mistake(milestones=(3,))
    capsys.readouterr()
    assert "stage-1 run" not in capsys.readouterr().out
    mistake(rgb=stage_1, flow=seen)
    assert "is a stage-1 run; the paper joins stage 2" in capsys.readouterr().out
