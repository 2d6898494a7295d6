"""Runs recipes: every training that their tables need and that has not been made yet, parents first.

A run's folder is named by all that decides its numbers, so a changed value is a new run and an unchanged one
is never repeated. A stopped grid goes on where it was when it is started again, and what failed is tried
again.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from pydantic import Field

from data.fingerprint import fingerprint
from data.index import motion_command
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.files import write_json
from engine.lock import take_lock
from engine.recipe import Recipe
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName
from grids.board import Board
from grids.local import LocalWorkers
from grids.outline import outline
from grids.plan import Plan
from grids.planner import Change, Terms, make_plan
from grids.process import last_line
from grids.progress import Paces
from grids.runs import Fingerprint, Run, Script
from grids.schedule import Schedule, Workers, run_all

CODE = Path(__file__).resolve().parent


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
    dry_run: bool = False
    """Show the plan and estimate its time; write nothing."""


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


def plan_grid(config: Config) -> tuple[Plan, Terms]:
    """Plan the recipes for the data at hand.

    Raises:
        UserError: A recipe, a setting or an input is wrong; the message names it.
    """
    recipes = read_recipes(config)
    inputs = find_inputs(config, recipes)
    places = {"device": config.device, "workers": config.workers, "cache": config.cache}
    terms = Terms(
        out=config.out.absolute(),
        inputs={name: path.absolute() for name, path in inputs.items()},
        fingerprints={name: fingerprint(path) for name, path in inputs.items()},
        script=load_script,
        changes=tuple(read_changes(config)),
        places={name: _absolute(value) for name, value in places.items() if value is not None},
        epochs=config.epochs,
    )
    return make_plan(recipes, terms), terms


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


@contextmanager
def only_grid(out: Path) -> Iterator[None]:
    """Hold a grid's folder against other grids.

    Raises:
        UserError: Another grid is at work on it, or it can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = take_lock(out / ".lock")
    except OSError as error:
        raise UserError(f"--out {out} can't be written: {error.strerror}") from None
    if lock is None:
        raise UserError(f"another grid is at work in {out}; wait for it, or choose another --out")
    try:
        yield
    finally:
        os.close(lock)


def note_inputs(out: Path, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Keep what the inputs are, and say so when they are not what they were."""
    file = out / "inputs.json"
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name, found in fingerprints.items():
        if any(part in found and found[part] != value for part, value in before.get(name, {}).items()):
            print(f"note: the input {name} is other data than at the last start; runs with it are made anew")
    write_json(file, {**before, **{name: dict(found) for name, found in fingerprints.items()}})


class StopRequest:
    """Notices Ctrl-C and SIGTERM without interrupting anything."""

    def __init__(self) -> None:
        """Begin to notice them."""
        self.made = False
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> "StopRequest":
        """Notice them."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.made = True


def visible_gpus(device: DeviceName) -> list[str]:
    """List the GPUs that trainings may use, as CUDA_VISIBLE_DEVICES has them."""
    if device == "cpu":
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


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
    report_failures(schedule)
    if stop.made:
        print("stopped; the same command goes on")
        return 130
    return 1 if schedule.failed else 0


def main(config: Config) -> int:
    """Plan, show the plan, and run it."""
    plan, terms = plan_grid(config)
    runs = plan.chosen(config.only)
    refuse_missing_images(runs, terms)
    gpus = visible_gpus(config.device)
    jobs = config.jobs or max(len(gpus), 1)
    print(outline(plan, runs, jobs))
    if config.dry_run:
        return 0
    with only_grid(config.out):
        note_inputs(config.out, terms.fingerprints)
        for table in plan.tables:
            table.write(terms.out, terms.inputs)
        return run_grid(runs, plan, LocalWorkers(CODE, jobs, gpus))


if __name__ == "__main__":
    run(main, Config)
