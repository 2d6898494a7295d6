"""A search looks at held-out clips alone, can be stopped anywhere, and refuses what it can't search."""

import csv
import multiprocessing
import os
import statistics
import time
from pathlib import Path

import pytest

from core.errors import UserError
from grids.inputs import Input
from grids.plan import GridOptions
from grids.recipe import Range, Recipe
from grids.run import grid_lock
from grids.search import Trials, open_study, search
from tests.support.fake_training import held_out
from tests.support.fakes import SETTINGS, load_script, recipe, workers

RANGES = {"lr": {"low": 1e-5, "high": 10.0, "log": True}}


def searched(ranges=RANGES, **settings) -> Recipe:
    """A training to search, its parent, and one that has nothing to do with it."""
    data = {"inputs": {"data": "clips"}}
    return recipe(
        {"name": "first", **data},
        {"name": "second", "parents": {"init": "first"}, "settings": SETTINGS | settings, **data},
        {"name": "other", "row": "other", **data},
        inputs={"clips": "clips"},
        search={"training": "second", "ranges": ranges},
    )


def start(out: Path, wanted: Recipe, trials: int, jobs: int = 1, storage: str | None = None) -> int:
    """What grid.py --search does after planning."""
    options = GridOptions(out, {"clips": Input(Path("clips"), {"frames": "f"})}, load_script)
    with grid_lock(out):
        return search(
            Path("fake.yaml"),
            wanted,
            options,
            workers(out, jobs),
            trials=trials,
            val_fraction=0.2,
            storage=storage,
        )


def rows(out: Path) -> list[dict[str, str]]:
    (file,) = (out / "search").glob("fake-*.csv")
    with file.open() as opened:
        return list(csv.DictReader(opened))


def outcome(out: Path) -> list[tuple[str, ...]]:
    """The trials without their numbers."""
    return [(row["state"], row["val_accuracy"], row["lr"], row["run"]) for row in rows(out)]


def test_trials_are_judged_on_held_out_clips_and_go_on_where_they_were(tmp_path, capsys):
    assert start(tmp_path / "out", searched(), 3) == 0
    found = rows(tmp_path / "out")
    assert [row["state"] for row in found] == ["complete"] * 3
    for row in found:
        assert float(row["val_accuracy"]) == pytest.approx(held_out(float(row["lr"]), 3))
        assert 1e-5 <= float(row["lr"]) <= 10 and (tmp_path / "out/runs" / row["run"] / "eval.json").exists()
    best = max(found, key=lambda row: float(row["val_accuracy"]))
    assert best["run"] in capsys.readouterr().out.splitlines()[-1]
    folders = {path.name.partition("-")[0] for path in (tmp_path / "out/runs").iterdir()}
    assert folders == {"first", "second"} and len(list((tmp_path / "out/runs").glob("first-*"))) == 1
    assert start(tmp_path / "out", searched(), 3) == 0
    assert "started" not in capsys.readouterr().out
    assert start(tmp_path / "out", searched(), 5) == 0
    assert rows(tmp_path / "out")[:3] == found and len(rows(tmp_path / "out")) == 5
    assert start(tmp_path / "again", searched(), 5) == 0
    assert outcome(tmp_path / "again") == outcome(tmp_path / "out"), "the same trials for the same seed"


@pytest.mark.stress
def test_a_killed_search_ends_as_one_that_was_not(tmp_path):
    wanted = searched(sleep=0.05)
    assert start(tmp_path / "whole", wanted, 4) == 0
    for delay in (0.5, 0.9, 0.7):
        target = lambda: os._exit(start(tmp_path / "killed", wanted, 4))  # noqa: E731
        process = multiprocessing.get_context("fork").Process(target=target)
        process.start()
        process.join(delay)
        process.kill()
        process.join()
    assert start(tmp_path / "killed", wanted, 4) == 0
    assert sorted(outcome(tmp_path / "killed")) == sorted(outcome(tmp_path / "whole"))


def test_a_search_killed_while_it_draws_or_queues_a_trial_draws_the_same_ones(tmp_path):
    ranges = {name: Range(**RANGES["lr"]) for name in ("lr", "weight_decay")}

    def opened(name: str) -> Trials:
        return Trials(open_study(f"sqlite:///{tmp_path}/{name}.db", "study"), ranges, 0, tmp_path, alone=True)

    whole = opened("whole")
    wanted = [whole.propose().params for _ in range(2)]
    killed = opened("killed")
    killed.study.ask()  # begun, and killed before any value was drawn
    killed.study.ask({"lr": killed.distributions["lr"]})  # and after the first one
    assert opened("killed").propose().params == wanted[0]
    killed = opened("killed")  # killed with an open trial, which waits in the queue now
    killed.study.ask()  # taken from it, and killed before its values were set again
    again = opened("killed").propose()
    assert again.params == wanted[0]
    # Killed after the next start had queued it, before it was closed: it is not queued a second time.
    killed.study.enqueue_trial(again.params, user_attrs={"again": str(again.number)})
    killed = opened("killed")
    assert [killed.propose().params for _ in range(2)] == wanted


def test_trials_that_fall_behind_are_stopped(tmp_path):
    """From the sixth on, whoever is under the median of those that ended, after the first epoch already."""
    assert start(tmp_path / "out", searched(epochs=12, sleep=0.03), 9) == 0
    ended: list[float] = []
    for row in rows(tmp_path / "out"):
        first = held_out(float(row["lr"]), 1)
        behind = len(ended) >= 5 and first < statistics.median(ended)
        assert row["state"] == ("pruned" if behind else "complete")
        assert (tmp_path / "out/runs" / row["run"] / "eval.json").exists() != behind
        ended += [] if behind else [first]
    assert 5 <= len(ended) < 9


@pytest.mark.parametrize(
    "ranges, message",
    [
        ({"lr": {"low": 1.0, "high": 0.1}}, "low should be less than high"),
        ({"lr": {"low": 0.0, "high": 0.1, "log": True}}, "should lie above 0"),
        ({"lr": {"low": 0.1}}, "either low and high, or choices"),
        ({"lr": {"choices": [1, 2], "log": True}}, "choices exclude low"),
        ({"lr": {"lowest": 1}}, "--search.ranges.lr: unknown key 'lowest'; check its spelling$"),
        (
            {"init": {"choices": ["a", "b"]}},
            "search.ranges.init: a search can't vary this flag of training second",
        ),
    ],
)
def test_ranges_that_can_not_be_meant(ranges, message):
    with pytest.raises(UserError, match=message):
        searched(ranges)


def test_searches_that_can_not_be_made(tmp_path):
    def mistake(wanted, **changes):
        with pytest.raises(UserError) as error:
            start(tmp_path / "out", wanted, 1, **changes)
        return str(error.value)

    assert "unknown key 'rate'" in mistake(searched({"rate": {"low": 1, "high": 2}}))
    begun = time.monotonic()
    assert "nothing answers at 127.0.0.1:9" in mistake(searched(), storage="postgresql://127.0.0.1:9/trials")
    assert "can't be opened" in mistake(searched(), storage="nonsense")
    assert "can't be opened" in mistake(searched(), storage=f"sqlite:///{tmp_path}/none/trials.db")
    assert time.monotonic() - begun < 10
