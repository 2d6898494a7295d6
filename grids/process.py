"""One run as a process: how it is started, where it writes, how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from core.run_dir import RunDirectory

_START = Path(__file__).with_name("start.py")
GRACE_SEC = 10.0


def start_process(
    code: Path, words: tuple[str, ...], folder: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a run's command; what it says is appended to its log.

    Args:
        code: Folder of the scripts.
        words: The command, the script first.
        folder: The run directory, made when missing.
        environment: Variables beside those of this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(code / words[0]), *words[1:]]
    with RunDirectory(folder).log.open("ab") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(words)}\n".encode())
        log.flush()
        return subprocess.Popen(
            [sys.executable, str(_START), str(os.getpid()), str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,  # Ctrl-C is for the grid, which then stops its runs
        )


def stop_processes(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Ask processes and their children to end, wait for them, and kill those that don't."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SEC
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            pass
        _signal(process, signal.SIGKILL)  # also children that outlived it
        process.wait()


def last_line(folder: Path) -> str:
    """Give the last words of a run's log."""
    try:
        lines = RunDirectory(folder).log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
