"""Runs on this machine: a fixed number at a time, each a process with its share of the cores and one GPU."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from core.errors import UserError
from core.run_dir import RunDirectory
from core.seeding import DeviceName
from grids.run import Run

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
        self._free = list(range(jobs))
        self._running: dict[str, tuple[Run, subprocess.Popen[bytes], int]] = {}

    def free_slots(self) -> int:
        """Count the runs that may be started now."""
        return len(self._free)

    def start(self, run: Run) -> None:
        """Start a run, or resume it.

        Raises:
            UserError: Its folder can't be written.
        """
        slot = self._free[0]
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        try:
            process = start_process(self.code, run.command, run.folder, environment)
        except OSError as error:
            raise UserError(
                f"{run.folder} can't be written: {error.strerror}; free space or repair it"
            ) from None
        self._running[run.key] = run, process, self._free.pop(0)

    def ended(self) -> list[tuple[Run, bool]]:
        """List the runs that ended since the last call, and whether each has finished; never waits."""
        over = [found for found in self._running.values() if found[1].poll() is not None]
        self._release(run for run, _, _ in over)
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


def start_process(
    code: Path, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a run's command; what it prints is appended to the run's log.

    Args:
        code: Folder of the scripts.
        command: The command's words, the script first.
        folder: The run directory, made when missing.
        environment: Variables in addition to those of this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, str(code / command[0]), *command[1:]]
    with RunDirectory(folder).log.open("ab") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
        log.flush()
        return subprocess.Popen(
            [sys.executable, str(_LAUNCHER), str(os.getpid()), str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,  # Ctrl-C reaches the grid alone, which then stops its runs
        )


def stop_processes(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Ask processes and their children to end, wait for them, and kill those that don't."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SEC
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.0))
        _signal_group(process, signal.SIGKILL)  # also kills children that outlived it
        process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, number)
