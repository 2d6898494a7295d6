"""The same results wherever the pieces are worked on, and words for what can go wrong there."""

import os
import time
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.spread import SpreadConfig, spread


def square(number: int) -> int:
    return number * number


def stumble(number: int) -> int:
    if number == 3:
        raise OSError("no room")
    return number


def vanish(number: int) -> int:
    os._exit(9)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_piece_with_its_result(jobs):
    found = dict(spread(square, range(6), SpreadConfig(jobs=jobs)))
    assert found == {number: number * number for number in range(6)}
    with pytest.raises(OSError, match="no room"):
        list(spread(stumble, range(6), SpreadConfig(jobs=jobs)))


def test_a_process_that_is_killed_is_told():
    with pytest.raises(UserError, match="try fewer --jobs"):
        list(spread(vanish, range(2), SpreadConfig(jobs=2)))


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
    from data import synthetic  # loads OpenCV and more, which the other tests' processes can do without

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
