"""How a command ends when it is told to."""

import signal
import subprocess
import sys

import pytest

COMMAND = """
import time
from engine.cli import run
from engine.config import Config

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
