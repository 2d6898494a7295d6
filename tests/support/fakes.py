"""Grids of fake trainings, which a test can plan and run in a moment."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.stage import Stage
from core.train_config import TrainConfig
from grids.plan import Plan
from grids.planner import Terms, make_plan
from grids.recipe import Recipe

STAGE = Stage("fake", (), (), "sgd", 0.1, 0.0, (1,), 0.1, 3)


class Config(TrainConfig):
    """Flags of fake_training.py."""

    data: Path | None = None
    """Some data."""
    init: Path | None = None
    """A parent."""
    fail: str | None = None
    """It fails while there is such a file."""
    sleep: float = 0.0
    """Seconds an epoch."""


class FakeScript:
    """What a training script offers to be planned by."""

    Config = Config

    def resolve(self, config: Config, parents: Mapping[str, Mapping[str, Any]]) -> tuple[Config, Stage]:
        stage = STAGE.override(lr=config.lr, epochs=config.epochs)
        return config.replace(lr=stage.lr, epochs=stage.epochs), stage


def recipe(*trainings: dict[str, Any], **changes: Any) -> Recipe:
    """A recipe of fake trainings, which take no data."""
    full = [{"script": "train_fake", "inputs": {}, "settings": SETTINGS} | t for t in trainings]
    return Recipe(**({"title": "fakes", "inputs": {}, "seeds": (0,), "trainings": full} | changes))


def plan(out: Path, *recipes: Recipe, **changes: Any) -> Plan:
    """Plan recipes of fake trainings."""
    named = {Path(f"table{number}.yaml"): recipe for number, recipe in enumerate(recipes)}
    return make_plan(
        named, Terms(**({"out": out, "inputs": {}, "fingerprints": {}, "script": script} | changes))
    )


def script(name: str) -> FakeScript:
    assert name == "train_fake"
    return FakeScript()


def code(folder: Path) -> Path:
    """A folder with the script in it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("fake_training.py"), folder / "train_fake.py")
    return folder


def results(out: Path) -> dict[str, bytes]:
    """What the numbers of a grid are, by file."""
    kept = [path for name in ("metrics.csv", "eval.json") for path in out.glob(f"runs/*/{name}")]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


SETTINGS = {"lr": 0.1, "epochs": 3}
CHAIN = (
    {"name": "first"},
    {"name": "second", "row": "second", "parents": {"init": "first"}},
    {"name": "third", "row": "third", "parents": {"init": "second"}},
    {"name": "alone", "row": "alone", "settings": SETTINGS | {"lr": 0.3}},
)
"""first -> second -> third, and one that needs none of them."""
