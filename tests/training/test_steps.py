"""Steps that do not wait for the device: what is read when, and sums that are those of reading each step."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from core.errors import UserError
from core.ranks import Ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything
from core.task import Classification
from core.train_config import TrainConfig
from tests.support.toy import KEYS, Toy, batches, rows, run, stage
from training.evaluate import predict
from training.fit import EvaluationSet, FitSettings, Loop, Sets, TimedBatches, TrainingSet
from training.record import Recorder
from training.step import Tally

CPU = torch.device("cpu")


READS = {"item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__", "nonzero"}


class Readings(TorchFunctionMode):
    """Counts how often a tensor is read, for which a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.number += getattr(function, "__name__", "") in READS
        return function(*args, **(kwargs or {}))


def loop(out, size, look_every_sec=1e9, poison=False):
    order = np.arange(24)
    test = EvaluationSet("test", KEYS, batches(order, size=size))
    sets = Sets(TrainingSet(KEYS, lambda epoch: batches(order, poison, size)), test, test)
    run = RunDirectory.begin(TrainConfig(out=out))
    settings = FitSettings(0, CPU, look_every_sec=look_every_sec)
    torch.manual_seed(1)
    return Loop(Classification(Toy(), ("x",)), stage(), sets, Recorder(run, {}), settings)


def train_epoch(loop, batches):
    seed_everything(0, 1)
    return loop.train_epoch(1, TimedBatches(batches), tqdm(disable=True))


@pytest.mark.parametrize("look_every_sec", [1e9, 0.0])
def test_readings_do_not_grow_with_the_steps_of_an_epoch(tmp_path, look_every_sec):
    counts = []
    for size in (12, 2):  # 2 steps and 12
        made = loop(tmp_path / str(size), size, look_every_sec)
        with Readings() as readings:
            train_epoch(made, batches(np.arange(24), size=size))
            predict(made.task, made.sets.test.batches, KEYS)
        counts.append(readings.number)
    assert (counts[0] == counts[1]) == (look_every_sec > 0) and counts[0] > 0, counts


@pytest.mark.parametrize("look_every_sec", [1e9, 0.0])
def test_the_sums_are_those_of_reading_every_step(tmp_path, look_every_sec):
    """Against the plain loop: float32 values, added in float64, step after step."""
    found = loop(tmp_path / "run", 7, look_every_sec)
    row = train_epoch(found, batches(np.arange(24), size=7))
    torch.manual_seed(1)
    model = Toy()
    stage().set_modes(model)
    optimizer = torch.optim.Adam(model.classifier.parameters(), lr=0.05, fused=True)
    seed_everything(0, 1)
    total, right = 0.0, 0
    for batch in batches(np.arange(24), size=7):
        logits = model(batch["x"]).logits
        loss = torch.nn.functional.cross_entropy(logits, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch["label"])
        right += int((logits.argmax(dim=1) == batch["label"]).sum())
    assert row["loss"] == total / 24 and row["accuracy"] == 100.0 * right / 24
    assert torch.equal(model.classifier.weight, found.task.model.classifier.weight)


@pytest.mark.parametrize("look_every_sec", [1e9, 0.0])
def test_the_first_batch_that_was_not_finite_is_named_however_late_it_is_read(tmp_path, look_every_sec):
    made = loop(tmp_path / "run", 4, look_every_sec)
    with pytest.raises(
        UserError, match=r"epoch 1: \{'loss': (nan|inf)\}, at the clips clip4, clip5, clip6, clip7\. "
    ):
        train_epoch(made, batches(np.arange(24), poison=True, size=4))


def test_a_loss_that_breaks_later_leaves_the_epoch_before(tmp_path):
    """The bad batch is followed by others, whose steps spoil nothing that is saved."""
    run(tmp_path / "whole", epochs=2)
    with pytest.raises(UserError, match="clip7.*epoch 2 is kept"):
        run(tmp_path / "run", poison=3)
    kept, whole = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("run", "whole"))
    assert kept["epoch"] == 2 and str(kept["model"]) == str(whole["model"])
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_accuracy_is_over_the_items_that_were_learned_from_however_many_there_are(tmp_path):
    """An epoch of single frames has more items than there are clips, this one fewer, all of class 0."""
    made = loop(tmp_path / "run", 8)
    made.task.model.classifier.bias.data[0] = 100
    assert train_epoch(made, batches(np.arange(0, 24, 3), size=8))["accuracy"] == 100


def test_a_batch_that_is_only_repeated_counts_nowhere():
    tally = Tally(SimpleNamespace(names=("loss",)))
    tally.add(torch.tensor([2.0, 3.0]), torch.arange(4), 4)
    tally.add(torch.tensor([9.0, 4.0]), torch.arange(4), 0)
    assert tally.read() == 2 and (tally.items, tally.right, tally.sums) == (4, 3, {"loss": 8.0})


def test_ranks_share_only_their_last_batches():
    """Of equal batches the shares are known; the others are asked for, and a rank without items repeats."""

    class Last(Ranks):
        everyones: ClassVar = [12.0, 2.0, 0.0]

        def gather(self, value):
            return [3, 3, value]

        def total(self, *values):
            return [self.everyones.pop(0)]

    parts = [{"clip": torch.arange(4)} for _ in range(2)]
    assert [share for _, share in Last(2, 3).matched(parts)] == [1 / 3, 1 / 3, 0.0]
    assert not Last.everyones
