"""Rehearsals: short trainings on a part of the data that tell how long the real ones will take.

They are the same scripts with the same settings, so loading, network, losses and evaluation all count. Each
trains three epochs, of which the last is timed: during the first two, data loaders start and memory is still
being allocated (docs/experiments.md).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from core.run_dir import RunDirectory
from grids.inputs import Input, make_excerpt
from grids.plan import GridOptions, make_plan
from grids.progress import EpochTimes, kind_of, read_metrics
from grids.recipe import Recipe
from grids.run import Run, Schedule, Workers, run_all, with_ancestors

EPOCHS = 3

Ratio = Callable[[Run, str], float]
"""How many times more clips a real run trains on ("train") or tests on ("test") than its rehearsal."""


def rehearse(
    recipes: Mapping[Path, Recipe],
    options: GridOptions,
    runs: Sequence[Run],
    times: EpochTimes,
    workers: Workers,
    *,
    rows: Sequence[str],
    clips: int,
) -> bool:
    """Measure the epochs of every kind of run of which none has finished, in a temporary folder.

    Args:
        recipes: The recipes, by file.
        options: How they are run.
        runs: The real runs.
        times: What is known; the measurements are added to it.
        workers: Run the rehearsals.
        rows: The rows that are to be run; none means all.
        clips: About how many clips or pictures of each input to train on.

    Returns:
        Whether all rehearsals finished.

    Raises:
        UserError: A training refuses its settings; the message names it.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    with TemporaryDirectory(prefix="egornn-rehearsal-") as name:
        folder = Path(name)
        named = {action for run in runs for action in getattr(run.config, "unseen", ())}
        excerpts = {
            name: make_excerpt(found.path, clips, folder / "inputs" / name, named)
            for name, found in options.inputs.items()
        }
        short = replace(
            options,
            out=folder,
            inputs={name: Input.open(excerpt.path) for name, excerpt in excerpts.items()},
            runtime_settings={k: v for k, v in options.runtime_settings.items() if k != "cache"},
            max_epochs=EPOCHS,
        )
        one_seed = {file: recipe.replace(seeds=recipe.seeds[:1]) for file, recipe in recipes.items()}
        chosen = choose_rehearsals(runs, times, make_plan(one_seed, short).select(rows))
        if chosen and "cache" in options.runtime_settings:
            print("note: rehearsals run without --cache, which saves time once it is filled")

        def ratio(run: Run, side: str) -> float:
            users = getattr(run.config, f"{side}_users", ())
            return math.prod(excerpts[name].ratio(users) for name in run.training.inputs.values())

        return run_rehearsals(chosen, times, workers, ratio)


def choose_rehearsals(runs: Iterable[Run], times: EpochTimes, rehearsals: Sequence[Run]) -> list[Run]:
    """Choose one run of each kind whose time is unknown, and its ancestors.

    Args:
        runs: The real runs.
        times: What is known.
        rehearsals: The same runs as rehearsals, parents first.
    """
    wanted = {kind_of(run) for run in runs if not run.done and not times.knows(run)}
    needed: set[str] = set()
    for run in reversed(rehearsals):  # children first: their ancestors measure other kinds on the way
        if kind_of(run) in wanted:
            needed |= with_ancestors([run])
            wanted -= {kind_of(other) for other in rehearsals if other.key in needed}
    return [run for run in rehearsals if run.key in needed]


def run_rehearsals(rehearsals: Iterable[Run], times: EpochTimes, workers: Workers, ratio: Ratio) -> bool:
    """Run rehearsals, and add to `times` what an epoch of each real run would take.

    Returns:
        Whether all finished.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    schedule = Schedule(rehearsals)
    if not run_all(schedule, workers, _Measuring(schedule, times, ratio)):
        raise KeyboardInterrupt
    return not schedule.failed


def seconds_of_epoch(run: Run, ratio: Ratio) -> float:
    """Scale the last epoch of a rehearsal to the real run's number of clips, in seconds."""
    rows = read_metrics(run)
    last = {row["split"]: float(row["seconds"]) for row in rows if row["epoch"] == rows[-1]["epoch"]}
    training = last.pop("train", 0.0) * ratio(run, "train")
    # Validation clips are held out from the training users.
    measuring = sum(
        taken * ratio(run, "train" if split == "val" else "test") for split, taken in last.items()
    )
    return training + measuring / run.config.eval_every


class _Measuring:
    """Records and prints the times of finished rehearsals, and removes weights that are not needed."""

    def __init__(self, schedule: Schedule, times: EpochTimes, ratio: Ratio) -> None:
        self.schedule = schedule
        self.times = times
        self.ratio = ratio

    def started(self, run: Run) -> None:
        print(f"rehearsing {run.training.name}", flush=True)

    def ended(self, run: Run, finished: bool) -> None:
        if not finished:
            print(f"failed     {run.training.name}: {run.last_log_line()}", flush=True)
            return
        seconds = seconds_of_epoch(run, self.ratio)
        self.times.add(run, seconds, 1)
        rounded = f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
        print(f"rehearsed  {run.training.name}: an epoch will take about {rounded}", flush=True)
        # Checkpoints of finished runs that no remaining run starts from take 0.5 GB each.
        left = [*self.schedule.waiting.values(), *self.schedule.running.values()]
        needed = {parent.key for other in left for parent in other.parents}
        for over in self.schedule.done.values():
            if over.key not in needed:
                files = RunDirectory(over.folder)
                files.last.unlink(missing_ok=True)
                files.best.unlink(missing_ok=True)

    def refresh(self) -> None:
        pass
