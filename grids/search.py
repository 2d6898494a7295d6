"""Searches the ranges of a recipe: trials are asked for while there is room, watched, pruned and judged."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from optuna.trial import Trial, TrialState

from grids.planner import Change, Terms, make_plan
from grids.progress import Progress
from grids.recipe import Recipe
from grids.runs import Run
from grids.schedule import POLL_SEC, Schedule, Watcher, Workers, advance
from grids.trials import Trials, study_name


@dataclass(frozen=True)
class Space:
    """A recipe to be searched.

    Attributes:
        file: Its file.
        recipe: It, with the searched training and its parents alone, and one seed.
        terms: What whoever runs it decides, the validation split included.
    """

    file: Path
    recipe: Recipe
    terms: Terms

    @classmethod
    def of(cls, file: Path, recipe: Recipe, terms: Terms, val_fraction: float) -> "Space":
        """Prepare a recipe; whatever learns from clips holds the same share of them out."""
        assert recipe.search is not None
        only = recipe.only(recipe.search.training)
        held = [Change(t.name, "val_fraction", val_fraction) for t in only.trainings if "data" in t.inputs]
        return cls(file, only, replace(terms, changes=(*terms.changes, *held)))

    @property
    def name(self) -> str:
        """A name for the study: that of the file, and a hash of all that the trials have in common."""
        terms = self.terms
        given = (terms.changes, terms.epochs, terms.fingerprints)
        return study_name(self.file.stem, self.recipe.model_dump(mode="json", exclude={"title"}), *given)

    def runs(self, values: dict[str, object]) -> list[Run]:
        """Give the runs of a trial, its own as the last one.

        Raises:
            UserError: The script refuses the values.
        """
        assert self.recipe.search is not None
        changes = [Change(self.recipe.search.training, name, value) for name, value in values.items()]
        terms = replace(self.terms, changes=(*self.terms.changes, *changes))
        return list(make_plan({self.file: self.recipe}, terms).runs.values())


@dataclass(frozen=True)
class _Open:
    """A trial that is not judged yet, its run, and the epochs whose accuracy was reported."""

    trial: Trial
    run: Run
    reported: set[int] = field(default_factory=set)


class Searcher:
    """Keeps a schedule supplied with trials."""

    def __init__(self, space: Space, trials: Trials, schedule: Schedule, limit: int) -> None:
        """Go on until `limit` trials are judged, those of earlier starts included."""
        self.space = space
        self.trials = trials
        self.schedule = schedule
        self.limit = limit
        self.failed = 0
        self._open: list[_Open] = []

    @property
    def over(self) -> bool:
        """Whether every trial is judged."""
        return not self._open and self._left() == 0

    def supply(self, room: int) -> None:
        """Ask for as many trials as can run at a time."""
        while len(self._open) < room and self._left() > 0:
            trial = self.trials.ask()
            *parents, run = self.space.runs(trial.params)
            trial.set_user_attr("run", run.name)
            for needed in (*parents, run):
                if not self.schedule.knows(needed):
                    self.schedule.add(needed)
            self._open.append(_Open(trial, run))

    def judge(self, workers: Workers) -> None:
        """Stop what falls behind the others, and close what has ended."""
        for one in list(self._open):
            measured = Progress.of(one.run, splits=("val",)).measured
            if self._falls_behind(one, measured):
                self._abandon(one.run, workers)
                self._close(one, TrialState.PRUNED)
            elif one.run.key in self.schedule.done:
                self._close(one, TrialState.COMPLETE, measured[one.run.epochs])
            elif one.run.key in self.schedule.failed or self._hopeless(one.run):
                self.failed += 1
                self._close(one, TrialState.FAIL)

    def _falls_behind(self, one: _Open, measured: dict[int, float]) -> bool:
        """Ask after every epoch, also when a run was faster than the eye: its fate is then the same."""
        for epoch in sorted(measured.keys() - one.reported):
            one.trial.report(measured[epoch], epoch)
            one.reported.add(epoch)
            if epoch < one.run.epochs and one.trial.should_prune():
                return True
        return False

    def _abandon(self, run: Run, workers: Workers) -> None:
        if run.key in self.schedule.running:
            workers.stop([run])
            self.schedule.drop(run)

    def _left(self) -> int:
        return max(self.limit - self.trials.judged - len(self._open) - self.failed, 0)

    def _hopeless(self, run: Run) -> bool:
        return self.schedule.over and run.key in self.schedule.waiting

    def _close(self, one: _Open, state: TrialState, accuracy: float | None = None) -> None:
        self._open.remove(one)
        self.trials.study.tell(one.trial, accuracy, state=state)


def run_search(searcher: Searcher, workers: Workers, watcher: Watcher, stopping: Callable[[], bool]) -> None:
    """Search until enough trials are judged, or until it is to stop; open trials are taken up again later.

    Args:
        searcher: What asks for trials.
        workers: What runs them, as many at a time as it has room for.
        watcher: Is told what happens.
        stopping: Asked now and then whether to stop.
    """
    schedule, jobs = searcher.schedule, workers.room()
    try:
        while not stopping():
            searcher.supply(jobs)
            advance(schedule, workers, watcher)
            searcher.judge(workers)
            if searcher.over:
                return
            time.sleep(POLL_SEC)
    finally:
        workers.stop(list(schedule.running.values()))
