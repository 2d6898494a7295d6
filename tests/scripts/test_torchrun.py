"""Trainings in two processes, started by torchrun, against the same in this one."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import train_rgb
import train_video
from core.errors import UserError
from core.ranks import Ranks
from core.run_dir import read_eval
from models.inserts import MODULES
from models.temporal import HEADS
from models.video import NETWORKS
from models.weights import read_backbone_weights
from tests.scripts.test_pictures_beside import paint
from tests.scripts.test_video_path import config as video_config
from tests.support import parallel_toy
from tests.support.small_runs import stage_1_config

ROOT = Path(__file__).resolve().parents[2]
FEW_HEADS = ("lsta",)  # of which a part never has a gradient
WITH_CHANCE = ("avt", "swin3d_t")  # drop features, or whole paths, themselves, others in each process
TOO_LARGE = ("mvit_v2_s",)  # takes 16 frames of 224 pixels only


def by_torchrun(folder, trainings):
    """Its exit status, what it wrote and what it said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + [str(ROOT / "tests/support/parallel_toy.py"), str(folder), trainings],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    return [done.returncode, done.stdout, done.stderr]


def by_its_agent(folder, trainings):
    """The same by what torchrun starts processes with; these are forked, so that none loads torch again."""
    streams = [folder / "stdout", folder / "stderr"]
    agent = multiprocessing.get_context("fork").Process(target=_agent, args=(streams, folder, trainings))
    agent.start()
    agent.join()
    return [agent.exitcode, *(path.read_text() for path in streams)]


def _agent(streams, folder, trainings):
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    one_node = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(one_node, parallel_toy.start)(folder, trainings)


@pytest.fixture(scope="module")
def in_two(once, tree, mapped_tree, frame_run, stress):
    """The trainings of `parallel_toy` in two processes: their folder, what they said, the other trainings."""
    # 15 clips, or 29 for networks over clips, are learned from: the last batch is a short and an odd one.
    settings = {"dropout": 0.0, "batch_size": 8, "val_fraction": 0.15}
    heads = {"rgb": "convlstm"} | {name: name for name in (HEADS if stress else FEW_HEADS)}

    def configs_below(folder):
        configs = {
            out: stage_1_config(
                mapped_tree,
                folder / "backbone.pth",
                folder / out,
                temporal=head,
                epochs=2 if stress or out == "rgb" else 1,
                **settings,
            )
            for out, head in heads.items()
        }
        videos = {"beside": {"network": "resnet18", "module": "tsm", "pictures": folder / "pictures"}}
        if stress:
            videos |= {name: {"network": "resnet18", "module": name} for name in MODULES}
            videos |= {name: {"network": name} for name in NETWORKS if name not in TOO_LARGE}
        for out, changes in videos.items():
            # Of full width a single step: at 32 pixels each further one makes rounding 100 times larger.
            steps = {"val_fraction": 0.2} | ({"batch_size": 30} if out in NETWORKS else {})
            configs[out] = video_config(tree, folder / out, **(settings | steps), **changes)
        return configs

    def train(folder):
        folder.mkdir()
        paint(folder / "pictures")
        # The run itself has learned from clips that are held out here.
        torch.save(read_backbone_weights(str(frame_run), "resnet18"), folder / "backbone.pth")
        configs = configs_below(folder).values()
        trainings = json.dumps(
            [[type(config).__module__, config.model_dump(mode="json")] for config in configs]
        )
        started = (by_torchrun if stress else by_its_agent)(folder, trainings)
        assert (folder / "rgb" / "eval.json").exists(), started[2]
        (folder / "done.json").write_text(json.dumps(started))

    folder = once("in_two", train)
    done = subprocess.CompletedProcess([], *json.loads((folder / "done.json").read_text()))
    return folder, done, configs_below(folder)


def rows(path):
    with (path / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name not in ("seconds", "clips_per_sec")}
            for row in csv.DictReader(file)
        ]


def assert_same_training(first, second, near=1e-6):
    """The same but for rounding: sums over processes are added in another order."""
    for one, two in zip(rows(first), rows(second), strict=True):
        assert one["split"] == two["split"]
        numbers = [name for name in one if name != "split" and one[name]]
        values = [[float(row[name]) for name in numbers] for row in (one, two)]
        np.testing.assert_allclose(*values, rtol=near, atol=near)
    states = [torch.load(path / "last.pt", weights_only=True)["model"] for path in (first, second)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=near, atol=near)


def assert_same_statistics(first, second):
    """The running statistics of batch norm; those of each process's own clips would be a tenth off."""
    states = [torch.load(path / "last.pt", weights_only=True)["model"] for path in (first, second)]
    names = [name for name in states[0] if name.endswith(("running_mean", "running_var"))]
    one, two = (torch.cat([state[name] for name in names]) for state in states)
    assert float((one - two).norm() / one.norm()) < 1e-3


def assert_same_step(first, second):
    """The mean of the gradients that the optimiser keeps; of each process's own clips it would be another."""
    steps = [
        torch.load(path / "last.pt", weights_only=True)["optimizer"]["state"] for path in (first, second)
    ]
    assert steps[0].keys() == steps[1].keys()
    one, two = (
        torch.cat([kept.get("momentum_buffer", kept.get("exp_avg")).flatten() for kept in step.values()])
        for step in steps
    )
    assert float((one - two).norm() / one.norm()) < 0.1  # 0.03 of P3D, of rounding behind its batch norms


def assert_same_evaluation(first, second, near=1e-5):
    one, two = (dict(np.load(path / "predictions.npz")) for path in (first, second))
    assert one["clip"].tolist() == two["clip"].tolist() and one["label"].tolist() == two["label"].tolist()
    np.testing.assert_allclose(one["logits"], two["logits"], rtol=near, atol=near)
    numbers = [{n: v for n, v in read_eval(path).items() if type(v) is float} for path in (first, second)]
    assert numbers[0] == pytest.approx(numbers[1], rel=near)


def test_batch_norm_and_a_last_batch_of_one(in_two, tmp_path):
    parallel_toy.main(parallel_toy.toy_config(tmp_path / "toy"))
    assert_same_training(in_two[0] / "toy", tmp_path / "toy")
    assert_same_evaluation(in_two[0] / "toy", tmp_path / "toy")
    assert json.loads((in_two[0] / "toy" / "env.json").read_text())["processes"] == 2


def test_the_rgb_stream_with_its_heads_and_networks_over_clips(in_two, tmp_path):
    folder, _, configs = in_two
    for out, config in configs.items():
        over_clips = isinstance(config, train_video.Config)  # whose batch norms make rounding larger
        assert read_eval(folder / out)["n_clips"] == (12 if over_clips else 6)
        if out not in WITH_CHANCE:
            if out in NETWORKS:
                train_video.main(config.replace(out=tmp_path / out))
                assert_same_statistics(folder / out, tmp_path / out)
                assert_same_step(folder / out, tmp_path / out)
                continue
            (train_video if over_clips else train_rgb).main(config.replace(out=tmp_path / out))
            assert_same_training(folder / out, tmp_path / out, 1e-4 if over_clips else 1e-6)
            assert_same_evaluation(folder / out, tmp_path / out, 1e-4 if over_clips else 1e-5)


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
    said, streams = in_two[1].stdout, len(in_two[2])
    data = said.count("15 training") + said.count("29 training")
    assert said.count("epoch 1/3") == 2 and data == said.count("top-1") == streams


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
