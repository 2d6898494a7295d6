"""Runs on a Ray cluster whose machines share a disk: each asks for CPUs and GPUs, and Ray finds a machine.

When a machine is lost, Ray starts its runs again on another one, where they resume after the last epoch that
they saved.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray

from core.ray_cluster import RETRY_FOREVER, connect
from grids.local import GRACE_SEC, start_process, stop_processes
from grids.run import Run


class RayWorkers:
    """The machines of a cluster."""

    def __init__(
        self, code: Path, address: str | None, resources: Mapping[str, float], jobs: int | None = None
    ) -> None:
        """Connect to a cluster, or make one of this machine alone.

        Args:
            code: Folder of the scripts, the same on every machine.
            address: HOST:PORT of the cluster's head; None makes a cluster.
            resources: What each run asks for: "CPU", which is also its number of threads, and "GPU".
            jobs: Upper limit of the runs at a time; None fills the cluster.

        Raises:
            UserError: No cluster answers at the address within 30 seconds.
        """
        self.code = code
        self.resources = resources
        self.jobs = jobs
        connect(address)
        as_task = ray.remote(num_cpus=resources["CPU"], num_gpus=resources["GPU"], max_retries=RETRY_FOREVER)
        self._train = as_task(train)
        self._running: dict[str, tuple[Run, Any]] = {}

    def free_slots(self) -> int:
        """Count the runs that fit on the machines; one is always queued, so that a cluster can grow."""
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
        slots = min(int(there.get(kind, 0.0) / asked) for kind, asked in self.resources.items() if asked)
        slots = max(slots, 1)
        return (slots if self.jobs is None else min(slots, self.jobs)) - len(self._running)

    def start(self, run: Run) -> None:
        """Hand a run to the cluster."""
        threads = int(self.resources["CPU"])
        task = self._train.remote(str(self.code), run.command, str(run.folder), threads)
        self._running[run.key] = run, task

    def ended(self) -> list[tuple[Run, bool]]:
        """List the runs that ended since the last call, and whether each has finished; never waits."""
        tasks = {task: run for run, task in self._running.values()}
        over, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0) if tasks else ([], [])
        found = [(tasks[task], self._finished(tasks[task], task)) for task in over]
        for run, _ in found:
            del self._running[run.key]
        return found

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have ended."""
        stopped = [self._running.pop(run.key)[1] for run in runs if run.key in self._running]
        for task in stopped:
            ray.cancel(task, force=True)
        if stopped:
            ray.wait(stopped, num_returns=len(stopped), timeout=GRACE_SEC)

    def _finished(self, run: Run, task: Any) -> bool:
        try:
            return ray.get(task) == 0 and run.done
        except ray.exceptions.RayError as error:
            with run.log.open("a", encoding="utf-8") as log:
                log.write(f"{str(error).strip().splitlines()[-1]}\n")
            return False


def train(code: str, command: tuple[str, ...], folder: str, threads: int) -> int:
    """Run a training's command on the machine that Ray chose.

    Returns:
        Its exit status.
    """
    process = start_process(Path(code), command, Path(folder), {"OMP_NUM_THREADS": str(threads)})
    try:
        return process.wait()
    finally:
        stop_processes([process])
