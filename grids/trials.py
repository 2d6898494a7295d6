"""The trials of a search: kept by Optuna, trained as runs of a grid, judged on held-out training clips.

A trial is one set of values. Its run has a folder like any other, so a trial that was stopped is resumed, and
one that comes up twice is trained once. The test users' clips play no part: of metrics.csv only the rows of
the validation split are read, and eval.json is not.
"""

import csv
import hashlib
import io
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from core.errors import UserError
from core.files import write_text
from core.ray_cluster import refuse_unreachable
from grids.search_space import Range

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def open_study(storage: str, name: str) -> optuna.Study:
    """Open a study, or begin it; the first trials, up to five, are never pruned.

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


def study_name(stem: str, *content: Any) -> str:
    """Name a study by all that its trials have in common, so that a changed recipe begins anew."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def distribution(values: Range) -> BaseDistribution:
    """Say in Optuna's words what a setting may be."""
    if values.choices is not None:
        return CategoricalDistribution(values.choices)
    low, high = values.low, values.high
    assert low is not None and high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=values.log)
    return FloatDistribution(low, high, log=values.log)


class Trials:
    """Asks for trials and tells how they went, for one grid of possibly several that share a study."""

    def __init__(
        self, study: optuna.Study, ranges: Mapping[str, Range], seed: int, owner: Path, *, alone: bool
    ) -> None:
        """Take back the trials that an earlier start of this grid left open.

        Args:
            study: The study.
            ranges: What is searched.
            seed: With it and one trial at a time the same trials are asked for.
            owner: The grid's folder, by which it knows its own trials.
            alone: No other grid uses the study, so that all trials are its own.
        """
        self.study = study
        self.distributions = {name: distribution(values) for name, values in ranges.items()}
        self.seed = seed
        self.owner = f"{socket.gethostname()}:{owner}"
        for trial in self._all(TrialState.RUNNING):
            if alone or trial.user_attrs.get("owner") == self.owner:
                study.tell(trial.number, state=TrialState.FAIL)
                study.enqueue_trial(trial.params, user_attrs={"again": True})

    @property
    def judged(self) -> int:
        """How many trials have ended or were pruned."""
        return len(self._all(TrialState.COMPLETE, TrialState.PRUNED))

    def ask(self) -> Trial:
        """Choose the next values; what is drawn depends on the seed, how many were drawn, and the results."""
        begun = [
            trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING
        ]
        drawn = sum("again" not in trial.user_attrs for trial in begun)
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + drawn)
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("owner", self.owner)
        return trial

    def best(self) -> FrozenTrial | None:
        """Give the best trial that ended."""
        return self.study.best_trial if self._all(TrialState.COMPLETE) else None

    def write(self, file: Path) -> None:
        """Write every trial as a row: number, state, accuracy on the held-out clips, and its values."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["trial", "state", "val_accuracy", *self.distributions, "run"])
        for trial in self._all(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING):
            last = max(trial.intermediate_values.items(), default=(0, ""))[1]
            values = [trial.params.get(name, "") for name in self.distributions]
            run = trial.user_attrs.get("run", "")
            table.writerow([trial.number, trial.state.name.lower(), last, *values, run])
        write_text(file, text.getvalue())

    def _all(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)
