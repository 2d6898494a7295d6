"""Searches of a recipe's ranges: Optuna proposes trials, which are trained as runs of a grid and judged.

A trial is one set of values for the searched settings. Its run has a folder like any other, so a trial that
was stopped is resumed, and one that is proposed twice is trained once. Trials are judged on held-out training
clips: of metrics.csv only the rows of the validation split are read, and eval.json is not.
"""

import csv
import hashlib
import io
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from core.errors import UserError
from core.files import write_text
from core.ray_cluster import refuse_unreachable
from grids.plan import GridOptions, Override, make_plan
from grids.progress import EpochTimes, Progress, run_with_progress
from grids.recipe import Range, Recipe
from grids.run import Run, Schedule, Workers

PlanTrial = Callable[[Mapping[str, object]], list[Run]]
"""Plans the runs of a trial from its values, parents first, its own last."""

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def search(
    file: Path,
    recipe: Recipe,
    options: GridOptions,
    workers: Workers,
    *,
    trials: int,
    val_fraction: float,
    storage: str | None = None,
) -> int:
    """Search until enough trials are judged, print the best, and write all of them to search/NAME.csv.

    Args:
        file: The recipe's file.
        recipe: The recipe, which has ranges.
        options: How it is run.
        workers: Run the trials, as many at a time as they have slots.
        trials: How many trials to judge, including those of earlier starts.
        val_fraction: Share of the training clips to hold out, for every training that learns from clips.
        storage: URL of a database that several grids share; None: search.db in the grid's folder.

    Returns:
        The exit status, as `run_with_progress`.

    Raises:
        UserError: The database can't be opened, or a script refuses the values.
    """
    space = recipe.search
    assert space is not None
    reduced = recipe.reduced_to(space.training)
    on_clips = [training.name for training in reduced.trainings if "data" in training.inputs]
    held_out = [Override(name, "val_fraction", val_fraction) for name in on_clips]
    options = replace(options, overrides=(*options.overrides, *held_out))
    name = study_name(file, reduced, options)
    study = open_study(storage or f"sqlite:///{options.out / 'search.db'}", name)
    kept = Trials(study, space.ranges, recipe.seeds[0], options.out, alone=storage is None)

    def plan(values: Mapping[str, object]) -> list[Run]:
        drawn = [Override(space.training, name, value) for name, value in values.items()]
        trial_options = replace(options, overrides=(*options.overrides, *drawn))
        return list(make_plan({file: reduced}, trial_options).runs.values())

    searcher = Searcher(plan, kept, trials)
    status = run_with_progress(searcher.schedule, workers, EpochTimes(), searcher.update)
    table = options.out / "search" / f"{name}.csv"
    kept.write(table)
    print(f"{kept.judged} trials: {table}")
    if best := kept.best():
        found = f"{best.value:.1f} % of the held-out clips with {best.params}"
        print(f"best: {found}, in {best.user_attrs['run']}")
    return status


def study_name(file: Path, recipe: Recipe, options: GridOptions) -> str:
    """Name a study by its recipe's file and a hash of everything that its trials have in common."""
    # An override once was called Change; its old form keeps the names of studies that exist.
    changes = [str(override).replace("Override(", "Change(", 1) for override in options.overrides]
    prints = {name: found.fingerprint for name, found in options.inputs.items()}
    values = recipe.model_dump(mode="json", exclude={"title"})
    content = json.dumps([values, changes, options.max_epochs, prints], sort_keys=True, default=str)
    return f"{file.stem}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def open_study(storage: str, name: str) -> optuna.Study:
    """Open a study or create it; its first trials, up to five, are never pruned.

    Args:
        storage: URL of a database; that of an SQLite file is sqlite:///PATH.
        name: The study's name in it.

    Raises:
        UserError: The database can't be reached or opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        url = sqlalchemy.make_url(storage)
        if url.host:
            port = url.port or _PORTS.get(url.get_backend_name(), 0)
            refuse_unreachable(url.host, port, "--storage")
        pruner = optuna.pruners.MedianPruner()
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
        )
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, optuna.exceptions.OptunaError) as error:
        raise UserError(f"--storage {storage} can't be opened: {str(error).splitlines()[0]}") from None


class Trials:
    """The trials of a study, as one grid of possibly several sees them."""

    def __init__(
        self, study: optuna.Study, ranges: Mapping[str, Range], seed: int, grid: Path, *, alone: bool
    ) -> None:
        """Put the trials that an earlier start of this grid left open back into the queue.

        Args:
            study: The study.
            ranges: The searched settings.
            seed: With one trial at a time, the same seed proposes the same trials.
            grid: The grid's folder, by which it recognises its own trials.
            alone: Whether no other grid uses the study, so that all trials are its own.
        """
        self.study = study
        self.distributions = {name: _distribution(values) for name, values in ranges.items()}
        self.seed = seed
        self.owner = f"{socket.gethostname()}:{grid}"
        queued = {trial.user_attrs.get("again") for trial in study.get_trials(deepcopy=False)}
        for trial in self._in_state(TrialState.RUNNING):
            if alone or trial.user_attrs.get("owner") == self.owner:
                # A kill may strike between these two, or may have struck before all values were drawn.
                if self._has_all_values(trial) and str(trial.number) not in queued:
                    study.enqueue_trial(_values(trial), user_attrs={"again": str(trial.number)})
                study.tell(trial.number, state=TrialState.FAIL)

    @property
    def judged(self) -> int:
        """How many trials have finished or were pruned."""
        return len(self._in_state(TrialState.COMPLETE, TrialState.PRUNED))

    def propose(self) -> Trial:
        """Propose values; they depend on the seed, the number of trials before, and their results alone."""
        trials = self.study.get_trials(deepcopy=False)
        begun = [trial for trial in trials if trial.state != TrialState.WAITING]
        # One that was killed before it had its values is drawn again, with the same seed.
        begun = [trial for trial in begun if trial.state != TrialState.FAIL or self._has_all_values(trial)]
        drawn = sum("again" not in trial.user_attrs for trial in begun)
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + drawn)
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("owner", self.owner)
        return trial

    def best(self) -> FrozenTrial | None:
        """Return the best finished trial, if there is one."""
        return self.study.best_trial if self._in_state(TrialState.COMPLETE) else None

    def write(self, file: Path) -> None:
        """Write a CSV row for each trial: number, state, accuracy on the held-out clips, values and run."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["trial", "state", "val_accuracy", *self.distributions, "run"])
        for trial in self._in_state(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING):
            last = max(trial.intermediate_values.items(), default=(0, ""))[1]
            values = [trial.params.get(name, "") for name in self.distributions]
            run = trial.user_attrs.get("run", "")
            table.writerow([trial.number, trial.state.name.lower(), last, *values, run])
        write_text(file, text.getvalue())

    def _has_all_values(self, trial: FrozenTrial) -> bool:
        return _values(trial).keys() == self.distributions.keys()

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)


def _values(trial: FrozenTrial) -> dict[str, Any]:
    """Return the values that were drawn for a trial, or that it was put into the queue with."""
    queued_with: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return trial.params | queued_with


def _distribution(values: Range) -> BaseDistribution:
    if values.choices is not None:
        return CategoricalDistribution(values.choices)
    low, high = values.low, values.high
    assert low is not None and high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=values.log)
    return FloatDistribution(low, high, log=values.log)


@dataclass(frozen=True)
class _OpenTrial:
    """A trial that is not judged yet, its run, and the epochs whose accuracy was reported."""

    trial: Trial
    run: Run
    reported: set[int] = field(default_factory=set)


class Searcher:
    """Supplies a schedule with trials, and judges them."""

    def __init__(self, plan: PlanTrial, trials: Trials, limit: int) -> None:
        """Search until `limit` trials are judged, including those of earlier starts."""
        self.plan = plan
        self.trials = trials
        self.limit = limit
        self.schedule = Schedule()
        self._failed = 0
        self._open: list[_OpenTrial] = []

    def update(self, workers: Workers) -> bool:
        """Judge the open trials and propose as many as there is room for, in every round of `run_all`.

        Returns:
            Whether trials are open or still to come.
        """
        for open_trial in list(self._open):
            self._judge(open_trial, workers)
        slots = workers.free_slots() + len(self.schedule.running)
        while len(self._open) < slots and self.trials.judged + len(self._open) + self._failed < self.limit:
            trial = self.trials.propose()
            runs = self.plan(trial.params)
            trial.set_user_attr("run", runs[-1].name)
            for run in runs:
                self.schedule.add(run)
            self._open.append(_OpenTrial(trial, runs[-1]))
        return bool(self._open)

    def _judge(self, open_trial: _OpenTrial, workers: Workers) -> None:
        run, schedule = open_trial.run, self.schedule
        accuracies = Progress.of(run, splits=("val",)).accuracies
        if self._falls_behind(open_trial, accuracies):
            if run.key in schedule.running:
                workers.stop([run])
                schedule.drop(run)
            self._close(open_trial, TrialState.PRUNED)
        elif run.key in schedule.done:
            self._close(open_trial, TrialState.COMPLETE, accuracies[run.epochs])
        elif run.key in schedule.failed or (schedule.over and run.key in schedule.waiting):  # a parent failed
            self._failed += 1
            self._close(open_trial, TrialState.FAIL)

    def _falls_behind(self, open_trial: _OpenTrial, accuracies: Mapping[int, float]) -> bool:
        """Report every epoch in turn, so that a run faster than this loop is judged like any other."""
        for epoch in sorted(accuracies.keys() - open_trial.reported):
            open_trial.trial.report(accuracies[epoch], epoch)
            open_trial.reported.add(epoch)
            if epoch < open_trial.run.epochs and open_trial.trial.should_prune():
                return True
        return False

    def _close(self, open_trial: _OpenTrial, state: TrialState, accuracy: float | None = None) -> None:
        self._open.remove(open_trial)
        self.trials.study.tell(open_trial.trial, accuracy, state=state)
