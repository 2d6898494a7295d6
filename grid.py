"""Runs recipes: every training that their tables need and that has not been made yet, parents first.

A run's folder is named by all that decides its numbers, so a changed value is a new run and an unchanged one
is never repeated. A stopped grid goes on where it was when it is started again, and what failed is tried
again.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
import yaml
from pydantic import Field, model_validator

from data.fingerprint import fingerprint
from data.index import motion_command
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.recipe import Recipe
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName
from grids.board import Board
from grids.folder import note_inputs, only_grid
from grids.local import LocalWorkers
from grids.outline import outline
from grids.plan import Plan
from grids.planner import Change, Terms, make_plan
from grids.process import last_line
from grids.progress import Paces
from grids.runs import Run, Script
from grids.schedule import Schedule, Workers, run_all
from grids.stopping import StopRequest

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
    jobs: int | None = Field(None, ge=1)
    """Trainings at a time, each with its share of the cores; left out, one for each GPU, or one."""
    device: DeviceName = "auto"
    """Where to compute."""
    workers: int | None = Field(None, ge=0)
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
        return self


def read_recipes(config: Config) -> dict[Path, Recipe]:
    """Read the recipes, with the seeds that were asked for.

    Raises:
        UserError: A file is no recipe, or two would write one table.
    """
    recipes = {file: Recipe.from_yaml(file) for file in config.recipe}
    if len({file.stem for file in recipes}) < len(config.recipe):
        raise UserError("--recipe: two recipes have one name, which is what their tables are called by")
    if config.seeds is None:
        return recipes
    return {file: recipe.replace(seeds=config.seeds) for file, recipe in recipes.items()}


def find_inputs(config: Config, recipes: Mapping[Path, Recipe]) -> dict[str, Path]:
    """Say where the recipes' inputs lie.

    Raises:
        UserError: One is given twice, or no recipe takes it.
    """
    pairs = [_pair(text, "--inputs", "NAME=FOLDER") for text in config.inputs]
    if config.data is not None:
        pairs.append(("data", str(config.data)))
    found = {name: Path(path) for name, path in pairs}
    known = {name for recipe in recipes.values() for name in recipe.inputs}
    if len(found) < len(pairs) or found.keys() - known:
        raise UserError(f"inputs are each given once and are of {sorted(known)}; given were {pairs}")
    return found


def read_changes(config: Config) -> list[Change]:
    """Read --settings; values are written as in a recipe.

    Raises:
        UserError: One is not NAME=VALUE, or its value no YAML.
    """
    changes = []
    for text in config.settings:
        name, value = _pair(text, "--settings", "NAME=VALUE")
        trainings, _, setting = name.rpartition(".")
        try:
            changes.append(Change(trainings or "*", setting.replace("-", "_"), yaml.safe_load(value)))
        except yaml.YAMLError:
            raise UserError(f"--settings {text}: {value} is no value; write it as in a recipe") from None
    return changes


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"{flag} {text} should look like {form}")
    return name, value


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
    inputs = find_inputs(config, recipes)
    places = {"device": config.device, "workers": config.workers, "cache": config.cache}
    return Terms(
        out=config.out.absolute(),
        inputs={name: path.absolute() for name, path in inputs.items()},
        fingerprints={name: fingerprint(path) for name, path in inputs.items()},
        script=load_script,
        changes=tuple(read_changes(config)),
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


def make_workers(config: Config) -> Workers:
    """Choose what runs the trainings.

    Raises:
        UserError: The cluster can't be reached, or the extras are missing.
    """
    if config.engine == "local":
        gpus = visible_gpus(config.device)
        return LocalWorkers(CODE, config.jobs or max(len(gpus), 1), gpus)
    try:
        from grids.cluster import RayWorkers
    except ImportError as missing:
        raise UserError(f"--engine ray: {missing}; {EXTRAS}") from None
    asks = {"CPU": float(config.cpus_per_job or 1), "GPU": config.gpus_per_job or 0.0}
    return RayWorkers(CODE, config.address, asks, config.jobs)


def report_failures(schedule: Schedule) -> None:
    """Name what failed, why and where, and what waits for it."""
    for made in schedule.failed.values():
        print(f"failed: {made.training.where}, seed {made.config.seed}: {last_line(made.folder)}")
        print(f"    {RunDirectory(made.folder).log}")
    if schedule.failed:
        waits = f" and {len(schedule.waiting)} that build upon them" if schedule.waiting else ""
        print(f"{len(schedule.failed)} failed{waits}; the same command tries them again")


def run_grid(runs: list[Run], everything: Plan, workers: Workers) -> int:
    """Run what has not finished.

    Returns:
        0 when all is done, 1 with failures, 130 when it was stopped.
    """
    schedule = Schedule(runs)
    board = Board(schedule, Paces(everything.runs.values()), sys.stdout)
    with StopRequest() as stop:
        run_all(schedule, workers, board, lambda: stop.made)
    board.close()
    return conclude(schedule, stop)


def conclude(schedule: Schedule, stop: StopRequest) -> int:
    """Say what failed or was stopped; gives the exit status."""
    report_failures(schedule)
    if stop.made:
        print("stopped; the same command goes on")
        return 130
    return 1 if schedule.failed else 0


def search_grid(recipes: Mapping[Path, Recipe], config: Config, terms: Terms, workers: Workers) -> int:
    """Search the ranges of one recipe, and say what was best.

    Raises:
        UserError: There are several recipes or no ranges, the extras are missing, or the database is.
    """
    if len(recipes) > 1:
        raise UserError("--search takes one --recipe")
    try:
        from grids.search import Searcher, Space, run_search
        from grids.trials import Trials, open_study
    except ImportError as missing:
        raise UserError(f"--search {config.search}: {missing}; {EXTRAS}") from None
    ((file, recipe),) = recipes.items()
    space = Space.of(file, recipe, terms, config.val_fraction)
    assert recipe.search is not None
    study = open_study(config.storage or f"sqlite:///{terms.out / 'search.db'}", space.name)
    alone = config.storage is None
    trials = Trials(study, recipe.search.ranges, recipe.seeds[0], terms.out, alone=alone)
    schedule = Schedule()
    searcher = Searcher(space, trials, schedule, config.trials)
    board = Board(schedule, Paces([]), sys.stdout)
    with StopRequest() as stop:
        run_search(searcher, workers, board, lambda: stop.made)
    board.close()
    table = terms.out / "search" / f"{study.study_name}.csv"
    trials.write(table)
    print(f"{trials.judged} trials of {recipe.search.training}: {table}")
    if best := trials.best():
        print(
            f"best: {best.value:.1f} % of the held-out clips with {best.params}, in {best.user_attrs['run']}"
        )
    return conclude(schedule, stop)


def main(config: Config) -> int:
    """Plan, show the plan, and run it."""
    recipes = read_recipes(config)
    terms = make_terms(config, recipes)
    plan = make_plan(recipes, terms)
    runs = plan.chosen(config.only)
    refuse_missing_images(runs, terms)
    print(outline(plan, runs, config.jobs or max(len(visible_gpus(config.device)), 1)))
    if config.dry_run:
        return 0
    with only_grid(config.out):
        note_inputs(config.out, terms.fingerprints)
        workers = make_workers(config)
        if config.search:
            return search_grid(recipes, config, terms, workers)
        for table in plan.tables:
            table.write(terms.out, terms.inputs)
        return run_grid(runs, plan, workers)


if __name__ == "__main__":
    run(main, Config)
