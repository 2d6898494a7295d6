"""Makes the plan of a grid from recipes and from what whoever runs them decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from core.config import read_yaml
from core.errors import UserError
from core.run_dir import RunDirectory
from core.train_config import TrainConfig
from grids.plan import Plan, Table
from grids.recipe import Recipe, Step, Training
from grids.runs import Fingerprint, Run, Script, command_words, decided_settings, run_key

RUNS = "runs"


@dataclass(frozen=True)
class Change:
    """A setting that whoever runs the recipes decides; it enters the runs' keys.

    Attributes:
        trainings: Pattern of the names of the trainings that it is for; "*" is for all whose script knows it.
        setting: Its name.
        value: Its value.
    """

    trainings: str
    setting: str
    value: Any


@dataclass(frozen=True)
class Terms:
    """What whoever runs the recipes decides.

    Attributes:
        out: The grid's folder, absolute.
        inputs: Where the recipes' inputs lie, by name, absolute.
        fingerprints: What the inputs are, by name.
        script: Gives a training script by its name.
        changes: Settings in place of the recipes'.
        places: Settings that change no number, such as the device, for the scripts that know them.
        epochs: At most so many epochs a training.
    """

    out: Path
    inputs: Mapping[str, Path]
    fingerprints: Mapping[str, Fingerprint]
    script: Callable[[str], Script]
    changes: Sequence[Change] = ()
    places: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None


def make_plan(recipes: Mapping[Path, Recipe], terms: Terms) -> Plan:
    """Plan recipes, by file; what they share is run once.

    Raises:
        UserError: A setting is wrong, an input is missing, two rows are one run, or a run's folder holds
            other settings than its name stands for. The message names file, training, row and key.
    """
    runs: dict[str, Run] = {}
    tables = []
    for file, recipe in recipes.items():
        try:
            steps = _Planner(recipe, terms, runs).steps()
            _refuse_collisions(steps)
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
        tables.append(Table(file, recipe, steps))
    _refuse_idle_changes(list(recipes.values()), terms)
    for run in runs.values():
        refuse_edited(run)
    return Plan(runs, tuple(tables))


def place_runs(out: Path) -> dict[str, Path]:
    """Find the run directories of a grid, by key; the rest of a folder's name is for people."""
    return {path.name.rpartition("-")[2]: path for path in (out / RUNS).glob("*-*")}


def refuse_edited(run: Run) -> None:
    """Refuse a run directory whose config.yaml says other things than the key in its name stands for.

    Raises:
        UserError: Someone has edited it; the message names the first key.
    """
    file = RunDirectory(run.folder).config
    if not file.exists():
        return
    saved = read_yaml(file)
    for name, value in run.decided.items():
        if saved.get(name) != value:
            raise UserError(
                f"{file} of {run.training.where} says {name}: {saved.get(name)}, but the folder's name "
                f"stands for {value}; put it back, or remove the folder to train it again"
            )


class _Planner:
    """Makes the runs of one recipe, into a dictionary that several recipes share."""

    def __init__(self, recipe: Recipe, terms: Terms, runs: dict[str, Run]) -> None:
        recipe.check_inputs(name for name in terms.inputs if name in recipe.inputs)
        self.recipe = recipe
        self.terms = terms
        self.runs = runs
        self.folders = place_runs(terms.out)

    def steps(self) -> tuple[tuple[Step, Run], ...]:
        """Give each step, with the settings that it ends up with, its run."""
        made: dict[int, Run] = {}
        found = []
        for step in self.recipe.steps():
            parents = {flag: made[id(parent)] for flag, parent in step.parents.items()}
            try:
                run = self._run(step, parents)
            except UserError as error:
                raise UserError(f"{step.training.where}: {error}") from None
            except KeyError as missing:
                raise UserError(f"{step.training.where}: its parents have no setting {missing}") from None
            made[id(step)] = self.runs.setdefault(run.key, run)
            found.append((replace(step, training=run.training), made[id(step)]))
        return tuple(found)

    def _run(self, step: Step, parents: Mapping[str, Run]) -> Run:
        script = self.terms.script(step.training.script)
        training = _changed(step.training, self.terms.changes, script.Config)
        paths = {flag: self.terms.inputs[name] for flag, name in training.inputs.items()}
        paths |= {flag: run.folder for flag, run in parents.items()}
        given = {flag: str(path) for flag, path in paths.items()} | {"seed": step.seed}
        values = training.settings | given | {"out": str(self.terms.out)}
        known = {flag: run.config.model_dump(mode="json") for flag, run in parents.items()}
        config, stage = script.resolve(script.Config(**values), known)
        if self.terms.epochs is not None and stage.epochs > self.terms.epochs:
            values["epochs"] = self.terms.epochs
            config, stage = script.resolve(script.Config(**values), known)
        decided = decided_settings(config, training)
        prints = self.terms.fingerprints
        key = run_key(training, decided, stage, parents, prints, config.reads)
        named = f"{training.name}-seed{step.seed}-{key}"
        folder = self.folders.get(key, self.terms.out / RUNS / named)
        values |= {"out": str(folder), "resume": True} | self._places(script, values)
        config = config.replace(**{name: values[name] for name in ("out", "resume")})
        words = command_words(training.script, values)
        return Run(key, training, config, words, decided, tuple(parents.values()))

    def _places(self, script: Script, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give the settings of where it runs that the training can take; --cache is not for all of them."""
        taken: dict[str, Any] = {}
        for name, value in self.terms.places.items():
            try:
                script.Config(**{**values, **taken, name: value})
            except UserError:
                continue
            taken[name] = value
        return taken


def _changed(training: Training, changes: Sequence[Change], config: type[TrainConfig]) -> Training:
    """Put changed settings in place of the recipe's; flags that a parent or an input fills stay theirs."""
    settings = dict(training.settings)
    for change in changes:
        if _concerns(change, training, config):
            settings[change.setting] = change.value
    return training.replace(settings=settings)


def _concerns(change: Change, training: Training, config: type[TrainConfig]) -> bool:
    if not fnmatchcase(training.name, change.trainings):
        return False
    return change.trainings != "*" or change.setting in config.model_fields


def _refuse_idle_changes(recipes: Sequence[Recipe], terms: Terms) -> None:
    trainings = [training for recipe in recipes for training in recipe.variants]
    for change in terms.changes:
        if not any(_concerns(change, t, terms.script(t.script).Config) for t in trainings):
            what = "" if change.trainings == "*" else f"{change.trainings}."
            raise UserError(f"--settings {what}{change.setting}: no training of the recipes has it")


def _refuse_collisions(steps: Sequence[tuple[Step, Run]]) -> None:
    """Refuse rows that are one run; those that differ in length alone are one where all are cut short."""
    rows: dict[tuple[str, Any], str] = {}
    for step, run in steps:
        row, length = step.training.row, step.training.settings.get("epochs")
        if row is not None and (before := rows.setdefault((run.key, length), row)) != row:
            raise UserError(f"the rows {before!r} and {row!r} are one run: no setting tells them apart")
