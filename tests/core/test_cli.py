"""How a command ends and speaks, whatever it is told and whoever listens."""

import multiprocessing.synchronize
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import Field

import evaluate
import train_rgb
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.jobs import SpreadConfig
from data.motion.command import MotionConfig

ROOT = Path(__file__).resolve().parents[2]

COMMAND = """
import time
from core.cli import run
from core.config import Config

class Settings(Config):
    pass

def main(config):
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)

run(main, Settings)
"""


@pytest.mark.parametrize(
    "number,status,word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_stopped_command_closes_what_it_opened(number, status, word):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", COMMAND], **pipes) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        said, complaint = process.communicate(timeout=10)
    assert (process.returncode, said, complaint) == (status, "closed\n", f"{word}\n")


@pytest.mark.parametrize("script", [train_rgb.Config, evaluate.Config, MotionConfig])
def test_the_help_names_every_flag_and_the_value_of_one_that_is_left_out(command, script):
    status, said, _ = command(lambda _: None, script, "--help")
    words = said.replace("│", " ").split()
    for name in script.model_fields:
        flag = name.replace("_", "-")
        assert f"--{flag}" in words or f"--no-{flag}" in words
    text = " ".join(words)
    assert status == 0 and not [odd for odd in ("None", "False", "True", "default: )") if odd in text]


def test_the_help_tells_defaults_that_depend_on_another_flag(command):
    text = " ".join(command(lambda _: None, train_rgb.Config, "--help")[1].replace("│", " ").split())
    assert "Loss of a cell. (default: cross_entropy with classification, mse with regression)" in text
    assert "Frames T of a clip. (default: 7)" in text and "(default: S1 S3 S4)" in text
    assert (
        "torch.compile; falls back with a message where it can't. On the CPUs measured it is slower" in text
    )
    assert text.index("--out PATH") < text.index("--data PATH") < text.index("--cache PATH")  # required first


class Bread(Config):
    """Bake bread (a
    loaf).

    Or --loaves of
    them.
    """

    GROUPS = {"dough": "flour", "oven": "flour minutes"}
    flour: int
    """Flour."""
    minutes: int = 40
    """Time."""
    loaves: int = 1
    """Number (of
    pieces)."""


class Baguette(Bread):
    """Bake baguettes."""

    GROUPS = {"oven": "steam", "flour": "salt"}
    name: str
    """Whose."""
    steam: bool = False
    """Steam (at
    the start)."""
    salt: int = 10
    """Salt."""


def test_flags_stand_in_groups_behind_those_that_are_required(command):
    alone, groups = Baguette.groups()
    assert alone == ["flour", "name", "loaves"]
    assert groups == {"oven": ["steam", "minutes"], "flour": ["salt"]}
    status, said, _ = command(lambda _: None, Baguette, "--help")
    words = (
        "--flour",
        "--name",
        "--loaves",
        "oven options",
        "--steam",
        "--minutes",
        "flour options",
        "--salt",
    )
    text = said.partition("--help")[2]
    assert status == 0 and [*map(text.index, words)] == sorted(map(text.index, words))
    found = []
    words = "--name Ann --steam --flour 500 --salt 9 --minutes 30".split()
    assert command(found.append, Baguette, *words) == (0, "", "")
    assert found == [Baguette(flour=500, name="Ann", steam=True, salt=9, minutes=30)]


def test_the_help_breaks_lines_where_the_terminal_ends_and_not_where_the_source_does(command):
    said = command(lambda _: None, Bread, "--help")[1]
    assert "\nBake bread (a loaf).\n\nOr --loaves of them.\n" in said and "Number (of pieces)." in said


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--lr", "-1"], "--lr: should be greater than 0, got -1.0"),
        (["--epochs", "ten"], "--epochs: should be a whole number, got 'ten'"),
        (["--epochs", "2.5"], "--epochs: should be a whole number, got '2.5'"),
        (["--lr", "1,5"], "--lr: should be a number, got '1,5'"),
        (["--milestones", "3", "x"], "--milestones: should be a whole number, got 'x'"),
        (["--milestones", "3", "2"], "--milestones: should be rising epoch numbers from 1, got (3, 2)"),
        (["--stage", "2"], "--stage 2 needs --init RUN, the run directory of a finished stage 1"),
    ],
)
def test_a_refused_value_is_one_sentence(command, flags, said):
    required = ["--out", "o", "--data", "d", *([] if "--stage" in flags else ["--stage", "1"])]
    assert command(train_rgb.main, train_rgb.Config, *required, *flags) == (2, "", f"error: {said}\n")


def test_ctrl_c_while_a_command_loads_is_one_word():
    loading = "import core.cli, os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)"
    done = subprocess.run([sys.executable, "-c", loading], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "interrupted\n")
    fault = subprocess.run(
        [sys.executable, "-c", "import core.cli; 1 / 0"], cwd=ROOT, capture_output=True, text=True
    )
    assert fault.returncode == 1 and "Traceback" in fault.stderr and "ZeroDivisionError" in fault.stderr


class Sizes(Config):
    batch_size: int = Field(8, json_schema_extra=COSTS_MEMORY)
    depth: int = 18
    image_size: int = Field(224, json_schema_extra=COSTS_MEMORY)
    amp: str = "off"


def cuda_runs_out():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1 GiB free.")


@pytest.mark.parametrize(
    "asks, said",
    [
        (lambda: torch.empty(2**56), "too little memory; lower"),
        (lambda: np.zeros(2**56), "too little memory; lower"),
        (cuda_runs_out, "too little GPU memory; lower"),
    ],
)
def test_want_of_memory_is_one_message_that_says_what_to_lower(command, asks, said):
    status, _, error = command(lambda _: asks(), Sizes)
    assert status == 2 and error.count("\n") == 1 and said in error
    assert "--batch-size or --image-size, or compute in bfloat16 with --amp bf16" in error


def test_commands_say_which_of_their_flags_cost_memory():
    sizes = {"--batch-size", "--workers", "--frames", "--image-size"}
    assert sizes <= set(train_rgb.Config.memory_flags())
    assert {"--batch-size", "--workers"} <= set(evaluate.Config.memory_flags())
    assert SpreadConfig.memory_flags() == ["--jobs"]


def test_other_errors_stay_errors(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(ZeroDivisionError):
        run(lambda _: 1 // 0, Sizes)


def test_a_command_in_the_background_does_not_hear_ctrl_c():
    """Where a shell without job control put it there: Ctrl-C is for what stands in front."""
    script = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + COMMAND.replace("60", "0.5")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[0] == "closed\n"
    assert process.returncode == 0


DEAF = """
import time
import core.processes
from core.cli import run
from core.config import Config

core.processes.GRACE_SEC = 0.5

class Settings(Config):
    pass

class Deaf:
    def __del__(self):  # Python drops what is raised here
        print("working", flush=True)
        time.sleep(60)

def main(config):
    Deaf()
    time.sleep(60)

run(main, Settings)
"""


@pytest.mark.parametrize(
    "number,status,word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_command_leaves_though_its_interruption_was_lost(number, status, word):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", DEAF], **pipes) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        _, complaint = process.communicate(timeout=10)
    assert process.returncode == status and complaint.splitlines()[-1] == word
    assert "Exception ignored" in complaint


class Nothing(Config):
    """Do nothing."""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
                     "dataloader's workers are out of shared memory. Please try to raise your limit."),
        OSError(28, "No space left on device", "/dev/shm/torch_7"),
    ],
)  # fmt: skip
def test_too_little_shared_memory_is_one_message_however_it_shows(command, error):
    def fail(_):
        raise error

    status, _, said = command(fail, Nothing)
    assert status == 2 and said.count("\n") == 1 and "--workers 0" in said and "--shm-size" in said


@pytest.mark.parametrize("place", ["a file/below", "a loop"])
def test_a_path_that_leads_nowhere_is_one_message(command, tmp_path, place):
    (tmp_path / "a file").touch()
    (tmp_path / "a loop").symlink_to(tmp_path / "a loop")
    status, _, said = command(lambda _: open(tmp_path / place, "w"), Nothing)
    assert status == 2 and said.count("\n") == 1 and str(tmp_path / place) in said


def test_a_full_disk_in_shared_memory_is_a_full_disk(command):
    """Where somebody keeps a tree in RAM, or a test its files, loading processes are not to blame."""

    def fail(_):
        raise OSError(28, "No space left on device", "/dev/shm/KITCHEN/S1")

    status, _, said = command(fail, Nothing)
    assert status == 2 and said.startswith("error: /dev/shm/KITCHEN/S1: No space left on device.")


def test_messages_can_not_control_a_terminal(command):
    def fail(_):
        raise UserError("folder \x1b[2J\x07 of Zoë 打开")

    _, _, said = command(fail, Nothing)
    assert said == "error: folder \\x1b[2J\\x07 of Zoë 打开\n"


SPEAKING = """
from core.cli import run
from core.config import Config

class Nothing(Config):
    "Do nothing."

def main(config):
    for number in range(20_000):  # many times what a pipe holds
        print("Zo\\u00eb \\u6253\\u5f00", number)

run(main, Nothing)
"""


@pytest.mark.parametrize("flags", [["--help"], []])
def test_output_that_nobody_reads_ends_a_command_quietly(flags):
    head = (
        f"{sys.executable} -c '{SPEAKING}' {' '.join(flags)} | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", head], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 141) and done.stderr == ""


def test_names_that_an_output_can_not_hold_are_escaped():
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", SPEAKING], cwd=ROOT, env=ascii_only, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"Zo\\xeb \\u6253\\u5f00 0\n") and not done.stderr


def test_output_into_a_full_disk_is_one_message():
    done = subprocess.run(
        f"{sys.executable} -c '{SPEAKING}' > /dev/full",
        shell=True,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_errors_that_nobody_reads_end_a_command_quietly():
    script = SPEAKING.replace("print(", "print(file=sys.stderr, *(").replace("number)", "number))")
    head = f"{sys.executable} -c 'import sys\n{script}' 2>&1 > /dev/null | head -n 1 > /dev/null"
    done = subprocess.run(["bash", "-c", f"{head}; exit ${{PIPESTATUS[0]}}"], cwd=ROOT, capture_output=True)
    assert done.returncode == 141 and not done.stderr


def test_a_broken_pipe_between_processes_is_no_lost_reader(monkeypatch):
    def fail(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(BrokenPipeError):
        run(fail, Nothing)


def no_semaphore(_):
    """A lock between processes lies in /dev/shm too; the error does not say so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("_multiprocessing.SemLock", full)
        multiprocessing.Lock()


def full(*_):
    raise OSError(28, "No space left on device")


def test_no_room_for_a_lock_between_processes_is_want_of_shared_memory(command):
    status, _, said = command(no_semaphore, SpreadConfig)
    assert status == 2 and said.count("\n") == 1 and "/dev/shm" in said and "--jobs 1" in said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "unable to open shared memory object </torch_1> in read-write mode: Too many open files"
        ),
        RuntimeError("received 0 items of ancdata"),
        OSError(24, "Too many open files"),
    ],
)
def test_too_many_open_files_are_one_message(command, error):
    def fail(_):
        raise error

    status, _, said = command(fail, Nothing)
    assert status == 2 and said.count("\n") == 1 and "--workers 0" in said and "ulimit -n" in said
