"""Trainings in two processes, started by torchrun, against the same in this one."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import train_rgb
from core.errors import UserError
from core.ranks import Ranks
from core.run_dir import read_eval
from tests.support import parallel_toy
from tests.support.small_runs import stage_1_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def in_two(tree, frame_run, tmp_path_factory):
    """The trainings of `parallel_toy` in two processes: their folder, what they said, the config of "rgb"."""
    folder = tmp_path_factory.mktemp("in_two")
    # 30 clips are learned from: no multiple of a batch, so the last one is short.
    config = stage_1_config(tree, frame_run, folder / "rgb", dropout=0.0, batch_size=8, val_fraction=0.2)
    rgb = json.dumps(config.model_dump(mode="json"))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + [str(ROOT / "tests/support/parallel_toy.py"), str(folder), rgb],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert (folder / "rgb" / "eval.json").exists(), done.stderr
    return folder, done, config


def rows(path):
    with (path / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name not in ("seconds", "clips_per_sec")}
            for row in csv.DictReader(file)
        ]


def assert_same_training(first, second):
    """The same but for rounding: sums over processes are added in another order."""
    for one, two in zip(rows(first), rows(second), strict=True):
        assert one["split"] == two["split"]
        numbers = [name for name in one if name != "split" and one[name]]
        values = [[float(row[name]) for name in numbers] for row in (one, two)]
        np.testing.assert_allclose(*values, rtol=1e-6, atol=1e-6)
    states = [torch.load(path / "last.pt", weights_only=True)["model"] for path in (first, second)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-6, atol=1e-6)


def assert_same_evaluation(first, second):
    one, two = (dict(np.load(path / "predictions.npz")) for path in (first, second))
    assert one["clip"].tolist() == two["clip"].tolist() and one["label"].tolist() == two["label"].tolist()
    np.testing.assert_allclose(one["logits"], two["logits"], rtol=1e-5, atol=1e-5)
    assert read_eval(first) == read_eval(second)


def test_batch_norm_and_a_last_batch_of_one(in_two, tmp_path):
    parallel_toy.main(parallel_toy.toy_config(tmp_path / "toy"))
    assert_same_training(in_two[0] / "toy", tmp_path / "toy")
    assert_same_evaluation(in_two[0] / "toy", tmp_path / "toy")
    assert json.loads((in_two[0] / "toy" / "env.json").read_text())["processes"] == 2


def test_the_rgb_stream(in_two, tmp_path):
    train_rgb.main(in_two[2].replace(out=tmp_path / "rgb"))
    assert_same_training(in_two[0] / "rgb", tmp_path / "rgb")
    assert_same_evaluation(in_two[0] / "rgb", tmp_path / "rgb")
    assert read_eval(in_two[0] / "rgb")["n_clips"] == 12


def test_one_message_where_one_process_fails_and_one_process_goes_on(in_two, tmp_path):
    folder, done, _ = in_two
    assert done.returncode != 0
    assert done.stderr.count("error: ") == done.stderr.count("error: clip7 is broken") == 1
    assert "RuntimeError" not in done.stderr and "Gloo" not in done.stderr
    assert len(rows(folder / "stopped")) == 2
    parallel_toy.main(parallel_toy.toy_config(folder / "stopped", resume=True))
    parallel_toy.main(parallel_toy.toy_config(tmp_path / "toy"))
    assert_same_training(folder / "stopped", tmp_path / "toy")


def test_one_process_speaks(in_two):
    said = in_two[1].stdout
    assert said.count("epoch 1/3") == 2 and said.count("training") == 1 and said.count("top-1") == 1


@pytest.mark.parametrize("items, size, number", [(36, 10, 2), (13, 4, 2), (23, 9, 3), (20, 12, 4)])
def test_parts_of_batches_are_the_batches(items, size, number):
    """The k-th parts of all processes together are the k-th batch of one process."""
    order = np.random.default_rng(0).permutation(items).tolist()
    ranks = [Ranks(rank, number) for rank in range(number)]
    parts = [list(rank.part(order)) for rank in ranks]
    mine = ranks[0].batch_size(size)
    for batch in range(-(-items // size)):
        together = [item for part in parts for item in part[batch * mine : (batch + 1) * mine]]
        assert sorted(together) == sorted(order[batch * size : (batch + 1) * size])


def test_a_batch_that_cannot_be_divided():
    with pytest.raises(UserError, match="--batch-size 32 is for all 3 processes"):
        Ranks(0, 3).batch_size(32)
    assert Ranks(1, 4).batch_size(32) == 8
