"""Grids of fake trainings, which a test can plan and run in a moment."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.stage import Stage
from core.train_config import TrainConfig
from grids.local import LocalWorkers
from grids.plan import GridOptions, Plan, make_plan
from grids.recipe import Recipe
from grids.run import Run

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
    """What the planner needs of a training script."""

    Config = Config

    def __init__(self, stage: Stage = STAGE) -> None:
        self.stage = stage

    def resolve(self, config: Any, parents: Mapping[str, Mapping[str, Any]]) -> tuple[TrainConfig, Stage]:
        stage = self.stage.override(lr=config.lr, epochs=config.epochs)
        return config.replace(lr=stage.lr, epochs=stage.epochs), stage


def load_script(name: str) -> FakeScript:
    assert name == "train_fake"
    return FakeScript()


def recipe(*trainings: Mapping[str, Any], **changes: Any) -> Recipe:
    """A recipe of fake trainings, which take no data."""
    full = [{"script": "train_fake", "inputs": {}, "settings": SETTINGS, **t} for t in trainings]
    return Recipe(**({"title": "fakes", "inputs": {}, "seeds": (0,), "trainings": full} | changes))


def plan(out: Path, *recipes: Recipe, **changes: Any) -> Plan:
    """Plan recipes of fake trainings; changes are those of GridOptions."""
    named = {Path(f"table{number}.yaml"): recipe for number, recipe in enumerate(recipes)}
    options: dict[str, Any] = {"out": out, "inputs": {}, "load_script": load_script} | changes
    return make_plan(named, GridOptions(**options))


def runs_of(out: Path, *recipes: Recipe, **changes: Any) -> dict[str, Run]:
    """Plan recipes; gives the runs by training and seed, such as first0."""
    runs = plan(out, *recipes, **changes).runs.values()
    return {f"{run.training.name}{run.config.seed}": run for run in runs}


def workers(out: Path, jobs: int = 1, gpus: tuple[str, ...] = ()) -> LocalWorkers:
    """Workers that start the fake script, from a folder next to the grid's."""
    return LocalWorkers(code(out.parent / "code"), jobs, gpus)


def code(folder: Path) -> Path:
    """A folder with the script in it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("fake_training.py"), folder / "train_fake.py")
    return folder


def results(out: Path) -> dict[str, bytes]:
    """The numbers of a grid, by file."""
    kept = [path for name in ("metrics.csv", "eval.json") for path in out.glob(f"runs/*/{name}")]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


SETTINGS: dict[str, Any] = {"lr": 0.1, "epochs": 3}
CHAIN: tuple[dict[str, Any], ...] = (
    {"name": "first"},
    {"name": "second", "row": "second", "parents": {"init": "first"}},
    {"name": "third", "row": "third", "parents": {"init": "second"}},
    {"name": "alone", "row": "alone", "settings": SETTINGS | {"lr": 0.3}},
)
"""first -> second -> third, and one that needs none of them."""
