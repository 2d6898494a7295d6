"""Runs on a Ray cluster whose machines share a disk: each asks for CPUs and GPUs, and Ray finds the place.

When a machine is lost, Ray starts its runs again on another one, where they go on after the last epoch that
they saved.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray

from core.ray_cluster import RETRY_FOREVER, connect
from core.run_dir import RunDirectory
from grids.process import GRACE_SEC, start_process, stop_processes
from grids.runs import Run


class RayWorkers:
    """The machines of a cluster."""

    def __init__(
        self, code: Path, address: str | None, asks: Mapping[str, float], jobs: int | None = None
    ) -> None:
        """Connect to a cluster, or make one of this machine alone.

        Args:
            code: Folder of the scripts, the same on every machine.
            address: HOST:PORT of the cluster's head; None makes one.
            asks: What a run asks for: CPU, which are also its threads, and GPU.
            jobs: At most so many at a time; None takes all the room there is.

        Raises:
            UserError: No cluster answers at the address within 30 seconds.
        """
        self.code = code
        self.asks = asks
        self.jobs = jobs
        connect(address)
        remote = ray.remote(num_cpus=asks["CPU"], num_gpus=asks["GPU"], max_retries=RETRY_FOREVER)
        self._train = remote(train)
        self._running: dict[str, tuple[Run, Any]] = {}

    def room(self) -> int:
        """How many more runs the machines have room for; one always waits, so that a cluster may grow."""
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
        places = min(int(there.get(kind, 0.0) / asked) for kind, asked in self.asks.items() if asked)
        places = max(places, 1)
        return (places if self.jobs is None else min(places, self.jobs)) - len(self._running)

    def start(self, run: Run) -> None:
        """Hand a run to the cluster."""
        task = self._train.remote(str(self.code), run.words, str(run.folder), int(self.asks["CPU"]))
        self._running[run.key] = run, task

    def ended(self) -> list[tuple[Run, bool]]:
        """Give the runs that have ended since the last call, and whether each has finished; never waits."""
        tasks = {task: run for run, task in self._running.values()}
        over, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0) if tasks else ([], [])
        found = [(tasks[task], self._finished(tasks[task], task)) for task in over]
        for run, _ in found:
            del self._running[run.key]
        return found

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have stopped."""
        stopped = [self._running.pop(run.key)[1] for run in runs if run.key in self._running]
        for task in stopped:
            ray.cancel(task, force=True)
        if stopped:
            ray.wait(stopped, num_returns=len(stopped), timeout=GRACE_SEC)

    def _finished(self, run: Run, task: Any) -> bool:
        try:
            return ray.get(task) == 0 and run.done
        except ray.exceptions.RayError as error:
            with RunDirectory(run.folder).log.open("a", encoding="utf-8") as log:
                log.write(f"{str(error).strip().splitlines()[-1]}\n")
            return False


def train(code: str, words: tuple[str, ...], folder: str, threads: int) -> int:
    """Run a training on the machine that Ray chose; gives its exit status."""
    process = start_process(Path(code), words, Path(folder), {"OMP_NUM_THREADS": str(threads)})
    try:
        return process.wait()
    finally:
        stop_processes([process])
