"""Configs: what is refused, and what a file and the flags have in common."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from core.config import Config, read_yaml
from core.errors import UserError


class Example(Config):
    """An example."""

    rate: float = Field(0.1, gt=0)
    """A rate."""
    users: tuple[str, ...] = ("S1",)
    """Some users."""


def test_round_trip_through_yaml(tmp_path):
    config = Example(rate=0.5, users=("S1", "S4"))
    config.to_yaml(tmp_path / "config.yaml")
    assert Example.from_yaml(tmp_path / "config.yaml") == config


def test_words_that_yaml_1_1_takes_for_booleans_are_words(tmp_path):
    (tmp_path / "words.yaml").write_text(
        "a: [off, on, No, true_runs]\nb: [true, False]\nc: [1, 0.5, null, x]"
    )
    found = read_yaml(tmp_path / "words.yaml")
    assert found["a"] == ["off", "on", "No", "true_runs"] and found["b"] == [True, False]
    assert found["c"] == [1, 0.5, None, "x"]


@pytest.mark.parametrize(
    "values, named",
    [({"rat": 1}, "rat"), ({"rate": -1}, "--rate"), ({"rate": "fast"}, "fast"), ({"users": 3}, "--users")],
)
def test_bad_values_are_named(values, named):
    with pytest.raises(UserError, match=named):
        Example(**values)
    with pytest.raises(UserError, match="row 3"):
        Example.from_mapping(values, where="row 3")


class Whole(Config):
    """A config of configs."""

    parts: tuple[Example, ...] = Field(min_length=1)
    """Some."""
    named: dict[str, Example] = {}
    """Others."""


@pytest.mark.parametrize(
    "values, flag, key",
    [
        ({}, "--parts is missing", "parts is missing"),
        ({"parts": []}, "--parts: should have at least 1 value", "parts: should have at least 1 value"),
        ({"parts": [{}, {"rat": 1}]}, "--parts: unknown key 'rat'", "parts: entry 2: unknown key 'rat'"),
        (
            {"parts": [{"rate": 0}]},
            "--parts.rate: should be",
            "parts: entry 1: rate: should be greater than 0, got 0",
        ),
        ({"parts": [{}], "named": 3}, "--named: should hold", "named: should hold `key: value` lines, got 3"),
        (
            {"parts": [{}], "named": {"a": {"users": "S1"}}},
            "--named.a.users: should be a list",
            "named: a: users: should be a list, got 'S1'",
        ),
    ],
)
def test_what_is_refused_has_the_name_of_a_flag_or_in_a_file_of_a_key(values, flag, key):
    with pytest.raises(UserError, match=f"^{re.escape(flag)}"):
        Whole(**values)
    with pytest.raises(UserError, match=f"^a.yaml: {re.escape(key)}(; check its spelling)?$"):
        Whole.from_mapping(values, where="a.yaml")


def test_frozen_and_checked_again_on_replace():
    config = Example()
    with pytest.raises(Exception, match="frozen"):
        config.rate = 3
    assert config.replace(rate=2).rate == 2
    with pytest.raises(UserError, match="--rate"):
        config.replace(rate=0)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", "!!python/object/apply:os.system ['true']", ""])
def test_files_that_are_no_mapping(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match="bad.yaml"):
        read_yaml(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    "text, named",
    [("lr: 1\nseed: 0\nlr: 2\n", "lr"), ("a:\n  - {b: 1, c: 2, b: 3}\n", "b"), ("'x y': 1\nx y: 2\n", "x y")],
)
def test_a_key_that_stands_twice(tmp_path, text, named):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(
        UserError, match=f"bad.yaml .*{named} stands there twice, on line 1 first|{named} .*line 2"
    ):
        read_yaml(tmp_path / "bad.yaml")


def test_equal_keys_of_different_mappings_and_merged_ones(tmp_path):
    (tmp_path / "good.yaml").write_text("a: &a {b: 1, c: 2}\nd: {b: 1}\ne: {<<: *a, b: 3}\n")
    assert read_yaml(tmp_path / "good.yaml")["e"] == {"b": 3, "c": 2}


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="nowhere.yaml"):
        read_yaml(tmp_path / "nowhere.yaml")


class Shelf:
    def __len__(self):
        return 1

    def __getitem__(self, item):
        raise UserError("no jam at shelf 4; buy some")


class Command(Config):
    """Test command."""

    mode: str
    """What to do."""


def main(config):
    if config.mode == "mistake":
        raise UserError("no jam at shelf 3; buy some")
    if config.mode == "loader":
        from torch.utils.data import DataLoader

        list(DataLoader(Shelf(), num_workers=1))
    if config.mode == "fault":
        raise RuntimeError("ours")
    return 1 if config.mode == "found" else None


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["--mode", "fine"], 0, ""),
        (["--mode", "found"], 1, ""),
        (["--mode", "mistake"], 2, "error: no jam at shelf 3; buy some"),
        (["--mode", "loader"], 2, "error: no jam at shelf 4; buy some"),
        (["--moed", "fine"], 2, "--mode"),
        ([], 2, "--mode"),
    ],
)
def test_exit_status(command, arguments, status, said):
    found, _, error = command(main, Command, *arguments)
    assert (0 if found is None else found) == status  # as Python ends a process
    assert said in error and "Traceback" not in error


SCRIPT = """
from core.cli import run
from core.config import Config
from core.errors import UserError

class C(Config):
    mode: str

def main(config):
    raise UserError("no jam at shelf 3") if config.mode == "mistake" else RuntimeError("ours")

run(main, C)
"""


@pytest.mark.parametrize("mode, status, said", [("mistake", 2, "error: no jam"), ("fault", 1, "Traceback")])
def test_exit_status_of_a_process(mode, status, said):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SCRIPT, "--mode", mode]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == status
    assert said in done.stderr
    assert ("Traceback" in done.stderr) == (mode == "fault")
