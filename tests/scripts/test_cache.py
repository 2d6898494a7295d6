"""Training from kept outputs is training: same losses, same weights, whoever filled the store."""

import csv
import hashlib
import shutil
from pathlib import Path

import pytest
import torch

import train_rgb
import train_twostream
from models.temporal import HEADS
from tests.support.small_runs import joint_config, stage_1_config, stage_2_config


def run(config: train_rgb.Config) -> tuple[list[tuple[str, ...]], dict[str, torch.Tensor]]:
    train_rgb.main(config)
    return result(config.out)


def result(out: Path) -> tuple[list[tuple[str, ...]], dict[str, torch.Tensor]]:
    with (out / "metrics.csv").open() as file:
        rows = [(row["epoch"], row["split"], row["loss"], row["accuracy"]) for row in csv.DictReader(file)]
    return rows, torch.load(out / "last.pt", weights_only=True)["model"]


def contents(cache: Path) -> dict[str, str]:
    """Tell whether any kept value was added or changed, by each file's content."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in cache.iterdir()}


def same(one, other):
    assert one[0] == other[0]
    assert all(torch.equal(value, other[1][key]) for key, value in one[1].items())


@pytest.fixture(scope="module")
def halves(mapped_tree, frame_run, tmp_path_factory):
    """By head, a folder with the store that one epoch, and then two of the run `kept1`, have filled."""
    root = tmp_path_factory.mktemp("halves")

    def make(head="convlstm"):
        folder = root / head
        if not folder.exists():
            for name, epochs in (("filler", 1), ("kept1", 2)):
                settings = {"temporal": head, "epochs": epochs, "cache": folder / "cache"}
                train_rgb.main(stage_1_config(mapped_tree, frame_run, folder / name, **settings))
        return folder

    return make


@pytest.mark.parametrize(
    "head", [name if name == "convlstm" else pytest.param(name, marks=pytest.mark.stress) for name in HEADS]
)
def test_same_bits_in_both_stages_and_from_a_half_filled_store(
    head, mapped_tree, frame_run, halves, tmp_path
):
    plain = run(stage_1_config(mapped_tree, frame_run, tmp_path / "plain1", temporal=head))
    kept = halves(head) / "kept1"
    same(plain, result(kept))
    cache = shutil.copytree(halves(head) / "cache", tmp_path / "cache")
    kept_before = contents(cache)
    plain2 = run(stage_2_config(mapped_tree, tmp_path / "plain1", tmp_path / "plain2"))
    kept2 = run(stage_2_config(mapped_tree, kept, tmp_path / "kept2", cache=cache))
    same(plain2, kept2)
    assert contents(cache) == kept_before, "stage 2 draws as stage 1 did, so it finds all it needs"


def test_damage_and_want_of_room_change_nothing_but_time(mapped_tree, frame_run, halves, tmp_path, capsys):
    cache = shutil.copytree(halves() / "cache", tmp_path / "cache")
    whole = result(halves() / "kept1")
    for file in cache.iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2 :] = b"\7" * (len(content) - len(content) // 2)
        file.write_bytes(content)
    same(whole, run(stage_1_config(mapped_tree, frame_run, tmp_path / "damaged", cache=cache)))
    assert "damaged entries" in capsys.readouterr().out
    little = {"cache": tmp_path / "little", "cache_gib": 1e-3}
    same(whole, run(stage_1_config(mapped_tree, frame_run, tmp_path / "bounded", **little)))
    assert "--cache-gib" in capsys.readouterr().out


@pytest.mark.stress
def test_half_precision_is_repeatable_and_close(tree, frame_run, tmp_path):
    half = {"cache": tmp_path / "cache", "cache_precision": "float16"}
    plain = run(stage_1_config(tree, frame_run, tmp_path / "plain", epochs=2))
    fresh = run(stage_1_config(tree, frame_run, tmp_path / "fresh", epochs=2, **half))
    again = run(stage_1_config(tree, frame_run, tmp_path / "again", epochs=2, **half))
    same(fresh, again)
    for exact, rounded in zip(plain[0], fresh[0], strict=True):
        assert float(rounded[2]) == pytest.approx(float(exact[2]), rel=1e-3)


def test_other_weights_do_not_find_the_old_outputs(mapped_tree, halves, tmp_path):
    cache = shutil.copytree(halves() / "cache", tmp_path / "cache")
    whole = run(stage_1_config(mapped_tree, "none", tmp_path / "b", epochs=1))
    same(whole, run(stage_1_config(mapped_tree, "none", tmp_path / "c", epochs=1, cache=cache)))


def test_same_bits_in_joint_training(moving_tree, stage_2, flow_run, joint_run, tmp_path):
    train_twostream.main(
        joint_config(moving_tree, stage_2, flow_run, tmp_path / "kept", cache=tmp_path / "cache")
    )
    same(result(joint_run), result(tmp_path / "kept"))
    kept_before = contents(tmp_path / "cache")
    train_rgb.main(stage_1_config(moving_tree, stage_2, tmp_path / "rgb", cache=tmp_path / "cache"))
    assert kept_before.items() <= contents(tmp_path / "cache").items(), (
        "the RGB stream and joint training keep and find the same"
    )
