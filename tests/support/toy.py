"""A training of 24 items that takes a tenth of a second, and what it leaves."""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from core.files import write_text
from core.run_dir import RunDirectory
from core.stage import Group, Stage
from core.task import Batch, Classification
from core.train_config import TrainConfig
from metrics.predictions import Relations
from models.base import ClipOutput
from training.fit import EvaluationSet, Sets, TrainingSet
from training.run import Description, train_and_evaluate

KEYS = tuple(f"clip{i}" for i in range(24))
IMAGES = {"train": "24 abc"}
NAMES = ("left", "right", "up")


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> ClipOutput:
        features = self.norm(x)
        return ClipOutput(self.classifier(self.dropout(features)), features)


def data(poison: bool = False) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    x = np.eye(4)[labels] + rng.normal(size=(24, 4))
    if poison:
        x[7] = np.inf
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels)


def batches(order: npt.NDArray[np.intp], poison: bool = False, size: int = 8) -> list[Batch]:
    x, labels = data(poison)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    return [{"x": x[part], "label": labels[part], "clip": torch.as_tensor(part)} for part in parts]


def stage(epochs: int = 4) -> Stage:
    return Stage("toy", (Group(("classifier.*",)),), ("dropout",), "adam", 0.05, 0.0, (2,), 0.1, epochs)


class Batches(list[Batch]):
    """Batches that call a function when an epoch begins with them."""

    def __init__(self, batches: Sequence[Batch], begin: Callable[[], object]) -> None:
        super().__init__(batches)
        self.begin = begin

    def __iter__(self) -> Iterator[Batch]:
        self.begin()
        return super().__iter__()


def interrupt(at: int) -> Callable[[int], None]:
    """Make an `at_epoch` that presses Ctrl-C when epoch `at` begins: the epochs before it are saved."""

    def at_epoch(epoch: int) -> None:
        if epoch == at:
            raise KeyboardInterrupt

    return at_epoch


def saved_first(out: Path) -> Callable[[int], None]:
    """Make an `at_epoch` that waits until the epoch before is on the disk."""

    def at_epoch(epoch: int) -> None:
        while epoch > 1 and not ((out / "last.pt").exists() and _epoch(out) == epoch - 1):
            time.sleep(0.002)

    return at_epoch


def _epoch(out: Path) -> int:
    return int(torch.load(out / "last.pt", weights_only=True)["epoch"])


def run(
    out: Path,
    epochs: int = 4,
    resume: bool = False,
    poison: int = 0,
    val: bool = False,
    at_epoch: Callable[[int], object] = lambda epoch: None,
    at_evaluation: Callable[[], object] = lambda: None,
    **flags: Any,
) -> tuple[dict[str, Any], nn.Module]:
    """Train; `at_epoch` is called with an epoch's number when it begins, `at_evaluation` when one does.

    From epoch `poison` on, if that is not 0, clip7 is infinite.
    """
    config = TrainConfig(out=out, epochs=epochs, resume=resume, **flags)
    torch.manual_seed(1)
    order = np.arange(24)

    def shuffled(epoch: int) -> Batches:
        order = np.random.default_rng([config.seed, epoch]).permutation(24)
        return Batches(batches(order, 0 < poison <= epoch), partial(at_epoch, epoch))

    test = EvaluationSet("test", KEYS, Batches(batches(order, size=7), at_evaluation), "every clip")
    validation = EvaluationSet("val", KEYS[:9], batches(order[:9]), "the first nine") if val else test
    sets = Sets(TrainingSet(KEYS, shuffled), validation, test)
    about = Description(
        {"name": "Toy"}, NAMES, {}, Relations({"verb": np.array([0, 0, 1])}), images=dict(IMAGES)
    )
    task = Classification(Toy(), ("x",))
    with RunDirectory.begin(config) as directory:
        draw = partial(write_text, out / "motion.png", "drawn before eval.json says that all is there")
        return train_and_evaluate(config, directory, task, stage(epochs), sets, about, draw), task.model


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "clips_per_sec")}
            for row in csv.DictReader(file)
        ]


def main(config: TrainConfig, at_epoch: Callable[[int], object] = lambda epoch: None) -> None:
    """The training as a script's main."""
    flags = config.model_dump(exclude={"out", "epochs", "resume"})
    run(config.out, config.epochs or 4, config.resume, at_epoch=at_epoch, **flags)


def contents(path: Path) -> tuple[list[dict[str, str]], str, list[bytes]]:
    """All of a run that an interruption could change: rows, weights, state, best epoch, result."""
    states = [torch.load(path / name, weights_only=True) for name in ("last.pt", "best.pt")]
    for state in states:
        state["config"] = state["rows"] = None
    files = [(path / name).read_bytes() for name in ("eval.json", "predictions.npz", "motion.png")]
    return rows(path), str(states), files


def left_behind(path: Path) -> list[str]:
    """Files that nobody asked for."""
    return [file.name for file in path.iterdir() if file.name.startswith(".") and file.name != ".lock"]
