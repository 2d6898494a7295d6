"""Runs recipes: every training that their tables need and that has not been made yet, parents first.

A run's folder is named by all that decides its numbers, so a changed value is a new run and an unchanged one
is never repeated. A stopped grid goes on where it was when it is started again, and what failed is tried
again.
"""

import importlib
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator

from core.cli import run
from core.config import COSTS_MEMORY
from core.config import Config as BaseConfig
from core.errors import UserError
from core.seeding import DeviceName
from data.index import motion_command
from grids.asked import find_inputs, read_changes, read_recipes
from grids.attend import attend
from grids.excerpt import make_excerpt
from grids.fingerprint import fingerprint
from grids.folder import note_inputs, only_grid
from grids.local import LocalWorkers
from grids.outline import estimate, outline
from grids.planner import Terms, make_plan
from grids.progress import Paces
from grids.recipe import Recipe
from grids.rehearsal import EPOCHS as REHEARSED_EPOCHS
from grids.rehearsal import rehearse, unknown_runs
from grids.runs import Run, Script
from grids.schedule import Schedule, Workers, run_all

CODE = Path(__file__).resolve().parent
EXTRAS = "pip install -r requirements-extras.txt"


class Config(BaseConfig):
    """Run all that the tables of recipes need, on this machine or on a cluster."""

    recipe: tuple[Path, ...] = Field(min_length=1)
    """Recipes; trainings that several share are run once."""
    out: Path
    """Folder for runs and tables; a second start goes on where the first one stopped."""
    data: Path | None = None
    """Tree of clips, the input that recipes call data."""
    inputs: tuple[str, ...] = ()
    """Other inputs of the recipes, as NAME=FOLDER."""
    only: tuple[str, ...] = ()
    """Rows to run, with all they build upon; left out, all."""
    seeds: tuple[int, ...] | None = None
    """Seeds in place of the recipes'."""
    settings: tuple[str, ...] = ()
    """Settings in place of the recipes', as NAME=VALUE for all trainings that have it (amp=bf16), or as
    TRAINING.NAME=VALUE, where TRAINING may have * in it (*stage1*.weights=none)."""
    epochs: int | None = Field(None, ge=1)
    """At most so many epochs a training, to see the path at work; the numbers then mean nothing."""
    jobs: int | None = Field(None, ge=1, json_schema_extra=COSTS_MEMORY)
    """Trainings at a time, each with its share of the cores; left out, one for each GPU, or one."""
    device: DeviceName = "auto"
    """Where to compute."""
    workers: int | None = Field(None, ge=0, json_schema_extra=COSTS_MEMORY)
    """Processes of each training that load and augment; left out, as the scripts have it."""
    cache: Path | None = None
    """Folder for outputs of never-trained layers, for the trainings that can use it."""
    engine: Literal["local", "ray"] = "local"
    """ray: run on a Ray cluster whose machines share the disk (needs requirements-extras.txt)."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the head of a cluster, which has 30 seconds to answer; left out, one of
    this machine alone is made."""
    cpus_per_job: int | None = Field(None, ge=1)
    """With --engine ray: CPUs that a training asks for (1)."""
    gpus_per_job: float | None = Field(None, ge=0)
    """With --engine ray: GPUs that a training asks for, also parts of one (0)."""
    dry_run: bool = False
    """Show the plan and estimate its time; write nothing."""
    rehearse: int | None = Field(None, ge=8)
    """With --dry-run: measure the time first, by three epochs of each kind of training on about so many clips
    where no finished run tells. Needs what the trainings need; the more clips, the closer."""
    search: Literal["optuna"] | None = None
    """Search the ranges of the recipe, in place of running its rows (needs requirements-extras.txt)."""
    trials: int = Field(30, ge=1)
    """With --search: how many trials, those of earlier starts included."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """With --search: share of the training clips that trials are judged on; test users play no part."""
    storage: str | None = None
    """With --search: URL of a database that several machines share, each with an --out of its own; left out,
    the SQLite file search.db in --out."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "Config":
        for flag in ("address", "cpus_per_job", "gpus_per_job"):
            if getattr(self, flag) is not None and self.engine != "ray":
                raise ValueError(f"--{flag.replace('_', '-')} needs --engine ray")
        if self.storage is not None and self.search is None:
            raise ValueError("--storage needs --search optuna")
        if self.rehearse is not None and (not self.dry_run or self.search or self.engine != "local"):
            raise ValueError(
                "--rehearse needs --dry-run, and measures this machine's trainings: without "
                "--search and --engine ray"
            )
        return self


def load_script(name: str) -> Script:
    """Give a training script by its name.

    Raises:
        UserError: There is none.
    """
    if not (CODE / f"{name}.py").is_file():
        there = ", ".join(sorted(path.stem for path in CODE.glob("train_*.py")))
        raise UserError(f"no script is called {name}; there are {there}")
    return cast(Script, importlib.import_module(name))


def make_terms(config: Config, recipes: Mapping[Path, Recipe]) -> Terms:
    """Say where things lie and what is decided here rather than in the recipes.

    Raises:
        UserError: An input is missing or unknown, or a setting is malformed.
    """
    inputs = find_inputs(config.data, config.inputs, recipes)
    places = {"device": config.device, "workers": config.workers, "cache": config.cache}
    return Terms(
        out=config.out.absolute(),
        inputs=inputs,
        fingerprints={name: fingerprint(path) for name, path in inputs.items()},
        script=load_script,
        changes=read_changes(config.settings),
        places={name: _absolute(value) for name, value in places.items() if value is not None},
        epochs=config.epochs,
    )


def _absolute(value: Any) -> Any:
    return str(value.absolute()) if isinstance(value, Path) else value


def refuse_missing_images(runs: list[Run], terms: Terms) -> None:
    """Refuse to start with data that lacks a kind of images which a run reads.

    Raises:
        UserError: It does; the message names the training and what makes them.
    """
    for made in runs:
        for name in made.training.inputs.values():
            there = terms.fingerprints[name]
            if "frames" in there and (absent := [kind for kind in made.config.reads if kind not in there]):
                remedy = motion_command(terms.inputs[name], cast(Any, absent))
                raise UserError(
                    f"{made.training.where} reads {' and '.join(absent)}, which {terms.inputs[name]} lacks; "
                    f"make them with `{remedy}`"
                )


def visible_gpus(device: DeviceName) -> list[str]:
    """List the GPUs that trainings may use, as CUDA_VISIBLE_DEVICES has them."""
    if device == "cpu":
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def jobs_of(config: Config) -> int:
    """Say how many trainings run at a time on this machine."""
    return config.jobs or max(len(visible_gpus(config.device)), 1)


def make_workers(config: Config) -> Workers:
    """Choose what runs the trainings.

    Raises:
        UserError: The cluster can't be reached, or the extras are missing.
    """
    if config.engine == "local":
        return LocalWorkers(CODE, jobs_of(config), visible_gpus(config.device))
    try:
        from grids.cluster import RayWorkers
    except ImportError as missing:
        raise UserError(f"--engine ray: {missing}; {EXTRAS}") from None
    asks = {"CPU": float(config.cpus_per_job or 1), "GPU": config.gpus_per_job or 0.0}
    return RayWorkers(CODE, config.address, asks, config.jobs)


def rehearse_grid(
    recipes: Mapping[Path, Recipe], config: Config, terms: Terms, runs: list[Run], paces: Paces
) -> bool:
    """Learn how long the runs take whose like has not finished; gives whether all could be rehearsed.

    Raises:
        UserError: A training refuses its settings; the message names it.
    """
    assert config.rehearse is not None
    with TemporaryDirectory(prefix="egornn-rehearsal-") as folder:
        here = Path(folder)
        excerpts = {
            name: make_excerpt(path, config.rehearse, here / "inputs" / name)
            for name, path in terms.inputs.items()
        }
        terms = replace(
            terms,
            out=here,
            inputs={name: excerpt.path for name, excerpt in excerpts.items()},
            fingerprints={name: fingerprint(excerpt.path) for name, excerpt in excerpts.items()},
            places={name: value for name, value in terms.places.items() if name != "cache"},
            epochs=REHEARSED_EPOCHS,
        )
        first = {file: recipe.replace(seeds=recipe.seeds[:1]) for file, recipe in recipes.items()}
        short = unknown_runs(runs, paces, make_plan(first, terms).chosen(config.only))
        if short and config.cache:
            print("note: rehearsals do without --cache, which saves time once it is filled")

        def times(run: Run, side: str) -> float:
            users = getattr(run.config, f"{side}_users", ())
            return math.prod(excerpts[name].times(users) for name in run.training.inputs.values())

        return rehearse(short, paces, make_workers(config), times)


def run_grid(runs: list[Run], paces: Paces, workers: Workers) -> int:
    """Run what has not finished; gives the exit status."""
    schedule = Schedule(runs)
    return attend(schedule, paces, lambda board, stopping: run_all(schedule, workers, board, stopping))


def search_grid(file: Path, recipe: Recipe, config: Config, terms: Terms, workers: Workers) -> int:
    """Search the ranges of a recipe, and say what was best; gives the exit status.

    Raises:
        UserError: The extras are missing, the database is, or a script refuses the values.
    """
    try:
        from grids.search import Searcher, Space, run_search
        from grids.trials import Trials, open_study
    except ImportError as missing:
        raise UserError(f"--search {config.search}: {missing}; {EXTRAS}") from None
    assert recipe.search is not None
    space = Space.of(file, recipe, terms, config.val_fraction)
    study = open_study(config.storage or f"sqlite:///{terms.out / 'search.db'}", space.name)
    alone = config.storage is None
    trials = Trials(study, recipe.search.ranges, recipe.seeds[0], terms.out, alone=alone)
    searcher = Searcher(space, trials, Schedule(), config.trials)
    status = attend(
        searcher.schedule,
        Paces([]),
        lambda board, stopping: run_search(searcher, workers, board, stopping),
    )
    trials.write(terms.out / "search" / f"{study.study_name}.csv")
    print(f"{trials.judged} trials: {terms.out / 'search' / study.study_name}.csv")
    if best := trials.best():
        found = f"{best.value:.1f} % of the held-out clips with {best.params}"
        print(f"best: {found}, in {best.user_attrs['run']}")
    return status


def main(config: Config) -> int:
    """Plan, show the plan, and run it."""
    recipes = read_recipes(config.recipe, config.seeds)
    terms = make_terms(config, recipes)
    if config.search:
        return main_search(recipes, config, terms)
    plan = make_plan(recipes, terms)
    runs = plan.chosen(config.only)
    refuse_missing_images(runs, terms)
    paces = Paces(plan.runs.values())
    print(outline(plan, runs))
    whole = config.rehearse is None or rehearse_grid(recipes, config, terms, runs, paces)
    print(estimate(runs, paces, jobs_of(config)))
    if config.dry_run:
        return 0 if whole else 1
    with only_grid(config.out):
        note_inputs(config.out, terms.fingerprints)
        workers = make_workers(config)
        for table in plan.tables:
            table.write(terms.out, terms.inputs)
        return run_grid(runs, paces, workers)


def main_search(recipes: Mapping[Path, Recipe], config: Config, terms: Terms) -> int:
    """Say what is searched, and search it.

    Raises:
        UserError: There are several recipes, or no ranges; or the search can't be made.
    """
    ((file, recipe), *others) = recipes.items()
    if others or recipe.search is None:
        raise UserError(f"--search takes one --recipe that has ranges under `search:`; {file} is the first")
    runs = list(make_plan({file: recipe.only(recipe.search.training)}, terms).runs.values())
    refuse_missing_images(runs, terms)
    print(f"{file.name}: {recipe.search.training} over {', '.join(recipe.search.ranges)}")
    print(f"up to {config.trials} trials of {len(runs)} trainings each, of which all but the last are shared")
    if config.dry_run:
        return 0
    with only_grid(config.out):
        note_inputs(config.out, terms.fingerprints)
        return search_grid(file, recipe, config, terms, make_workers(config))


if __name__ == "__main__":
    run(main, Config)
