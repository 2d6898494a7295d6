"""What a training may start from, and on whom and on which data a run may be measured."""

from pathlib import Path

import pytest
import torch
import yaml

import evaluate
from core.checkpoint import save_checkpoint
from core.errors import UserError
from core.train_config import ClipTrainConfig
from data.provenance import motion_made, refuse_other_motion
from data.transforms import Preprocessing, transform_frames
from training.parents import Parent, check_classes, refuse_seen_users, untrained_note
from training.run import take_own_weights


def saved_run(folder, **config):
    parts = {"model": {}, "architecture": {}, "class_names": [], "preprocessing": {}, "config": config}
    save_checkpoint(folder / "last.pt", parts)
    return str(folder)


def start(folder, source, flag="weights", **flags):
    class Config(ClipTrainConfig):
        weights: str | None = None
        init: Path | None = None

    return Config(data=folder, out=folder, **{flag: source}, **({"test_users": ("S2",)} | flags))


def test_first_weights_that_have_seen_a_test_user_are_refused(tmp_path):
    clips = saved_run(tmp_path / "clips", train_users=["S1", "S2"], images=None)
    for source in (clips, f"{clips}/last.pt"):
        with pytest.raises(UserError, match="--weights .*clips.* has learned from S2"):
            refuse_seen_users(start(tmp_path, source))
    refuse_seen_users(start(tmp_path, clips, test_users=("S4",), train_users=("S3",)))
    pictures = saved_run(tmp_path / "pictures", train_users=["S2"], images="there")
    (tmp_path / "text.pth").write_text("")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "flat.pth")
    for source in (
        pictures,
        "imagenet",
        "none",
        None,
        str(tmp_path / "gone.pth"),
        str(tmp_path / "flat.pth"),
    ):
        refuse_seen_users(start(tmp_path, source))


def test_whom_the_runs_before_have_seen_counts_too(tmp_path):
    first = saved_run(tmp_path / "first", train_users=["S2"])
    second = saved_run(tmp_path / "second", train_users=["S3"], weights=first)
    third = saved_run(tmp_path / "third", train_users=["S3"], init=second)
    with pytest.raises(
        UserError, match="--init .*third, which began from --init .*second, .*first has learned"
    ):
        refuse_seen_users(start(tmp_path, third, "init"))
    refuse_seen_users(start(tmp_path, third, "init", test_users=("S4",), train_users=("S1", "S3")))
    saved_run(
        tmp_path / "first", train_users=["S3"], init=third
    )  # replaced by a run that began from the others
    refuse_seen_users(start(tmp_path, third, "init"))


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_a_joint_network_knows_what_its_streams_have_seen(tmp_path, stream):
    seen = saved_run(tmp_path / "seen", train_users=["S2"])
    joint = saved_run(tmp_path / "joint", train_users=["S3"], **{stream: seen})
    with pytest.raises(UserError, match=f"joint, which began from --{stream} .*seen has learned from S2"):
        refuse_seen_users(start(tmp_path, joint, "init"))


def test_first_weights_selected_on_a_test_user_are_refused(tmp_path):
    saved = {"train_users": ["S1"], "test_users": ["S2"]}
    folder = saved_run(tmp_path / "run", **saved)
    parts = {"model": {}, "config": saved}
    for selected_on, refused in (("test", True), ("val", False)):
        save_checkpoint(tmp_path / "run" / "best.pt", parts | {"selected_on": selected_on})
        config = start(tmp_path, f"{folder}/best.pt")
        if refused:
            with pytest.raises(
                UserError, match=r"best.pt was selected on clips of S2.* take the run's folder"
            ):
                refuse_seen_users(config)
        else:
            refuse_seen_users(config)


def test_first_weights_that_held_out_other_clips_are_refused(tmp_path):
    held = {"val_fraction": 0.2, "seed": 0, "train_users": ["S1", "S3", "S4"]}
    source = saved_run(tmp_path / "run", **held)
    refuse_seen_users(start(tmp_path, source, val_fraction=0.2))
    refuse_seen_users(start(tmp_path, source, val_fraction=0.2, train_users=("S5",)))  # shares no user
    with pytest.raises(
        UserError, match="run held out other clips .*--seed 0.* than this training .*--seed 1"
    ):
        refuse_seen_users(start(tmp_path, source, val_fraction=0.2, seed=1))


@pytest.mark.parametrize("flag", ["train_users", "test_users"])
def test_a_user_is_named_once(tmp_path, flag):
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')}: name each user once, got .*S1.*S2.*S1"):
        ClipTrainConfig(data=tmp_path, out=tmp_path, **{flag: ("S1", "S2", "S1")})


def test_a_parent_that_learned_from_other_clips_held_out_others(tmp_path):
    held = {"val_fraction": 0.2, "seed": 0, "train_users": ["S1", "S3", "S4"], "test_users": ["S2"]}
    content = {"config": held, "class_names": ["a"], "images": {"train": "273 abc"}}
    parent = Parent("--init runs/a", content, "0")
    config = start(tmp_path, None, val_fraction=0.2)
    parent.check(config, ["a"], {"train": "273 abc"})
    with pytest.raises(UserError, match="--init runs/a learned from other clips than there are now"):
        parent.check(config, ["a"], {"train": "272 def"})
    with pytest.raises(UserError, match="--init runs/a held out other clips .*--seed 0.* than .*--seed 1"):
        parent.check(config.replace(seed=1), ["a"], {"train": "273 abc"})
    parent.check(config.replace(val_fraction=0.0), ["a"], {"train": "272 def"})
    Parent("--init runs/a", content | {"images": {}}, "0").check(config, ["a"], {"train": "272 def"})


def test_a_parent_that_knows_a_test_user_is_refused(tmp_path):
    users = {"train_users": ["S1", "S2"], "test_users": ["S4"], "val_fraction": 0.0, "seed": 0}
    parent = Parent("--init runs/a", {"config": users, "class_names": ["a"]}, "0")
    with pytest.raises(UserError, match="--init runs/a has learned from S2, whom --test-users would test on"):
        parent.check(start(tmp_path, None, train_users=("S1", "S4")), ["a"], {})
    parent.check(start(tmp_path, None, train_users=("S1", "S2"), test_users=("S3",)), ["a"], {})


def test_a_run_that_goes_on_has_its_own_weights_whatever_it_started_from(tmp_path):
    ours, began_from = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    config = start(tmp_path, None).replace(out=tmp_path / "run")
    take_own_weights(config, began_from)
    assert not began_from.weight.equal(ours.weight), "there is no run yet"
    parts = {"architecture": {}, "class_names": [], "preprocessing": {}, "config": {}}
    save_checkpoint(tmp_path / "run" / "last.pt", parts | {"model": ours.state_dict()})
    take_own_weights(config, began_from)
    assert began_from.weight.equal(ours.weight)
    other = torch.nn.Linear(3, 2)
    before = other.weight.clone()
    take_own_weights(config, other)
    assert other.weight.equal(before), "what has changed is said later"


def test_a_run_is_measured_on_whom_it_learned_from_only_by_name(tmp_path, capsys):
    saved = {"train_users": ["S1", "S2"], "test_users": ["S2"]}
    settings = evaluate.Config(run=tmp_path, data=tmp_path)
    with pytest.raises(UserError, match="has learned from S2.* --users S2"):
        evaluate.choose_users(tmp_path, saved, settings)
    assert evaluate.choose_users(tmp_path, saved, settings.replace(users=("S2",))) == ("S2",)
    assert "has learned from S2; this does not measure" in capsys.readouterr().out
    honest = saved | {"train_users": ["S1"]}
    assert evaluate.choose_users(tmp_path, honest, settings) == ["S2"]
    assert capsys.readouterr().out == ""


def test_untrained_weights_and_unfinished_runs_are_called_so():
    def selection(epoch, planned):
        return evaluate.selection_of({"epoch": epoch, "config": {"epochs": planned}}, "last")

    assert selection(3, 3) == "last_epoch"
    assert selection(1, 3) == "unfinished, of 3 epochs"
    assert selection(0, 3) == selection(None, 3) == "untrained weights"
    assert "backbone of runs/a is untrained" in untrained_note({"stage": 1, "weights": "none"}, "runs/a")
    assert untrained_note({"stage": 1, "weights": "imagenet"}, "runs/a") is None
    assert untrained_note({"stage": "joint", "weights": "none"}, "runs/a") is None


def test_the_classes_of_run_and_data_are_compared():
    check_classes(["a", "b"], ("a", "b"), where="--init run")
    with pytest.raises(UserError, match=r"knows 2 classes, the data has 2; only the run has \['b'\]"):
        check_classes(["a", "b"], ("a", "c"), where="--init run")


def test_motion_that_was_made_in_another_way_is_refused(tmp_path):
    (tmp_path / "motion.yaml").write_text(yaml.safe_dump({"flow": "dis", "warp": True}))
    reads = ("flow_x", "flow_y")
    assert motion_made(tmp_path, reads) == {"flow": "dis", "warp": True}
    assert motion_made(tmp_path, ("frames",)) == {} == motion_made(tmp_path / "none", reads)
    other = {"motion_made": {"flow": "tvl1", "warp": True}}
    with pytest.raises(UserError, match="runs/f has learned from .*tvl1.* made with flow dis, warp True"):
        refuse_other_motion(other, tmp_path, reads, "runs/f")
    for known in ({}, {"motion_made": {}}, {"motion_made": {"flow": "dis", "warp": True}}):
        refuse_other_motion(known, tmp_path, reads, "runs/f")
    refuse_other_motion(other, tmp_path, ("frames",), "runs/f")


def test_pixels_can_not_be_normalised_twice():
    pixels = Preprocessing.rgb(32)
    once = transform_frames(torch.zeros(2, 3, 40, 50, dtype=torch.uint8), pixels, None)
    with pytest.raises(AssertionError, match="normalised once"):
        transform_frames(once, pixels, None)
