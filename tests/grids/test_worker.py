"""Trainings that are forked from a worker are those that a shell would start, and end alone."""

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core import keeper
from grids.local import LocalWorkers, open_log, start_process, stop_processes
from grids.worker import Worker, _Server
from tests.support.fakes import plan, recipe
from tests.support.processes import children, gone, wait_until

STATE = """
import json, os, signal, sys, threading
import helper
if __name__ == "__main__":
    helper.seen.append(1)
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MARK")
    state = {
        "argv": sys.argv[1:], "file": os.path.basename(__file__), "path": sys.path[0], "seen": helper.seen,
        "environment": {name: os.environ.get(name) for name in names},
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "stdin": sys.stdin.read(), "tty": sys.stderr.isatty(), "threads": threading.active_count(),
        "folder": os.getcwd(), "leads": os.getpgid(0) == os.getpid(),
    }
    print(json.dumps(state), flush=True)
    print("to stderr", file=sys.stderr)
    os.environ["MARK"] = "x"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path.insert(0, "elsewhere")
    sys.exit(int(sys.argv[1]))
"""
SLEEP = """
import subprocess, sys, time
if __name__ == "__main__":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print("begun", flush=True)
    time.sleep(60)
"""
LINE = "if __name__ == '__main__':\n    print('{}')\n"


@pytest.fixture
def code(tmp_path) -> Path:
    """A folder of scripts without torch."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "helper.py").write_text("seen = []\n")
    (folder / "train_state.py").write_text(STATE)
    (folder / "train_sleep.py").write_text(SLEEP)
    (folder / "train_broken.py").write_text("import nothing_of_this_name\n")
    (folder / "train_lines.py").write_text(LINE.format("first"))
    return folder


@pytest.fixture
def start(code, tmp_path):
    """Start a script of a worker in a run directory of its own; the worker is start.worker."""

    def begin(script, *flags, environment=()):
        folder, words = tmp_path / f"run{begin.number}", (script, *flags)
        begin.number += 1
        with open_log(words, folder) as log:
            training = begin.worker.start(words, folder, log.fileno(), dict(environment))
        return training, folder / "log.txt"

    begin.number, begin.worker = 0, Worker(code, {"OMP_NUM_THREADS": "3"})
    return begin


def worker_pid(start) -> int:
    return start.worker._process.pid


def test_each_is_as_a_shell_would_start_it(start, code, tmp_path):
    gpu = {"CUDA_VISIBLE_DEVICES": "5"}
    environment = {"OMP_NUM_THREADS": "3", **gpu}
    alone = start_process(code, ("train_state.py", "4", "--x y"), tmp_path / "alone", environment)
    assert alone.wait(30) == 4
    expected = (tmp_path / "alone/log.txt").read_text().splitlines()[1:]
    assert json.loads(expected[0])["environment"] == environment | {"MARK": None}
    for _ in range(3):
        training, log = start("train_state.py", "4", "--x y", environment=gpu)
        assert training.wait(30) == 4
        header, *lines = log.read_text().splitlines()
        assert header.endswith("train_state.py 4 --x y")
        assert json.loads(lines[0]) == json.loads(expected[0]) and lines[1:] == expected[1:] == ["to stderr"]


def test_a_killed_training_ends_alone_and_its_children_with_it(start):
    first, second = (start("train_sleep.py") for _ in range(2))
    for _, log in (first, second):
        wait_until(lambda log=log: "begun" in log.read_text())
    pids = children(worker_pid(start))
    [child] = children(pids[0])
    first[0].signal_group(signal.SIGSTOP)  # even one that is too busy to notice anything
    os.kill(pids[0], signal.SIGKILL)
    assert first[0].wait(10) == -signal.SIGKILL and second[0].poll() is None
    wait_until(lambda: gone(child), seconds=10)
    third, log = start("train_state.py", "0")
    assert third.wait(30) == 0 and children(worker_pid(start)) == pids[1:]
    stop_processes([second[0]])
    assert second[0].poll() == -signal.SIGTERM and start.worker.alive


def test_one_that_has_hardly_begun_can_be_stopped(start):
    training, _ = start("train_sleep.py")
    stop_processes([training])
    assert training.poll() == -signal.SIGTERM and start.worker.alive


def test_with_its_worker_a_training_ends_and_is_reported(start):
    training, log = start("train_sleep.py")
    wait_until(lambda: "begun" in log.read_text())
    [pid] = children(worker_pid(start))
    os.kill(worker_pid(start), signal.SIGKILL)
    assert training.wait(10) == -signal.SIGKILL and not start.worker.alive
    wait_until(lambda: gone(pid), seconds=10)
    late, _ = start("train_state.py", "0")
    assert late.wait(10) == -signal.SIGKILL, "nothing waits for a worker that is gone"


def test_a_script_that_does_not_load_says_so_in_its_own_log(start):
    training, log = start("train_broken.py")
    assert training.wait(30) == 1 and start.worker.alive
    said = log.read_text()
    assert said.splitlines()[-1] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert re.search(r'File ".*train_broken.py", line 1', said)


def test_a_process_that_can_not_be_started_is_a_line(monkeypatch, tmp_path, code):
    """As where no more processes are allowed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, (tmp_path / "log.txt").open("wb") as log:
        monkeypatch.setattr(os, "fork", lambda: (_ for _ in ()).throw(OSError(11, "try again")))
        asked = {"start": 7, "command": ["train_lines.py"], "handle": os.dup(log.fileno())}
        assert _Server(theirs, code)._start(asked) is None
        assert keeper.receive(ours) == {"ended": 7, "status": 2}
    assert (tmp_path / "log.txt").read_text() == "error: no process can be started: try again\n"


def test_code_that_has_changed_is_loaded_again(start, code):
    for word in ("first", "second", "third"):
        if word != "first":
            (code / "train_lines.py").write_text(LINE.format(word) + "# changed\n")
        training, log = start("train_lines.py")
        assert training.wait(30) == 0 and log.read_text().splitlines()[1:] == [word]


SHARING = """
from core import keeper
if __name__ == "__main__":
    print("shared by", keeper.ours.sharing)
"""


@pytest.mark.parametrize(
    "number,said", [(9, "ended by SIGKILL, maybe for lack of memory"), (11, "ended by SIGSEGV")]
)
def test_the_log_says_what_a_training_could_not(code, tmp_path, number, said):
    dies = f"import os\nif __name__ == '__main__':\n    os.kill(os.getpid(), {number})\n"
    (code / "train_fake.py").write_text(dies)
    [run] = plan(tmp_path / "out", recipe({"name": "one"})).runs.values()
    workers = LocalWorkers(code, 1)
    workers.start(run)
    wait_until(workers.ended)
    assert run.last_log_line() == said


@pytest.mark.parametrize(
    "jobs,gpus,sharing", [(1, (), 1), (3, (), 3), (2, ("0", "1"), 1), (5, ("0", "1"), 3)]
)
def test_a_training_knows_how_many_share_its_device(code, tmp_path, jobs, gpus, sharing):
    (code / "train_fake.py").write_text(SHARING)
    [run] = plan(tmp_path / "out", recipe({"name": "one"})).runs.values()
    workers = LocalWorkers(code, jobs, gpus)
    workers.start(run)
    wait_until(workers.ended)
    assert run.last_log_line() == f"shared by {sharing}"


def test_the_worker_ends_with_its_grid(start):
    process = start.worker._process
    training, log = start("train_sleep.py")
    wait_until(lambda: "begun" in log.read_text())
    [pid] = children(process.pid)
    del training, start.worker
    gc.collect()
    assert process.wait(10) == 0
    wait_until(lambda: gone(pid), seconds=10)


NO_GPU = """
import sys, torch
asked = []
for module, name in ((torch.cuda, "is_available"), (torch.cuda, "device_count"), (torch.cuda, "_lazy_init")):
    setattr(module, name, lambda *_, name=name, **__: asked.append(name) or 0)
from grids.worker import _AT_THE_END
import importlib
for name in ("train_rgb", "train_flow", "train_twostream", "train_frame", "train_video", *_AT_THE_END):
    importlib.import_module(name)
import threading
print(asked, threading.active_count(), torch.cuda.is_initialized())
"""


@pytest.mark.stress
def test_what_a_worker_loads_opens_no_gpu_and_starts_no_thread():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", NO_GPU], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "[] 1 False", done.stdout
