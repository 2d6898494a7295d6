"""Reads all runs of a grid, finished or not, grouped by table row.

Axes: K classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.config import read_yaml
from core.errors import UserError
from core.files import read_csv, read_json
from core.run_dir import RunDirectory, read_eval, run_names
from core.train_config import FREE_ON_RESUME
from grids.plan import TABLES, TablePlan, TableRow, TableRun
from metrics.early import EarlyPredictions
from metrics.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

State = Literal["not started", "not finished", "damaged"]
_NEEDED = ("top1", "mean_class", "n_clips")
_NUMBERS = (*_NEEDED, "top5", "verb", "noun", "order", "n_order", "turned")


@dataclass(frozen=True)
class Finished:
    """A run that has all its files.

    Attributes:
        plan: Its seed, and the command that makes it.
        folder: Its run directory.
        evaluation: Content of eval.json.
        predictions: Content of predictions.npz.
        class_names: The K classes in the order of the logits.
        epochs: Content of metrics.csv, NaN where a cell is empty.
        settings: Content of config.yaml.
        environment: Content of env.json.
        cost: Content of cost.json, empty for a run that recorded none.
        early: The test clips read along their frames, None for a run that was not.
    """

    plan: TableRun
    folder: Path
    evaluation: dict[str, Any]
    predictions: Predictions
    class_names: tuple[str, ...]
    epochs: "pd.DataFrame"
    settings: dict[str, Any]
    environment: dict[str, Any]
    cost: dict[str, Any]
    early: EarlyPredictions | None = None

    @property
    def selected(self) -> dict[str, Any]:
        """What eval.json says of the selected epoch; empty for a run without one."""
        return dict(self.evaluation.get("selected", {}))


@dataclass(frozen=True)
class Missing:
    """A run that can't be reported.

    Attributes:
        plan: Its seed, and the command that makes it.
        folder: Its run directory.
        state: How far it got.
        reason: The fault, with the file that says more.
    """

    plan: TableRun
    folder: Path
    state: State
    reason: str


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        plan: Its entry in the table's plan.
        finished: Its finished runs, in the order of the seeds.
        missing: The others.
    """

    plan: TableRow
    finished: tuple[Finished, ...]
    missing: tuple[Missing, ...]

    @property
    def name(self) -> str:
        """Its name in the table."""
        return self.plan.row

    def values(self, key: str) -> list[float]:
        """Collect the number under a key of eval.json of each finished run; none unless all have it."""
        if any(key not in run.evaluation for run in self.finished):
            return []
        return [float(run.evaluation[key]) for run in self.finished]


@dataclass(frozen=True)
class FoundTable:
    """A table with the runs that were found.

    Attributes:
        name: Name of its plan's file, without the ending.
        plan: The rows and runs that it should hold.
        rows: Its rows.
    """

    name: str
    plan: TablePlan
    rows: tuple[Row, ...]

    @property
    def shown(self) -> tuple[Row, ...]:
        """Rows with at least one finished run."""
        return tuple(row for row in self.rows if row.finished)

    @property
    def missing(self) -> tuple[tuple[Row, Missing], ...]:
        """All runs that can't be reported, with their rows."""
        return tuple((row, run) for row in self.rows for run in row.missing)


def read_tables(grid: Path) -> list[FoundTable]:
    """Read the tables of a grid, in the order of their names, and every run they name.

    Raises:
        UserError: There is no table in the folder, or one that can't be read.
    """
    files = sorted((grid / TABLES).glob("*.yaml"))
    if not files:
        raise UserError(f"no table in {grid / TABLES}; name the --out of a grid.py that was started before")
    tables = []
    for file in files:
        plan = TablePlan.from_yaml(file)
        tables.append(FoundTable(file.stem, plan, tuple(_row(row, grid) for row in plan.rows)))
    return tables


def read_runs(folders: Sequence[Path]) -> FoundTable:
    """Read finished runs as a table: those that differ in seeds alone, theirs and their parents', are a row.

    A run's seed is its own, or where all runs of a recipe have the same, the first of a parent's that
    differs. A run with a seed that a row has already, or with other test clips, is a row of its own.

    Raises:
        UserError: A folder is no finished run, or is named twice.
    """
    recipes: dict[str, list[Finished]] = {}
    names = dict(zip(folders, run_names(folders), strict=True))
    for folder in folders:
        RunDirectory.finished(folder)
        settings = read_yaml(folder / "config.yaml")
        command = tuple(map(str, read_json(folder / "env.json").get("command", [])))
        plan = TableRun(seed=settings.get("seed", 0), folder=folder, command=command)
        key = json.dumps(_recipe(folder), sort_keys=True, default=str)
        recipes.setdefault(key, []).append(read_run(plan, folder))
    rows = [row for runs in recipes.values() for row in _divide(runs)]
    found = tuple(_of_runs(names[row[0].folder], row) for row in rows)
    data = found[0].finished[0].settings.get("data")
    inputs = {} if data is None else {"data": Path(data)}
    table = TablePlan(title="Results", recipe="", inputs=inputs, rows=tuple(row.plan for row in found))
    return FoundTable("runs", table, found)


def _divide(runs: Sequence[Finished]) -> list[list[Finished]]:
    """Divide the runs of a recipe into rows in which every seed stands once, for the same test clips."""
    columns = list(zip(*(_seeds(run.folder) for run in runs), strict=True))
    chosen = next((column for column in columns if len(set(column)) > 1), columns[0])
    rows = list[list[Finished]]()
    for run, seed in zip(runs, chosen, strict=True):
        seeded = replace(run, plan=run.plan.replace(seed=seed))
        for row in rows:
            if seed not in {other.plan.seed for other in row} and labels(run) == labels(row[0]):
                row.append(seeded)
                break
        else:
            rows.append([seeded])
    return rows


def _of_runs(name: str, runs: Sequence[Finished]) -> Row:
    plans = tuple(run.plan for run in runs)
    script = Path(next(iter(plans[0].command[1:]), "")).stem
    plan = TableRow(row=name, training=name, script=script, settings=runs[0].settings, runs=plans)
    return Row(plan, tuple(runs), ())


def _recipe(folder: Path) -> dict[str, Any]:
    """Return what decides a run but for its seed; runs that it starts from stand for themselves likewise."""
    settings = read_yaml(folder / "config.yaml")
    kept = {key: value for key, value in settings.items() if key not in (*FREE_ON_RESUME, "seed")}
    kept = {key: value for key, value in kept.items() if not key.endswith("_sha256")}
    return kept | {key: _recipe(path) for key, path in _parents(settings).items()}


def _seeds(folder: Path) -> tuple[int, ...]:
    """List a run's seed and those of the runs that it starts from."""
    settings = read_yaml(folder / "config.yaml")
    parents = sorted(_parents(settings).items())
    return (settings.get("seed", 0), *(seed for _, path in parents for seed in _seeds(path)))


def _parents(settings: Mapping[str, Any]) -> dict[str, Path]:
    """Find the runs that a run starts from, by the settings that name them."""
    ours = (key for key in settings if key not in FREE_ON_RESUME)
    paths = {key: Path(value) for key in ours if isinstance(value := settings[key], str) and "/" in value}
    return {key: path for key, path in paths.items() if (path / "config.yaml").exists()}


def _row(plan: TableRow, grid: Path) -> Row:
    finished, missing = list[Finished](), list[Missing]()
    for run in plan.runs:
        found = _find(run, grid / run.folder)
        if isinstance(found, Finished) and finished and labels(found) != labels(finished[0]):
            reason = f"{found.folder} was tested on other clips, or other classes, than the row's first seed"
            found = Missing(run, found.folder, "damaged", reason)
        if isinstance(found, Missing):
            missing.append(found)
        else:
            finished.append(found)
    return Row(plan, tuple(finished), tuple(missing))


def labels(run: Finished) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return a run's class names, and the true class of each of its test clips."""
    return run.class_names, dict(zip(run.predictions.keys, run.predictions.labels.tolist(), strict=True))


def _find(plan: TableRun, folder: Path) -> Finished | Missing:
    log = RunDirectory(folder).log
    more = f"; its log is {log}" if log.exists() else ""
    if not (folder / "config.yaml").exists():
        return Missing(plan, folder, "not started", f"{folder} holds no run{more}")
    if not (folder / "eval.json").exists():
        try:
            epoch = int(_read_epochs(folder / "metrics.csv")["epoch"].iloc[-1])
            reached = f"stopped after epoch {epoch}, or is still running"
        except UserError:
            reached = "has not finished an epoch"
        return Missing(plan, folder, "not finished", f"{folder} {reached}{more}")
    try:
        return read_run(plan, folder)
    except UserError as error:
        return Missing(plan, folder, "damaged", str(error))


def read_run(plan: TableRun, folder: Path) -> Finished:
    """Read the files of a finished run.

    Raises:
        UserError: A file is missing or damaged, or they don't fit together; the message names it.
    """
    evaluation, predictions = _evaluation(folder), Predictions.load(folder / "predictions.npz")
    names = tuple(line["class"] for line in read_csv(folder / "per_class.csv", "class"))
    if abs(predictions.top1 - float(evaluation["top1"])) > 1e-6 or predictions.logits.shape[1] != len(names):
        raise UserError(f"{folder}: eval.json, predictions.npz and per_class.csv are not of one evaluation")
    epochs = _read_epochs(folder / "metrics.csv")
    last, measured = epochs["epoch"].iloc[-1], evaluation.get("epoch")
    if measured not in (None, last):
        file = folder / "metrics.csv"
        raise UserError(f"{file} is damaged: it ends with epoch {last}, and eval.json is of epoch {measured}")
    return Finished(
        plan,
        folder,
        evaluation,
        predictions,
        names,
        epochs,
        read_yaml(folder / "config.yaml"),
        _environment(folder),
        _cost(folder),
        read_early(folder, predictions),
    )


def read_early(folder: Path, predictions: Predictions) -> EarlyPredictions | None:
    """Read what the training, or else evaluate.py, has found along the frames of the run's test clips.

    Raises:
        UserError: A file is damaged.
    """
    for file in (RunDirectory(folder).early, RunDirectory(folder).read_early / "early.npz"):
        if file.exists() and set((found := EarlyPredictions.load(file)).keys) == set(predictions.keys):
            return found
    return None


def _evaluation(folder: Path) -> dict[str, Any]:
    content = read_eval(folder)
    numbers = {key: content.get(key) for key in _NUMBERS if key in content or key in _NEEDED}
    if odd := [key for key, value in numbers.items() if not isinstance(value, int | float)]:
        raise UserError(f"{folder / 'eval.json'} is damaged: no number under {', '.join(odd)}")
    selected = content.get("selected", {"top1": 0})
    if not isinstance(selected, dict) or not isinstance(selected.get("top1"), int | float):
        raise UserError(f"{folder / 'eval.json'} is damaged: no number under selected.top1")
    return content


def _environment(folder: Path) -> dict[str, Any]:
    content = read_json(folder / "env.json")
    kinds = {"command": list, "packages": dict}
    if odd := [key for key, kind in kinds.items() if not isinstance(content.get(key, kind()), kind)]:
        raise UserError(f"{folder / 'env.json'} is damaged: no {kinds[odd[0]].__name__} under {odd[0]}")
    return content


def _cost(folder: Path) -> dict[str, Any]:
    if not (file := folder / "cost.json").exists():
        return {}
    content = read_json(file)
    numbers = {key: value for key, value in content.items() if key != "device"}
    if odd := [key for key, value in numbers.items() if not isinstance(value, int | float | None)]:
        raise UserError(f"{file} is damaged: no number under {', '.join(odd)}")
    return content


def _read_epochs(file: Path) -> "pd.DataFrame":
    import pandas as pd  # takes its time to import, and a help text needs none

    words = read_csv(file, "epoch", "split", "loss", "accuracy", "seconds", "clips_per_sec")
    if not words:
        raise UserError(f"{file} is damaged: no epoch stands in it")
    columns = {name: [line[name] for line in words] for name in words[0]}
    try:
        found = pd.DataFrame(columns | {n: pd.to_numeric(v) for n, v in columns.items() if n != "split"})
    except ValueError as error:
        raise UserError(f"{file} is damaged: {error}") from None
    if found[["epoch", "seconds"]].isna().to_numpy().any():
        raise UserError(f"{file} is damaged: a line has no epoch or no seconds")
    return found
