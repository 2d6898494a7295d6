"""Short trainings on a part of the data, to know how long the real ones will take on this machine.

They are the same scripts with the same settings, so loading, network, losses and evaluation all count. Of
three epochs the last one is timed: in the first two, loaders start and the process still asks for memory
(docs/experiments.md).
"""

from collections.abc import Callable, Iterable, Sequence

from core.processes import StopRequest
from core.run_dir import RunDirectory
from grids.plan import with_parents
from grids.process import last_line
from grids.progress import Paces, kind_of, read_rows
from grids.runs import Run
from grids.schedule import Schedule, Workers, run_all

EPOCHS = 3

Times = Callable[[Run, str], float]
"""How many times as much the whole data has of what a run trains ("train") or is tested ("test") on."""


def unknown_runs(runs: Iterable[Run], paces: Paces, short: Sequence[Run]) -> list[Run]:
    """Choose what to rehearse: one of each kind of run whose time nothing tells, and its parents.

    Args:
        runs: The real runs.
        paces: What is known.
        short: The same runs as rehearsals, parents first.
    """
    wanted = {kind_of(run) for run in runs if not run.done and not paces.knows(run)}
    needed: set[str] = set()
    for run in reversed(short):  # children first: their parents tell of other kinds
        if kind_of(run) in wanted:
            needed |= with_parents([run])
            wanted -= {kind_of(other) for other in short if other.key in needed}
    return [run for run in short if run.key in needed]


def rehearse(short: Iterable[Run], paces: Paces, workers: Workers, times: Times) -> bool:
    """Run rehearsals, and count for each what an epoch of the real run would take.

    Returns:
        Whether all finished.

    Raises:
        KeyboardInterrupt: It was told to stop.
    """
    schedule = Schedule(short)
    with StopRequest() as stop:
        run_all(schedule, workers, _Listener(schedule, paces, times), lambda: stop.made)
    if stop.made:
        raise KeyboardInterrupt
    return not schedule.failed


def seconds_of_epoch(run: Run, times: Times) -> float:
    """Seconds that an epoch of the real run would take, from the rehearsal's last one."""
    rows = read_rows(run)
    last = [row for row in rows if row["epoch"] == rows[-1]["epoch"]]
    seconds = {row["split"]: float(row["seconds"]) for row in last}
    learning = seconds.pop("train", 0.0) * times(run, "train")
    measuring = sum(taken * times(run, _source(split)) for split, taken in seconds.items())
    return learning + measuring / run.config.eval_every


def _source(split: str) -> str:
    return "train" if split == "val" else "test"


class _Listener:
    """Counts what has finished, says so, and removes weights that nobody needs any more."""

    def __init__(self, schedule: Schedule, paces: Paces, times: Times) -> None:
        self.schedule = schedule
        self.paces = paces
        self.times = times

    def started(self, run: Run) -> None:
        print(f"rehearsing {run.training.name}", flush=True)

    def ended(self, run: Run, finished: bool) -> None:
        if not finished:
            print(f"failed     {run.training.name}: {last_line(run.folder)}", flush=True)
            return
        seconds = seconds_of_epoch(run, self.times)
        self.paces.note(run, seconds, 1)
        print(f"rehearsed  {run.training.name}: an epoch will take about {_rounded(seconds)}", flush=True)
        self._remove_weights()

    def refresh(self) -> None:
        pass

    def _remove_weights(self) -> None:
        """Remove the weights of runs that none builds upon which is still to come; each has half a GB."""
        left = [*self.schedule.waiting.values(), *self.schedule.running.values()]
        needed = {parent.key for run in left for parent in run.parents}
        for run in self.schedule.done.values():
            if run.key not in needed:
                files = RunDirectory(run.folder)
                files.last.unlink(missing_ok=True)
                files.best.unlink(missing_ok=True)


def _rounded(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
