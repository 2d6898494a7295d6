"""The toy training killed at its every write and in its evaluations, told to leave, and started twice."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from core.cli import run as run_command
from core.errors import UserError
from core.files import release_lock, take_lock
from core.run_dir import RunDirectory
from core.train_config import TrainConfig
from tests.support.toy import contents, left_behind, main, run, saved_first

CONTEXT = multiprocessing.get_context("fork")  # a child that need not import torch again


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, and how many files were renamed in the making of it."""
    out, replace, made = tmp_path_factory.mktemp("whole") / "run", os.replace, []
    os.replace = lambda *names: made.append(names[1].name) or replace(*names)
    try:
        run(out, save_every_sec=0, at_epoch=saved_first(out))
    finally:
        os.replace = replace
    return out, made


def in_a_child(function, *arguments):
    """Run a function in a process that says nothing; gives it."""

    def quietly():
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        function(*arguments)

    child = CONTEXT.Process(target=quietly)
    child.start()
    return child


def die_at_rename(out, number, after):
    """Train, and be killed with the number-th file written whole: before it gets its name, or after."""
    replace, left = os.replace, [number]

    def renamed(*names):
        left[0] -= 1
        if after:
            replace(*names)
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if not after:
            replace(*names)

    os.replace = renamed
    run(out, resume=True, save_every_sec=0, at_epoch=saved_first(out))


def test_killed_in_any_save_it_ends_as_the_undisturbed_run(whole, tmp_path, stress, figures):
    undisturbed, renames = whole
    moments = [(number, after) for number in range(len(renames)) for after in (False, True)]
    moments.pop()  # after eval.json the run has ended
    assert renames[2:6] == [".next-best.pt", "metrics.csv", "last.pt", "best.pt"], "of the first epoch"
    chosen = moments if stress else [(0, False), (3, False), (4, True), (len(renames) - 1, False)]
    for number, after in chosen:
        out = tmp_path / f"{number}{after}"
        child = in_a_child(die_at_rename, out, number, after)
        child.join(30)
        assert child.exitcode == -signal.SIGKILL
        run(out, resume=True)
        assert contents(out) == contents(undisturbed) and not left_behind(out)
        shutil.rmtree(out)
    figures["kills in saves, before and after a file gets its name"] += len(chosen)


def die_while_epochs_pass(out, number):
    """Train beside a disk that is slower than an epoch, and be killed at its number-th file."""
    replace, left = os.replace, [number]

    def slowly(*names):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        replace(*names)

    os.replace = slowly
    run(out, resume=True, epochs=12, save_every_sec=0)


def test_killed_while_epochs_pass_beside_a_slow_disk(tmp_path, stress, figures):
    run(tmp_path / "whole", epochs=12)
    for number in range(2, 12) if stress else (6,):
        out = tmp_path / str(number)
        for moment in (number, 3):  # the second time, what is left may be the files of the end alone
            child = in_a_child(die_while_epochs_pass, out, moment)
            child.join(30)
            assert child.exitcode == -signal.SIGKILL
        run(out, epochs=12, resume=True)
        assert contents(out) == contents(tmp_path / "whole") and not left_behind(out)
        figures["kills in saves beside which epochs passed"] += 2


def die_in_evaluation(out, number):
    left = [number]

    def at_evaluation():
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run(out, resume=True, at_evaluation=at_evaluation)


def test_killed_in_an_evaluation_it_ends_as_the_undisturbed_run(whole, tmp_path):
    child = in_a_child(die_in_evaluation, tmp_path / "run", 2)
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    run(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole[0])


def train_slowly(out, ready):
    def slowly(epoch):
        if epoch == 3:
            ready.set()
            time.sleep(60)

    sys.argv = ["train", "--out", str(out), "--epochs", "4", "--resume"]
    run_command(partial(main, at_epoch=slowly), TrainConfig)


@pytest.mark.parametrize("number,status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_leave_it_leaves_within_seconds_with_its_state_saved(whole, tmp_path, number, status):
    ready = CONTEXT.Event()
    child = in_a_child(train_slowly, tmp_path / "run", ready)
    assert ready.wait(30)
    start = time.monotonic()
    os.kill(child.pid, number)
    child.join(30)
    assert child.exitcode == status and time.monotonic() - start < 5
    assert RunDirectory(tmp_path / "run").checkpoint("last")["epoch"] == 2
    assert not left_behind(tmp_path / "run")
    run(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole[0])


def hold(path, ready):
    """Hold a lock while a process lives on that was forked from the holder."""
    take_lock(path)
    CONTEXT.Process(target=time.sleep, args=(5,)).start()
    ready.set()
    time.sleep(60)


def test_a_killed_process_holds_its_lock_no_longer_though_its_loaders_live_on(tmp_path):
    ready = CONTEXT.Event()
    child = in_a_child(hold, tmp_path / ".lock", ready)
    assert ready.wait(30) and take_lock(tmp_path / ".lock") is None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    lock = take_lock(tmp_path / ".lock")
    assert lock is not None
    release_lock(lock)


def test_a_run_that_finished_while_another_waited_for_its_lock_is_not_touched(tmp_path, monkeypatch):
    def late(file):
        monkeypatch.undo()
        run(tmp_path / "run", epochs=1)
        return take_lock(file)

    monkeypatch.setattr("core.run_dir.take_lock", late)
    with pytest.raises(UserError, match="finished run"):
        run(tmp_path / "run", epochs=1)


class Dying(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, item):
        if item == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(1)


def test_a_killed_loader_is_one_message(tmp_path):
    """In a child: PyTorch says it from a signal's handler, which may strike wherever the process then is."""

    def load(_):
        for _ in DataLoader(Dying(), num_workers=1):
            pass

    def start():
        sys.stderr = (tmp_path / "said").open("w")
        sys.argv = ["command", "--out", str(tmp_path / "run")]
        run_command(load, TrainConfig)

    child = CONTEXT.Process(target=start)
    child.start()
    child.join(60)
    said = (tmp_path / "said").read_text()
    assert child.exitcode == 2 and said.count("\n") == 1 and "killed" in said and "--workers" in said
