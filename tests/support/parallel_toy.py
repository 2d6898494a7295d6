"""A small training with batch norm in train mode, and what a test starts in two processes."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import train_rgb
import train_video
from core.cli import run
from core.errors import UserError
from core.ranks import Ranks, join_ranks
from core.run_dir import RunDirectory
from core.seeding import seed_everything
from core.stage import Group, Stage
from core.task import Batch, Classification
from core.train_config import TrainConfig
from metrics.predictions import Relations
from models.base import ClipOutput
from tests.support.thin import thin_networks
from training.fit import EvaluationSet, Sets, TrainingSet
from training.run import Description, place, train_and_evaluate

ITEMS = 13  # in batches of 4 the last one has a single item
KEYS = tuple(f"clip{i}" for i in range(ITEMS))
STAGE = Stage("toy", (Group(("*",)),), ("",), "sgd", 0.1, 0.01, None, 0.9, 3)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 3, 2)

    def forward(self, x: Tensor) -> ClipOutput:
        features = self.norm(self.first(x)).relu()
        return ClipOutput(self.second(features).mean(dim=(2, 3)), features.mean(dim=(2, 3)))


class Batches:
    broken_epoch: ClassVar[int | None] = None

    def __init__(self, order: Sequence[int], size: int, epoch: int = 0) -> None:
        self.order, self.size = order, size
        self.broken = epoch == self.broken_epoch

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng(3)
        labels = np.arange(ITEMS) % 3
        x = rng.normal(size=(ITEMS, 2, 6, 6)) + labels[:, None, None, None]
        for start in range(0, len(self.order), self.size):
            part = np.asarray(self.order[start : start + self.size])
            if self.broken and 7 in part:
                raise UserError("clip7 is broken")
            yield {
                "x": torch.tensor(x[part], dtype=torch.float32),
                "label": torch.tensor(labels[part]),
                "clip": torch.tensor(part),
            }


def main(config: TrainConfig) -> None:
    with join_ranks(config.device) as ranks:
        train(config, ranks)


def train(config: TrainConfig, ranks: Ranks) -> dict[str, Any]:
    seed_everything(config.seed)
    model = place(Toy(), config, ranks)

    def epoch(number: int) -> Batches:
        order = np.random.default_rng(number).permutation(ITEMS).tolist()
        return Batches(ranks.part(order), ranks.batch_size(config.batch_size), number)

    test = EvaluationSet("test", KEYS, Batches(ranks.part(range(ITEMS)), 4))
    about = Description({"name": "Toy"}, ("a", "b", "c"), {}, Relations())
    with RunDirectory.begin(config, ranks) as directory:
        sets = Sets(TrainingSet(KEYS, epoch), test, test)
        task = Classification(model, ("x",))
        return train_and_evaluate(config, directory, task, STAGE, sets, about, ranks=ranks)


def toy_config(out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(**({"out": out, "batch_size": 4, "device": "cpu"} | changes))


def start(folder: Path, trainings: str) -> None:
    """Train the toy, then what JSON asks for, each a script's name and its settings; then fail."""
    main(toy_config(folder / "toy"))
    with thin_networks():
        for name, settings in json.loads(trainings):
            script = {"train_rgb": train_rgb, "train_video": train_video}[name]
            script.main(script.Config(**settings))
    Batches.broken_epoch = 2
    sys.argv = ["toy", "--out", str(folder / "stopped"), "--batch-size", "4", "--device", "cpu"]
    run(main, TrainConfig)


if __name__ == "__main__":
    start(Path(sys.argv[1]), sys.argv[2])
