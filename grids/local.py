"""Runs on this machine: so many processes at a time, each with its share of the cores and one GPU."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import UserError
from grids.process import start_process, stop_processes
from grids.runs import Run


class LocalWorkers:
    """A number of places, each of which takes a run."""

    def __init__(self, code: Path, jobs: int, gpus: Sequence[str] = ()) -> None:
        """Make places; with GPUs, each has one of them, in turn.

        Args:
            code: Folder of the scripts.
            jobs: How many runs at a time.
            gpus: Their names, as CUDA_VISIBLE_DEVICES has them.
        """
        self.code = code
        self.gpus = gpus
        self.threads = max(free_cores() // jobs, 1)
        self._free = list(range(jobs))
        self._running: dict[str, tuple[Run, subprocess.Popen[bytes], int]] = {}

    def room(self) -> int:
        """How many more runs may be started now."""
        return len(self._free)

    def start(self, run: Run) -> None:
        """Start a run, or go on with it.

        Raises:
            UserError: Its folder can't be written.
        """
        place = self._free[0]
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        try:
            process = start_process(self.code, run.words, run.folder, environment)
        except OSError as error:
            raise UserError(
                f"{run.folder} can't be written: {error.strerror}; make room or mend it"
            ) from None
        self._running[run.key] = run, process, self._free.pop(0)

    def ended(self) -> list[tuple[Run, bool]]:
        """Give the runs that have ended since the last call, and whether each has finished; never waits."""
        over = [found for found in self._running.values() if found[1].poll() is not None]
        self._forget(run for run, _, _ in over)
        return [(run, process.returncode == 0 and run.done) for run, process, _ in over]

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have stopped."""
        runs = [run for run in runs if run.key in self._running]
        stop_processes([self._running[run.key][1] for run in runs])
        self._forget(runs)

    def _forget(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._free.append(self._running.pop(run.key)[2])
        self._free.sort()


def free_cores() -> int:
    """Count the cores that are ours: OMP_NUM_THREADS where it is set, else those of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))
