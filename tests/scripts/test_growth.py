"""Trainings of fifty epochs and evaluations of a thousand clips, watched from outside (make stress)."""

import gc
import multiprocessing
import os
import random
import resource
import signal
import time

import pytest

import evaluate
import train_rgb
from core.processes import GRACE_SEC, interrupted_by_signals
from data.index import ClipIndex
from tests.support.processes import children, gone
from tests.support.small_runs import stage_1_config
from training.record import Recorder

CONTEXT = multiprocessing.get_context("fork")
GROWTH = 0.02
READ = {"resident": "off"}
"""Else the pixels of so few clips are held, and loaders have nothing to load."""


def resident_bytes(pid: int | str = "self") -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def training_to(pipe, watch, train, *arguments):
    """Train in a process of its own, which tells its memory and its open files after every epoch."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    record = Recorder.record

    def told(*given):
        record(*given)
        pipe.send((resident_bytes(), open_files(), sum(map(resident_bytes, children(os.getpid())))))

    Recorder.record = told
    train(*arguments)
    pipe.send(watch())


def watched(train, *arguments, end=open_files):
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=training_to, args=(theirs, end, train, *arguments))
    child.start()
    theirs.close()
    seen = []
    while True:
        try:
            seen.append(ours.recv())
        except EOFError:
            break
    child.join()
    assert child.exitcode == 0
    return seen[:-1]


@pytest.mark.stress
@pytest.mark.parametrize("workers", [0, 2])
def test_fifty_epochs_on_the_tiny_set(tree, frame_run, tmp_path, workers, figures):
    settings = {"epochs": 50, "frames": 2, "workers": workers} | READ
    config = stage_1_config(tree, frame_run, tmp_path / "run", **settings)
    seen = watched(train_rgb.main, config)
    assert len(seen) == 50
    growth = [seen[-1][part] / seen[9][part] - 1 for part in (0, 2) if seen[9][part]]
    assert max(growth) < GROWTH and seen[-1][1] == seen[9][1], seen
    said = " and ".join(f"{100 * part:+.2f} %" for part in growth)
    figures.lines.append(f"50 epochs with {workers} loaders: memory {said} after the 10th")


@pytest.mark.stress
def test_a_thousand_evaluated_clips(tree, stage_1, tmp_path, figures, capsys):
    """By the least of twelve measurements: what is freed goes back to the system now and then only."""
    clips = len(ClipIndex.from_tree(tree).select(["S2"]))
    config = evaluate.Config(run=stage_1, data=tree, out=tmp_path, workers=0, device="cpu")
    seen, files = [], []
    for _ in range(24 - (-1000 // clips)):
        evaluate.main(config)
        capsys.readouterr()
        gc.collect()  # also pipes of the tests before
        seen.append(resident_bytes())
        files.append(open_files())
    growth = min(seen[-12:]) / min(seen[12:24]) - 1
    assert growth < GROWTH and files[-1] <= files[12], (growth, files)
    figures.lines.append(f"{clips * (len(seen) - 24)} clips evaluated: memory {100 * growth:+.2f} %")


def told_to_leave(*arguments):
    with interrupted_by_signals():
        training_to(*arguments)


@pytest.mark.stress
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_training_leaves_no_loaders(tree, frame_run, tmp_path, number, figures):
    """At random moments, ten times each; in every other one the whole terminal or job is told."""
    took, moments = [], random.Random(int(number))
    for attempt in range(10):
        settings = {"epochs": 500, "workers": 2} | READ
        config = stage_1_config(tree, frame_run, tmp_path / str(attempt), **settings)
        ours, theirs = CONTEXT.Pipe(duplex=False)
        child = CONTEXT.Process(target=told_to_leave, args=(theirs, open_files, train_rgb.main, config))
        child.start()
        ours.recv()
        time.sleep(moments.uniform(0, 1))
        loaders = children(child.pid)
        assert len(loaders) >= 2
        start = time.monotonic()
        for pid in [child.pid, *(loaders if attempt % 2 and number != signal.SIGKILL else [])]:
            os.kill(pid, number)
        child.join(20)
        while not all(map(gone, loaders)):
            assert time.monotonic() - start < 20, "loaders live on"
            time.sleep(0.01)
        took.append(time.monotonic() - start)
    assert max(took) < GRACE_SEC + 1
    figures.lines.append(
        f"{number.name}: {len(took)} trainings and their loaders gone after {max(took):.1f} s at most"
    )
