"""The same results wherever the pieces are done, and one message for what can go wrong there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import UserError
from core.jobs import SpreadConfig, spread
from tests.support.pieces import dawdle_in, square, stumble, vanish
from tests.support.processes import gone, wait_until


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_piece_with_its_result(jobs):
    found = dict(spread(square, range(6), SpreadConfig(jobs=jobs)))
    assert found == {number: number * number for number in range(6)}
    with pytest.raises(OSError, match="no room"):
        list(spread(stumble, range(6), SpreadConfig(jobs=jobs)))


def test_a_process_that_is_killed_is_told():
    with pytest.raises(UserError, match="try fewer --jobs"):
        list(spread(vanish, range(2), SpreadConfig(jobs=2)))


def test_an_error_outside_ends_the_pieces_that_were_begun(tmp_path, recwarn):
    with pytest.raises(OSError, match="disk full"):
        for _ in spread(dawdle_in, [None, tmp_path, tmp_path], SpreadConfig(jobs=2)):
            while not (begun := list(tmp_path.iterdir())):
                time.sleep(0.02)
            raise OSError("disk full")
    wait_until(lambda: all(gone(int(path.name)) for path in begun), seconds=30)  # of the 60 it takes
    assert not recwarn.list


def test_addresses_belong_to_clusters():
    with pytest.raises(UserError, match="--address needs --engine ray"):
        SpreadConfig(address="head:6379")
    pytest.importorskip("ray")
    begun = time.monotonic()
    with pytest.raises(UserError, match="nothing answers at 127.0.0.1:9"):
        list(spread(square, range(2), SpreadConfig(engine="ray", address="127.0.0.1:9")))
    assert time.monotonic() - begun < 11


@pytest.mark.stress
def test_a_cluster_draws_the_same_pictures(tmp_path, monkeypatch):
    """Paths that are relative to where the command was given, too."""
    from data.synthetic import (
        command as synthetic,  # loads OpenCV and more, which the other tests' processes can do without
    )

    monkeypatch.chdir(tmp_path)
    for engine in ("local", "ray"):
        settings = {"out": Path(engine), "catalogue": 96, "size": 32, "jobs": 1, "engine": engine}
        synthetic.main(synthetic.Settings(**settings))
    here, there = (
        {path.relative_to(engine): path.read_bytes() for path in Path(engine).rglob("*.png")}
        for engine in ("local", "ray")
    )
    assert here == there and len(here) == 96
    with pytest.raises(ValueError, match="invalid literal"):
        list(spread(int, ["1", "two"], SpreadConfig(engine="ray")))


COMMAND = """
import sys
from pathlib import Path
from core.cli import run
from core.jobs import SpreadConfig, spread
from tests.support.processes import dawdle

if __name__ == "__main__":
    folder = Path(sys.argv.pop())
    run(lambda config: list(spread(dawdle, [folder] * 4, config)) and None, SpreadConfig)
"""


@pytest.mark.parametrize("number,status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_who_works_for_a_command_leaves_with_it(tmp_path, number, status):
    """Though a piece would take another minute; Ctrl-C reaches all of them, the others the command alone."""
    script, folder = tmp_path / "command.py", tmp_path / "begun"
    script.write_text(COMMAND)
    folder.mkdir()
    root = str(Path(__file__).parents[2])
    command = [sys.executable, str(script), "--jobs", "2", str(folder)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, start_new_session=True) as process:
        while len(begun := list(folder.iterdir())) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(30) == status
    wait_until(lambda: all(gone(int(path.name)) for path in begun), seconds=30)  # of the 60 it takes
