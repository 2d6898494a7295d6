"""Runs on this machine: a fixed number at a time, each a process with its share of the cores and one GPU.

They are forked from one process that has loaded what they need (`grids/worker.py`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import torch

from core.config import DeviceName
from core.errors import UserError
from core.run_dir import RunDirectory
from grids.run import Run
from grids.worker import Forked, Worker

GRACE_SEC = 10.0
_LAUNCHER = Path(__file__).with_name("launcher.py")


class LocalWorkers:
    """A number of slots, each of which takes a run."""

    def __init__(self, code: Path, jobs: int, gpus: Sequence[str] = ()) -> None:
        """Make the slots.

        Args:
            code: Folder of the scripts.
            jobs: Number of slots.
            gpus: Names of GPUs as in CUDA_VISIBLE_DEVICES; slots take them in turn.
        """
        self.code = code
        self.gpus = gpus
        self.threads = max(free_cores() // jobs, 1)
        self.sharing = -(-jobs // max(len(gpus), 1))
        self._free = list(range(jobs))
        self._running: dict[str, tuple[Run, Forked, int]] = {}
        self._worker: Worker | None = None

    def free_slots(self) -> int:
        """Count the runs that may be started now."""
        return len(self._free)

    def start(self, run: Run) -> None:
        """Start a run, or resume it.

        Raises:
            UserError: Its folder can't be written.
        """
        slot = self._free[0]
        environment = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        if self._worker is None or not self._worker.alive:
            self._worker = Worker(self.code, {"OMP_NUM_THREADS": str(self.threads)})
        try:
            with open_log(run.command, run.folder) as log:
                process = self._worker.start(run.command, run.folder, log.fileno(), environment, self.sharing)
        except OSError as error:
            raise UserError(
                f"{run.folder} can't be written: {error.strerror}; free space or repair it"
            ) from None
        self._running[run.key] = run, process, self._free.pop(0)

    def ended(self) -> list[tuple[Run, bool]]:
        """List the runs that ended since the last call, and whether each has finished; never waits."""
        over = [found for found in self._running.values() if found[1].poll() is not None]
        self._release(run for run, _, _ in over)
        for run, process, _ in over:
            _log_kill(run, process.returncode)
        return [(run, process.returncode == 0 and run.done) for run, process, _ in over]

    def stop(self, runs: Iterable[Run]) -> None:
        """Stop runs, and wait until they have ended."""
        runs = [run for run in runs if run.key in self._running]
        stop_processes([self._running[run.key][1] for run in runs])
        self._release(runs)

    def _release(self, runs: Iterable[Run]) -> None:
        self._free = sorted([*self._free, *(self._running.pop(run.key)[2] for run in runs)])


def free_cores() -> int:
    """Count the cores to use: OMP_NUM_THREADS where it is set, otherwise those of this process."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else len(os.sched_getaffinity(0))


def visible_gpus(device: DeviceName) -> list[str]:
    """List the GPUs that trainings may use, by their names in CUDA_VISIBLE_DEVICES."""
    if device == "cpu":
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def _log_kill(run: Run, status: int | None) -> None:
    """Let the log of a run that a signal has ended say so, since the run could not."""
    if status is not None and status < 0:
        why = ", maybe for lack of memory" if status == -signal.SIGKILL else ""
        with suppress(OSError), run.log.open("a", encoding="utf-8") as log:
            log.write(f"ended by {signal.Signals(-status).name}{why}\n")


def open_log(command: Sequence[str], folder: Path) -> IO[bytes]:
    """Open the log of a run, whose folder is made when missing, and write the command into it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = RunDirectory(folder).log.open("ab")
    log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
    log.flush()
    return log


class Process(Protocol):
    """A run's process."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises `subprocess.TimeoutExpired`."""

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""


class Group(subprocess.Popen[bytes]):
    """A process that leads a group, to which its children belong."""

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to all of them."""
        with suppress(ProcessLookupError, PermissionError):  # it has ended
            os.killpg(self.pid, number)


def start_process(
    code: Path, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]
) -> Group:
    """Start a run's command; what it prints is appended to the run's log.

    Args:
        code: Folder of the scripts.
        command: The command's words, the script first.
        folder: The run directory, made when missing.
        environment: Variables in addition to those of this process.
    """
    words = [sys.executable, str(code / command[0]), *command[1:]]
    with open_log(command, folder) as log:
        return Group(
            [sys.executable, str(_LAUNCHER), str(os.getpid()), str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,  # Ctrl-C reaches the grid alone, which then stops its runs
        )


def stop_processes(processes: Sequence[Process]) -> None:
    """Ask processes and their children to end, wait for them, and kill those that don't."""
    for process in processes:
        process.signal_group(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SEC
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.0))
        process.signal_group(signal.SIGKILL)  # also kills children that outlived it
        process.wait()
