"""Runs recipes: every training that their tables need and that has not finished yet, parents first.

A run's folder is named by everything that decides its numbers, so a changed value makes a new run and an
unchanged one is never repeated. A stopped grid resumes when it is started again, and failed runs are retried.
Each training is a process of its own; on this machine they share what they load and the pixels they read.
"""

from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY, DeviceName, refuse_repeated
from core.config import Config as BaseConfig

CODE = Path(__file__).resolve().parent
EXTRAS = "pip install -r requirements-extras.txt"


class Config(BaseConfig):
    """Run everything that the tables of recipes need, on this machine or on a cluster."""

    GROUPS: ClassVar[dict[str, str]] = {
        "data": "data inputs",
        "plan": "only seeds settings epochs dry_run rehearse",
        "speed": "jobs device workers cache",
        "cluster": "engine address cpus_per_job gpus_per_job",
        "search": "search trials val_fraction storage",
    }

    recipe: tuple[Path, ...] = Field(min_length=1)
    """Recipe files; a training that several of them share is run once."""
    out: Path
    """Folder for runs and tables; the same command resumes an unfinished grid."""
    data: Path | None = None
    """Tree of clips: the recipes' input called data."""
    inputs: tuple[str, ...] = ()
    """The recipes' other inputs, each as NAME=FOLDER."""
    only: tuple[str, ...] = ()
    """Rows of the tables to run, with everything they start from; left out, all rows."""
    seeds: tuple[int, ...] | None = None
    """Seeds that replace the recipes'."""
    settings: tuple[str, ...] = ()
    """Settings that replace the recipes': NAME=VALUE for every training that has it (amp=bf16), or
    TRAINING.NAME=VALUE, where TRAINING may contain * (*stage1*.weights=none)."""
    epochs: int | None = Field(None, ge=1)
    """Upper limit of each training's epochs, to try the commands out; the numbers then mean nothing."""
    jobs: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Trainings at a time, which share the cores; left out, one for each GPU, or one."""
    device: DeviceName = "auto"
    """Where to compute."""
    workers: int | None = Field(None, ge=0, json_schema_extra=COSTS_MEMORY)
    """Data-loading processes of each training; left out, the scripts' default."""
    cache: Path | None = None
    """Folder for outputs of layers that are never trained, for the trainings that can use it."""
    engine: Literal["local", "ray"] = "local"
    """ray runs on a Ray cluster whose machines share the disk (needs requirements-extras.txt)."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the cluster's head, which has 30 seconds to answer; left out, a cluster
    of this machine alone is made."""
    cpus_per_job: int | None = Field(None, ge=1)
    """With --engine ray: CPUs that each training asks for (1)."""
    gpus_per_job: float | None = Field(None, ge=0)
    """With --engine ray: GPUs that each training asks for, fractions allowed (0)."""
    dry_run: bool = False
    """Print the plan and estimate its time; write nothing."""
    rehearse: int | None = Field(None, ge=8)
    """With --dry-run: first train three epochs of each kind of run whose time is unknown, on about this many
    clips, to measure it. Needs everything that the trainings need; more clips estimate better."""
    search: Literal["optuna"] | None = None
    """Search the recipe's ranges instead of running its rows (needs requirements-extras.txt)."""
    trials: int = Field(30, ge=1)
    """With --search: number of trials, including those of earlier starts."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """With --search: share of the training clips that trials are judged on; test users are never used."""
    storage: str | None = None
    """With --search: URL of a database that grids on several machines share, each with an --out of its own;
    left out, the SQLite file search.db in --out."""

    @model_validator(mode="after")
    def _flags_fit_together(self) -> "Config":
        refuse_repeated("--recipe", self.recipe)
        named = Counter(text.partition("=")[0].replace("-", "_") for text in self.settings)
        if repeated := [name for name, times in named.items() if times > 1]:
            raise ValueError(f"--settings sets {repeated[0]} twice; set it once")
        for flag in ("address", "cpus_per_job", "gpus_per_job"):
            if getattr(self, flag) is not None and self.engine != "ray":
                raise ValueError(f"--{flag.replace('_', '-')} needs --engine ray")
        if self.storage is not None and self.search is None:
            raise ValueError("--storage needs --search optuna")
        if self.rehearse is not None and (not self.dry_run or self.search or self.engine != "local"):
            raise ValueError(
                "--rehearse needs --dry-run, and measures trainings on this machine, so it excludes --search "
                "and --engine ray"
            )
        return self

    @property
    def local_jobs(self) -> int:
        """Trainings at a time on this machine."""
        return self.jobs or max(len(visible_gpus(self.device)), 1)


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

import importlib
from collections.abc import Callable, Mapping
from typing import cast

from core.errors import UserError
from grids.inputs import find_inputs, record_inputs, refuse_missing_images
from grids.local import LocalWorkers, visible_gpus
from grids.plan import GridOptions, Override, Script, make_plan
from grids.progress import EpochTimes, describe_plan, describe_time, run_with_progress
from grids.recipe import Recipe, read_recipes
from grids.rehearse import rehearse
from grids.run import Schedule, Workers, grid_lock


def ray_workers(config: Config) -> Workers:
    """Run the trainings on a Ray cluster.

    Raises:
        UserError: The cluster can't be reached, or Ray is not installed.
    """
    try:
        from grids.cluster import RayWorkers
    except ImportError as missing:
        raise UserError(f"--engine ray: {missing}; {EXTRAS}") from None
    resources = {"CPU": float(config.cpus_per_job or 1), "GPU": config.gpus_per_job or 0.0}
    return RayWorkers(CODE, config.address, resources, config.jobs)


Engines = Mapping[str, Callable[[Config], Workers]]
ENGINES: Engines = {
    "local": lambda config: LocalWorkers(CODE, config.local_jobs, visible_gpus(config.device)),
    "ray": ray_workers,
}


def load_script(name: str) -> Script:
    """Import a training script by its name.

    Raises:
        UserError: There is none of that name.
    """
    if not (CODE / f"{name}.py").is_file():
        known = ", ".join(sorted(path.stem for path in CODE.glob("train_*.py")))
        raise UserError(f"no script is called {name}; there are {known}")
    return cast(Script, importlib.import_module(name))


def make_options(config: Config, recipes: Mapping[Path, Recipe]) -> GridOptions:
    """Collect what is decided here rather than in the recipes.

    Raises:
        UserError: An input is missing or unknown, or a setting is malformed.
    """
    cache = None if config.cache is None else str(config.cache.absolute())
    runtime = {"device": config.device, "workers": config.workers, "cache": cache}
    return GridOptions(
        out=config.out.absolute(),
        inputs=find_inputs(config.data, config.inputs, recipes),
        load_script=load_script,
        overrides=tuple(map(Override.parse, config.settings)),
        runtime_settings={name: value for name, value in runtime.items() if value is not None},
        max_epochs=config.epochs,
    )


def main(config: Config, engines: Engines = ENGINES) -> int:
    """Plan the runs, print the plan, and run it; gives the exit status."""
    recipes = read_recipes(config.recipe, config.seeds)
    options = make_options(config, recipes)
    if config.search:
        return search_main(config, recipes, options, engines)
    plan = make_plan(recipes, options)
    runs = plan.select(config.only)
    refuse_missing_images(runs, options.inputs)
    times, status = EpochTimes(plan.runs.values()), 0
    print(describe_plan(plan, runs))
    if config.rehearse is not None:
        workers = engines[config.engine](config)
        measured = rehearse(recipes, options, runs, times, workers, rows=config.only, clips=config.rehearse)
        status = 0 if measured else 1
    print(describe_time(runs, times, config.local_jobs))
    if config.dry_run:
        return status
    with grid_lock(config.out):
        record_inputs(config.out, options.inputs)
        workers = engines[config.engine](config)
        for table in plan.tables:
            table.write(options)
        return run_with_progress(Schedule(runs), workers, times)


def search_main(
    config: Config, recipes: Mapping[Path, Recipe], options: GridOptions, engines: Engines
) -> int:
    """Plan one trial, print what is searched, and search it; gives the exit status.

    Raises:
        UserError: There are several recipes, or no ranges; or Optuna is not installed.
    """
    ((file, recipe), *others) = recipes.items()
    if others or recipe.search is None:
        raise UserError(f"--search takes one --recipe that has ranges under `search:`; {file} is the first")
    name = recipe.search.training
    runs = list(make_plan({file: recipe.reduced_to(name)}, options).runs.values())
    refuse_missing_images(runs, options.inputs)
    print(f"{file.name}: {name} over {', '.join(recipe.search.ranges)}")
    print(f"up to {config.trials} trials of {len(runs)} trainings each; all but the last are shared")
    if config.dry_run:
        return 0
    try:
        from grids.search import search
    except ImportError as missing:
        raise UserError(f"--search {config.search}: {missing}; {EXTRAS}") from None
    with grid_lock(config.out):
        record_inputs(config.out, options.inputs)
        workers = engines[config.engine](config)
        return search(
            file,
            recipe,
            options,
            workers,
            trials=config.trials,
            val_fraction=config.val_fraction,
            storage=config.storage,
        )


if __name__ == "__main__":
    run(main, flags)
