"""The process that a grid forks its trainings from: it has loaded what they import, and keeps what they read.

Each training is a process of its own that does what `python SCRIPT FLAGS...` would do. The worker computes
nothing, draws nothing, opens no GPU and starts no thread, so what it forks is an interpreter that has loaded
its modules and nothing else: seeds, numerics, threads, signal handlers and the environment are those of a new
process. Whatever ends a training (a kill, lack of memory, Ctrl-C) ends that process alone.

What trainings have in common outlives them in the worker (`core/keeper.py`): which images were found sound,
and pixels in shared memory, which the next one maps, or copies to its GPU, whose memory no fork could share.

Where a script or a module has changed since it was loaded, a training is started from scratch instead.

`Worker` is the grid's side; the rest runs in the process, which is started as `python worker.py PARENT_PID
CONNECTION CODE` and imports next to nothing by itself.
"""

import importlib
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(_ROOT)  # the project; Python put grids/ there

from core import keeper  # noqa: E402
from core.processes import die_with_parent  # noqa: E402
from grids.launcher import wait_for_folder  # noqa: E402

_POLL_SEC = 0.05
_AT_THE_END = ("metrics.figures", "metrics.early", "models.cost")
"""What a training loads only when it is over, since one that is started alone has to be quick to begin."""


class Worker:
    """A grid's worker; it ends with this object, and its trainings with it."""

    def __init__(self, code: Path, environment: Mapping[str, str]) -> None:
        """Start the process.

        Args:
            code: Folder of the scripts.
            environment: Variables for all trainings, in addition to those of this process.
        """
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, str(Path(__file__)), str(os.getpid()), str(theirs.fileno()), str(code)]
        with theirs:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches the grid alone, which then stops its runs
            )
        self._running: dict[int, Forked] = {}
        self._started = 0
        weakref.finalize(self, _end, self._process, self._connection)

    @property
    def alive(self) -> bool:
        """Whether it still starts trainings."""
        self.collect(0)
        return self._process.returncode is None

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        log: int,
        environment: Mapping[str, str],
        sharing: int = 1,
    ) -> "Forked":
        """Start a training.

        Args:
            command: Its words, the script first.
            folder: Its run directory.
            log: File descriptor of what collects its output.
            environment: Variables in addition to those of the worker.
            sharing: Trainings that may run on its device at a time.
        """
        forked = Forked(self, self._started)
        self._running[forked.number], self._started = forked, self._started + 1
        asked = {
            "command": list(command),
            "folder": str(folder),
            "environment": dict(environment),
            "sharing": sharing,
        }
        with suppress(ConnectionError):  # it was killed; `collect` finds that out
            keeper.send(self._connection, {"start": forked.number, **asked}, [log])
        return forked

    def signal(self, number: int, signal_number: signal.Signals) -> None:
        """Send a signal to a training and its children."""
        with suppress(ConnectionError):
            keeper.send(self._connection, {"signal": signal_number, "to": number})

    def collect(self, timeout_sec: float) -> None:
        """Note which trainings have ended, waiting so long for the first of them."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            while self._process.returncode is None and selector.select(timeout_sec):
                timeout_sec = 0
                if (message := keeper.receive(self._connection)) is None:
                    self._process.wait()
                else:
                    self._running.pop(message["ended"]).returncode = message["status"]
        if self._process.returncode is not None:  # the system has killed its trainings with it
            for forked in self._running.values():
                forked.returncode = -signal.SIGKILL


def _end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
    with suppress(OSError):  # the other side has gone
        connection.shutdown(socket.SHUT_RDWR)  # for processes too that were forked from this one
    connection.close()
    process.wait()


class Forked:
    """A training that a worker has started, or is about to start; used as a `Popen` is.

    Attributes:
        number: Its number with its worker.
        returncode: Its exit status, None while it runs.
    """

    def __init__(self, worker: Worker, number: int) -> None:
        """Follow a training of a worker."""
        self.worker, self.number = worker, number
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        self.worker.collect(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status.

        Raises:
            subprocess.TimeoutExpired: It has not ended within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"training {self.number}", timeout or 0)
            self.worker.collect(_POLL_SEC)
        assert self.returncode is not None
        return self.returncode

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""
        self.worker.signal(self.number, number)


class _Server:
    """What the process does."""

    def __init__(self, grid: socket.socket, code: Path) -> None:
        self.grid, self.code = grid, code
        self.keeper = keeper.Keeper()
        self.selector = selectors.DefaultSelector()
        self.selector.register(grid, selectors.EVENT_READ)
        self.running: dict[int, tuple[int, socket.socket]] = {}  # by process: number and connection
        self.loaded: dict[str, int] = {}  # when each file was changed, in ns

    def serve(self) -> list[str]:
        """Start trainings until the grid is gone; in each of them, return the words of its command."""
        while True:
            for key, _ in self.selector.select(_POLL_SEC):
                if key.fileobj is not self.grid:
                    assert isinstance(key.fileobj, socket.socket)
                    if not self.keeper.answer(key.fileobj):
                        self.selector.unregister(key.fileobj)
                elif (asked := keeper.receive(self.grid)) is None:
                    os._exit(0)
                elif "signal" in asked:
                    for process, (number, _) in self.running.items():
                        if number == asked["to"]:
                            _signal_group(process, asked["signal"])
                elif (words := self._start(asked)) is not None:
                    return words
            self._collect()

    def _start(self, asked: Mapping[str, Any]) -> list[str] | None:
        """Fork a training; in it, return its words."""
        self._load(Path(asked["command"][0]).stem)
        parent = os.getpid()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with warnings.catch_warnings(action="ignore"):  # of threads: OpenBLAS ends its own in a fork
                process = os.fork()
        except OSError as error:
            os.write(asked["handle"], f"error: no process can be started: {error.strerror}\n".encode())
            os.close(asked["handle"])
            keeper.send(self.grid, {"ended": asked["start"], "status": 2})
            return None
        if process == 0:
            return self._become(asked, theirs, ours, parent)
        theirs.close()
        os.close(asked["handle"])
        with suppress(OSError):  # it has done so itself, or has ended
            os.setpgid(process, process)
        self.running[process] = asked["start"], ours
        self.selector.register(ours, selectors.EVENT_READ)
        return None

    def _become(
        self, asked: Mapping[str, Any], connection: socket.socket, worker: socket.socket, parent: int
    ) -> list[str]:
        """Turn this fork into the process of a training."""
        os.setpgid(0, 0)
        die_with_parent(parent)
        for handle in (1, 2):
            os.dup2(asked["handle"], handle)
        os.close(asked["handle"])
        for other in (self.grid, worker, *(connection for _, connection in self.running.values())):
            other.close()
        self.selector.close()
        self.keeper.close()
        os.environ.update(asked["environment"])
        wait_for_folder(asked["folder"])
        script, *flags = asked["command"]
        words = [str(self.code / script), *flags]
        if any(_changed_ns(file) != before for file, before in self.loaded.items()):
            os.execv(sys.executable, [sys.executable, *words])
        keeper.ours = keeper.Client(connection, asked["sharing"])
        return words

    def _load(self, script: str) -> None:
        """Load a script and what it imports; what goes wrong shows again in the training, which tells it."""
        with suppress(Exception, SystemExit):
            importlib.import_module(script)
            for name in _AT_THE_END if "training.run" in sys.modules else ():
                importlib.import_module(name)
        for file in self._files():
            self.loaded.setdefault(file, _changed_ns(file))

    def _files(self) -> Iterator[str]:
        """List the files of the project that are loaded."""
        ours, others = (f"{_ROOT}/", f"{self.code}/"), f"{sys.prefix}/"  # which may lie in the project
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if file is not None and file.startswith(ours) and not file.startswith(others):
                yield file

    def _collect(self) -> None:
        """Tell the grid which trainings have ended; children that outlived one are killed."""
        while self.running and (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            _signal_group(found.si_pid, signal.SIGKILL)  # while its number can't be another's
            process, status = os.waitpid(found.si_pid, 0)
            number, connection = self.running.pop(process)
            with suppress(KeyError):
                self.selector.unregister(connection)
            self.keeper.forget(connection)
            connection.close()
            keeper.send(self.grid, {"ended": number, "status": os.waitstatus_to_exitcode(status)})


def _signal_group(process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process, number)


def _changed_ns(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    folder = Path(sys.argv[3])
    if folder != _ROOT:
        sys.path.insert(0, str(folder))
    sys.argv = _Server(socket.socket(fileno=int(sys.argv[2])), folder).serve()
    runpy.run_path(sys.argv[0], run_name="__main__")
