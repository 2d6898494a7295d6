"""Plans: from recipes, and what is decided when they are run, to the runs that their tables need.

A run's folder is named by a hash of everything that decides the run's numbers. So a changed setting makes a
new run, an unchanged one is never trained twice, and recipes share what they have in common.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from core.config import Config, parse_yaml, read_yaml
from core.errors import UserError
from core.run_dir import RunDirectory
from core.stage import Stage
from core.train_config import FREE_ON_RESUME, TrainConfig
from grids.inputs import Input
from grids.recipe import Recipe, SeededTraining, Training
from grids.run import Run, with_ancestors

RUNS = "runs"
TABLES = "tables"

# What of a stage enters a run's key. Layers and parameter groups follow from the settings.
_SCHEDULE = ("optimizer", "lr", "weight_decay", "milestones", "gamma", "epochs", "eps", "momentum")

# Values of --weights that aren't files.
_KNOWN_WEIGHTS = (None, "imagenet", "kinetics400", "none")


class Script(Protocol):
    """What the planner needs of a training script."""

    @property
    def Config(self) -> type[TrainConfig]:  # noqa: N802
        """Its flags."""

    def resolve(self, config: Any, parents: Mapping[str, Mapping[str, Any]]) -> tuple[TrainConfig, Stage]:
        """Fill in what was left out, from the settings of the parents' runs, by the flags that name them."""


@dataclass(frozen=True)
class Override:
    """A setting that replaces the recipes'; it enters the runs' keys.

    Attributes:
        trainings: Pattern of the trainings' names; "*" means every training whose script has the setting.
        setting: Its name.
        value: Its value.
    """

    trainings: str
    setting: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> "Override":
        """Read NAME=VALUE or TRAINING.NAME=VALUE; the value is written as in a recipe.

        Raises:
            UserError: It looks otherwise, or the value is not valid YAML.
        """
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UserError(f"--settings {text} should look like NAME=VALUE")
        trainings, _, setting = name.rpartition(".")
        try:
            return cls(trainings or "*", setting.replace("-", "_"), parse_yaml(value))
        except Exception:  # YAML raises errors of many types, see core.config.parse_yaml
            raise UserError(f"--settings {text}: {value} is not a value; write it as in a recipe") from None

    def applies_to(self, training: Training, config: type[TrainConfig]) -> bool:
        """Tell whether a training with these flags takes the setting."""
        if self.trainings == "*":
            return self.setting in config.model_fields
        return fnmatchcase(training.name, self.trainings)


@dataclass(frozen=True)
class GridOptions:
    """What is decided when recipes are run, not in them.

    Attributes:
        out: The grid's folder, absolute.
        inputs: The recipes' inputs, by name.
        load_script: Returns a training script by its name.
        overrides: Settings that replace the recipes'.
        runtime_settings: Settings that change no number, such as the device; each is passed to the trainings
            that accept it.
        max_epochs: Upper limit of a training's epochs.
    """

    out: Path
    inputs: Mapping[str, Input]
    load_script: Callable[[str], Script]
    overrides: Sequence[Override] = ()
    runtime_settings: Mapping[str, Any] = field(default_factory=dict)
    max_epochs: int | None = None


class TableRun(Config):
    """One training of a row, with one seed; it may not have run yet."""

    seed: int
    """Its seed."""
    folder: Path
    """Run directory, relative to the grid's folder."""
    command: tuple[str, ...]
    """Words of the command that trains it."""


class TableRow(Config):
    """A row of a table: one training with every seed."""

    row: str
    """Its name in the table."""
    training: str
    """Its name in the recipe."""
    script: str
    """The script that trains it, without .py."""
    settings: dict[str, Any]
    """Its settings in the recipe."""
    published: str | None = None
    """Kind of published result that it reproduces, if any."""
    runs: tuple[TableRun, ...]
    """One for each seed."""


class TablePlan(Config):
    """The table of one recipe, written for the report as `TABLES`/NAME.yaml in the grid's folder."""

    title: str
    """What it shows."""
    recipe: str
    """The recipe's file name."""
    inputs: dict[str, Path]
    """Where the recipe's data lies."""
    baseline: str | None = None
    """The row with which all others are compared; without one every pair of rows is compared."""
    rows: tuple[TableRow, ...]
    """In the recipe's order."""


@dataclass(frozen=True)
class Table:
    """The table of one recipe.

    Attributes:
        file: The recipe's file.
        recipe: The recipe.
        runs: Each of its trainings, with the settings that it ends up with, and its run. Several trainings
            may share one run.
    """

    file: Path
    recipe: Recipe
    runs: tuple[tuple[SeededTraining, Run], ...]

    def write(self, options: GridOptions) -> None:
        """Write the table's plan to the grid's folder."""
        rows: dict[str, TableRow] = {}
        for seeded, run in self.runs:
            training, folder = seeded.training, run.folder.relative_to(options.out)
            if training.row is not None:
                values = training.model_dump(include={"row", "script", "settings", "published"})
                row = rows.get(training.row) or TableRow(training=training.name, runs=(), **values)
                entry = TableRun(seed=seeded.seed, folder=folder, command=("python", *run.command))
                rows[training.row] = row.replace(runs=(*row.runs, entry))
        content = TablePlan(
            title=self.recipe.title,
            recipe=self.file.name,
            inputs={name: options.inputs[name].path for name in self.recipe.inputs},
            baseline=self.recipe.baseline,
            rows=tuple(rows.values()),
        )
        content.to_yaml(options.out / TABLES / f"{self.file.stem}.yaml")


@dataclass(frozen=True)
class Plan:
    """The runs of a grid and its tables.

    Attributes:
        runs: Every run once, by key, parents first.
        tables: The tables, in the order of the recipes.
    """

    runs: Mapping[str, Run]
    tables: tuple[Table, ...]

    def select(self, rows: Iterable[str]) -> list[Run]:
        """List the runs of some rows with all their ancestors, parents first; all runs if no row is named.

        Raises:
            UserError: There is no such row.
        """
        wanted = set(rows)
        if not wanted:
            return list(self.runs.values())
        named = [(seeded.training.row, run) for table in self.tables for seeded, run in table.runs]
        if unknown := sorted(wanted - {row for row, _ in named}):
            known = "; ".join(dict.fromkeys(row for row, _ in named if row))
            raise UserError(f"--only {unknown[0]}: no such row; there are: {known}")
        needed = with_ancestors(run for row, run in named if row in wanted)
        return [run for key, run in self.runs.items() if key in needed]


def make_plan(recipes: Mapping[Path, Recipe], options: GridOptions) -> Plan:
    """Plan the runs of recipes, given by file; a run that several need is planned once.

    Raises:
        UserError: A setting is wrong, an input is missing, two rows are the same run, or the folder of a run
            holds other settings than its name stands for. The message names file, training, row and key.
    """
    planner = _Planner(options)
    tables = []
    for file, recipe in recipes.items():
        try:
            tables.append(planner.plan_table(file, recipe))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    trainings = [training for recipe in recipes.values() for training in recipe.variants]
    for override in options.overrides:
        if not any(override.applies_to(t, options.load_script(t.script).Config) for t in trainings):
            name = "" if override.trainings == "*" else f"{override.trainings}."
            raise UserError(f"--settings {name}{override.setting}: no training of the recipes has it")
    for run in planner.runs.values():
        file = RunDirectory(run.folder).config
        saved = read_yaml(file) if file.exists() else run.settings
        # The key knows a file of weights by its content, wherever it lies now.
        moved = set() if run.settings.get("weights") in _KNOWN_WEIGHTS else {"weights"}
        changed = [name for name, value in run.settings.items() if saved.get(name) != value]
        if edited := [name for name in changed if name not in moved]:
            raise UserError(
                f"{file} of {run.training.label} says {edited[0]}: {saved.get(edited[0])}, but the folder's "
                f"name stands for {run.settings[edited[0]]}; restore it, or remove the folder to train the "
                "run again"
            )
    return Plan(planner.runs, tuple(tables))


class _Planner:
    """Turns trainings into runs."""

    def __init__(self, options: GridOptions) -> None:
        self.options = options
        self.runs: dict[str, Run] = {}  # all so far, by key
        # Folders are found by key; the rest of the name is for people, and another recipe may have chosen it.
        found = (options.out / RUNS).glob("*-*")
        self.folders = {path.name.rpartition("-")[2]: path for path in found}

    def plan_table(self, file: Path, recipe: Recipe) -> Table:
        recipe.check_inputs(name for name in self.options.inputs if name in recipe.inputs)
        made: dict[int, Run] = {}
        found = []
        for seeded in recipe.seeded_trainings():
            parents = {flag: made[id(parent)] for flag, parent in seeded.parents.items()}
            try:
                run = self._plan_run(seeded, parents)
            except UserError as error:
                raise UserError(f"{seeded.training.label}: {error}") from None
            except KeyError as missing:
                raise UserError(f"{seeded.training.label}: its parents have no setting {missing}") from None
            made[id(seeded)] = self.runs.setdefault(run.key, run)
            found.append((replace(seeded, training=run.training), made[id(seeded)]))
        _refuse_equal_rows(found)
        return Table(file, recipe, tuple(found))

    def _plan_run(self, seeded: SeededTraining, parents: Mapping[str, Run]) -> Run:
        options = self.options
        script = options.load_script(seeded.training.script)
        for flag, kind in getattr(script, "PARENTS", {}).items():
            if flag in parents and (made_by := f"{parents[flag].training.script}.py") != kind.script:
                parent = parents[flag].training.name
                raise UserError(f"{flag} takes a run of {kind.script}, and {parent} is one of {made_by}")
        changed = {
            o.setting: o.value for o in options.overrides if o.applies_to(seeded.training, script.Config)
        }
        training = seeded.training.replace(settings=seeded.training.settings | changed)
        paths = {flag: options.inputs[name].path for flag, name in training.inputs.items()}
        paths |= {flag: run.folder for flag, run in parents.items()}
        values = training.settings | {flag: str(path) for flag, path in paths.items()}
        values |= {"seed": seeded.seed, "out": str(options.out)}
        saved = {flag: run.config.model_dump(mode="json") for flag, run in parents.items()}
        config, stage = script.resolve(script.Config(**values), saved)
        for name in training.settings:
            if name not in FREE_ON_RESUME and isinstance(getattr(config, name), Path):
                raise UserError(
                    f"{name} names data, {getattr(config, name)}; put it under inputs: a run's folder "
                    "stands for its content"
                )
        if options.max_epochs is not None and stage.epochs > options.max_epochs:
            values["epochs"] = options.max_epochs
            config, stage = script.resolve(script.Config(**values), saved)
        settings = key_settings(config, training)
        key = self._key(training, settings, stage, parents, config.reads)
        name = f"{training.name}-seed{seeded.seed}-{key}"
        folder = self.folders.get(key, options.out / RUNS / name)
        config = config.replace(out=str(folder), resume=True)
        values |= {"out": str(folder), "resume": True} | self._accepted_runtime_settings(script, values)
        command = command_words(training.script, values)
        return Run(key, training, config, command, settings, tuple(parents.values()))

    def _key(
        self,
        training: Training,
        settings: Mapping[str, Any],
        stage: Stage,
        parents: Mapping[str, Run],
        reads: Iterable[str],
    ) -> str:
        """Hash what decides a run's numbers; it reads all of an input that has none of the parts it names."""
        data = {}
        for flag, name in training.inputs.items():
            found = self.options.inputs[name].fingerprint
            data[flag] = {part: found[part] for part in reads if part in found} or dict(found)
        if (weights := settings.get("weights")) not in _KNOWN_WEIGHTS:
            settings = {**settings, "weights": _file_hash(Path(weights))}
        content = {
            "script": training.script,
            "settings": settings,
            "schedule": {name: getattr(stage, name) for name in _SCHEDULE},
            "parents": {flag: run.key for flag, run in parents.items()},
            "inputs": data,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    def _accepted_runtime_settings(self, script: Script, values: Mapping[str, Any]) -> dict[str, Any]:
        """Try which settings the training accepts; --cache, for one, is refused by some."""
        accepted: dict[str, Any] = {}
        for name, value in self.options.runtime_settings.items():
            try:
                script.Config(**{**values, **accepted, name: value})
            except UserError:
                continue
            accepted[name] = value
        return accepted


def _file_hash(weights: Path) -> str:
    """Hash a file of weights, or that of a run directory."""
    path = weights / "last.pt" if weights.is_dir() else weights
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"weights {weights} can't be read: {path}: {error.strerror}") from None


def key_settings(config: TrainConfig, training: Training) -> dict[str, Any]:
    """Select the settings that decide a run's numbers: not where it runs, nor where data and parents lie.

    Settings without a value are left out, so that a flag added to a script leaves earlier keys unchanged.
    """
    elsewhere = {*FREE_ON_RESUME, *training.inputs, *training.parents}
    elsewhere |= {f"{flag}_sha256" for flag in training.parents}
    values = config.model_dump(mode="json", exclude=elsewhere)
    return {name: value for name, value in values.items() if value is not None}


def command_words(script: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Write settings as the words of a command line; settings that are None are left out."""
    words = [f"{script}.py"]
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return tuple(words)


def _refuse_equal_rows(found: Iterable[tuple[SeededTraining, Run]]) -> None:
    """Refuse two rows that are the same run, unless only --epochs has made them so."""
    rows: dict[tuple[str, Any], str] = {}
    for seeded, run in found:
        row, length = seeded.training.row, seeded.training.settings.get("epochs")
        if row is not None and (before := rows.setdefault((run.key, length), row)) != row:
            raise UserError(f"the rows {before!r} and {row!r} are the same run: all their settings are equal")
