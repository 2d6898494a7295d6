"""Trainings killed at any moment go on to the same bits; `make stress` kills them fifty times and more."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import train_flow
import train_frame
import train_rgb
import train_twostream
import train_video
from models.temporal import HEADS
from tests.scripts.test_video_path import config as video_config
from tests.support.small_runs import SMALL, flow_config, joint_config, stage_1_config, stage_2_config

TIMES = ("seconds", "clips_per_sec")
CONTEXT = multiprocessing.get_context("fork")  # a child that need not import torch again
SCRIPTS = ("frame", "stage 1", "stage 2", "stage 2 with --ms", "stage joint with --ms", "flow")
SCRIPTS += ("two streams", "networks over clips")
WITH_HEADS = tuple(f"stage 1 with --temporal {name}" for name in HEADS)


@pytest.fixture
def training(request) -> Callable[[str], Callable[[Path], None]]:
    """Give what trains a script for three epochs into a folder, resuming what is there."""

    def choose(script: str) -> Callable[[Path], None]:
        made = request.getfixturevalue
        again = {"epochs": 3, "resume": True, "save_every_sec": 0}
        if script == "frame":
            settings = SMALL | {"frames": 2, "batch_size": 24, "backbone": "resnet18", "weights": "none"}
            settings |= {"data": made("tree")} | again
            return lambda out: train_frame.main(train_frame.Config(out=out, **settings))
        if script.startswith("stage 1"):
            parts = made("tree"), made("frame_run")
            head = {"temporal": script.split()[-1]} if script in WITH_HEADS else {}
            return lambda out: train_rgb.main(stage_1_config(*parts, out, **again, **head))
        if script == "stage 2":
            parts = made("moving_tree"), made("stage_1")
            return lambda out: train_rgb.main(stage_2_config(*parts, out, **again))
        if script == "stage 2 with --ms":
            parts, motion = (made("mapped_tree"), made("stage_1")), {"ms": "classification"}
            return lambda out: train_rgb.main(stage_2_config(*parts, out, **again, **motion))
        if script == "stage joint with --ms":
            parts, motion = (made("mapped_tree"), made("frame_run")), {"stage": "joint", "ms": "regression"}
            return lambda out: train_rgb.main(stage_1_config(*parts, out, **again, **motion))
        if script == "flow":
            parts = made("moving_tree"), made("frame_run")
            return lambda out: train_flow.main(flow_config(*parts, out, **again))
        if script == "networks over clips":
            tree, settings = made("tree"), {"weights": str(made("frame_run")), "network": "resnet18"} | again
            parts = {"temporal": "trn", "hidden": 8, "module": "gsm"}
            return lambda out: train_video.main(video_config(tree, out, **settings, **parts))
        parts = made("moving_tree"), made("stage_2"), made("flow_run")
        return lambda out: train_twostream.main(joint_config(*parts, out, **again))

    return choose


def kill_once(train: Callable[[Path], None], out: Path, after_sec: float) -> bool:
    """Train in a child that is killed after a while; whether its run is still to be ended."""
    child = CONTEXT.Process(target=_quietly, args=(train, out))
    child.start()
    child.join(after_sec)
    killed = child.is_alive()
    if killed:
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert killed or child.exitcode == 0, out.with_suffix(".said").read_text()
    return killed and not (out / "eval.json").exists()  # the last of its files


def _quietly(train: Callable[[Path], None], out: Path) -> None:
    sys.stdout = sys.stderr = out.with_suffix(".said").open("w")
    train(out)


def results(run: Path) -> tuple[object, ...]:
    """Everything that a run leaves, without times and places."""
    with (run / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    evaluation = json.loads((run / "eval.json").read_text())
    saved = np.load(run / "predictions.npz")
    files = sorted(file.name for file in run.iterdir() if not file.name.startswith("tensorboard"))
    return rows, evaluation, {name: saved[name].tolist() for name in saved.files}, files


def states(run: Path, name: str) -> dict[str, object]:
    checkpoint = torch.load(run / name, weights_only=True)
    checkpoint["config"] = {k: v for k, v in checkpoint["config"].items() if k not in ("out", "resume")}
    checkpoint["rows"] = [
        {k: v for k, v in row.items() if k not in TIMES} for row in checkpoint.get("rows", [])
    ]
    return checkpoint


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def pytest_generate_tests(metafunc):
    if "script" in metafunc.fixturenames:
        every = SCRIPTS + WITH_HEADS
        metafunc.parametrize("script", every if metafunc.config.getoption("--stress") else ["stage 2"])


def test_killed_at_random_it_ends_as_the_undisturbed_run(script, training, tmp_path, stress, figures):
    train, whole = training(script), tmp_path / "whole"
    rng = np.random.default_rng(list(map(ord, script)))
    start = time.monotonic()
    assert not kill_once(train, whole, 600), "an undisturbed child ends"
    lasts_sec = time.monotonic() - start
    wanted, kills, runs = (9 if stress and script in SCRIPTS else 2), 0, 0
    while kills < wanted:
        out = tmp_path / f"killed{runs}"
        while kill_once(train, out, float(rng.uniform(0, 1.1 * lasts_sec))):
            kills += 1
        runs += 1
        assert results(out) == results(whole)
        assert all(same(states(out, name), states(whole, name)) for name in ("last.pt", "best.pt"))
    figures["kills of train scripts at random moments"] += kills
    figures.lines.append(f"{script}: {kills} kills in {runs} runs of {lasts_sec:.1f} s")
