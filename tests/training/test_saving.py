"""Saving beside the training: what is on the disk when, and what an end of any kind leaves there."""

import errno
import os
import threading

import pytest
import torch
from torch import nn

from core.run_dir import RunDirectory
from core.train_config import TrainConfig
from tests.support.toy import contents, interrupt, left_behind, main, rows, run
from training.record import Recorder, TrainingState

NEVER = 1e9  # seconds
ABOUT = {"architecture": {}, "class_names": [], "preprocessing": {}, "config": {}}


class Growing:
    """A model whose weight is the number of its epoch, recorded with given accuracies."""

    def __init__(self, out, every_sec):
        self.run = RunDirectory.begin(TrainConfig(out=out, resume=True))
        self.recorder = Recorder(self.run, ABOUT, every_sec=every_sec)
        self.model = nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.SGD(self.model.parameters(), 1.0, momentum=0.9)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2])
        self.state = TrainingState(self.model, optimizer, schedule)
        self.recorder.resume(self.state)

    def epoch(self, accuracy):
        self.state.epoch += 1
        nn.init.constant_(self.model.weight, self.state.epoch)
        row = {"epoch": self.state.epoch, "split": "val", "loss": 0.0, "accuracy": accuracy, "lr": ""}
        self.recorder.record(self.state, [row])

    def on_disk(self):
        """The epochs that last.pt and best.pt say, and those that their weights are of."""
        found = [torch.load(file, weights_only=True) for file in (self.run.last, self.run.best)]
        assert [row["epoch"] for row in found[0]["rows"]] == list(range(1, found[0]["epoch"] + 1))
        assert len(rows(self.run.path)) == found[0]["epoch"]
        return [(state["epoch"], int(state["model"]["weight"])) for state in found]


def test_the_best_epoch_is_kept_though_later_ones_pass_before_it_is_written(tmp_path):
    growing = Growing(tmp_path / "run", NEVER)
    with growing.recorder:
        for accuracy in (10.0, 50.0, 20.0, 50.0):  # of equal ones the first is kept
            growing.epoch(accuracy)
    assert growing.on_disk() == [(4, 4), (2, 2)]
    assert growing.state.best_epoch == 2 and not left_behind(tmp_path / "run")


def test_training_goes_on_while_a_slow_disk_writes_its_copy(tmp_path, monkeypatch):
    """The disk waits for the training, so this would hang if the training waited for the disk."""
    learned_on, replace = threading.Event(), os.replace

    def slow(*names):
        assert learned_on.wait(30)
        replace(*names)

    growing = Growing(tmp_path / "run", NEVER)
    monkeypatch.setattr(os, "replace", slow)
    with growing.recorder:
        growing.epoch(10.0)
        growing.epoch(5.0)
        learned_on.set()
        while not growing.run.best.exists():
            pass
        assert growing.on_disk() == [(1, 1), (1, 1)], "a copy is not changed by what is learned after it"
    assert growing.on_disk() == [(2, 2), (1, 1)]


def test_however_seldom_it_writes_an_end_leaves_the_last_epoch(tmp_path):
    run(tmp_path / "whole")
    for every_sec in (0.0, NEVER):
        out = tmp_path / str(every_sec)
        with pytest.raises(KeyboardInterrupt):
            run(out, at_epoch=interrupt(4), save_every_sec=every_sec)
        assert torch.load(out / "last.pt", weights_only=True)["epoch"] == 3 and len(rows(out)) == 6
        run(out, resume=True, save_every_sec=NEVER)
        assert contents(out) == contents(tmp_path / "whole") and not left_behind(out)


def test_a_best_without_its_name_gets_it_only_if_the_last_epoch_speaks_of_it(tmp_path):
    growing = Growing(tmp_path / "run", 0.0)
    with growing.run, growing.recorder:
        growing.epoch(10.0)
    for spoken_of, left in ((1, 1), (2, 1), (0, 1)):
        late = dict(torch.load(growing.run.best, weights_only=True), epoch=spoken_of, late=True)
        torch.save(late, growing.run.next_best)
        again = Growing(tmp_path / "run", 0.0)
        with again.run, again.recorder:
            pass
        assert again.on_disk()[1][0] == left and not left_behind(tmp_path / "run")
        assert "late" in torch.load(growing.run.best, weights_only=True), "that of epoch 1 was taken"


def test_trouble_of_the_disk_ends_the_training_in_the_middle_of_an_epoch(tmp_path, monkeypatch):
    """Whoever looks at the losses also asks how the writing goes; nothing is tried again."""
    growing, tried = Growing(tmp_path / "run", 0.0), []

    def full(*names):
        tried.append(names)
        raise OSError(errno.ENOSPC, "No space left on device", str(names[1]))

    with pytest.raises(OSError, match="No space left"), growing.recorder:
        growing.epoch(10.0)
        while not growing.run.best.exists():
            pass
        growing.recorder.tend()
        monkeypatch.setattr(os, "replace", full)
        growing.epoch(20.0)
        growing.epoch(30.0)
        while True:
            growing.recorder.tend()
    monkeypatch.undo()
    assert growing.on_disk() == [(1, 1), (1, 1)] and len(tried) == 1 and not left_behind(tmp_path / "run")


def test_a_flag_says_how_often(tmp_path, command):
    status, _, said = command(main, TrainConfig, "--out", tmp_path / "run", "--save-every-sec", -1)
    assert status == 2 and "save-every-sec" in said
