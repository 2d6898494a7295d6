"""What starts when, what a failure holds up, and what a kill leaves: with trainings that take no time."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import release_lock, take_lock
from grids.local import start_process
from grids.progress import EpochTimes, run_with_progress
from grids.recipe import Recipe
from grids.run import Run, Schedule, grid_lock
from tests.support.fakes import CHAIN, SETTINGS, code, plan, recipe, results, runs_of, workers
from tests.support.processes import children, gone, wait_until


def start(out: Path, wanted: Recipe, jobs: int = 2, gpus: tuple[str, ...] = ()) -> int:
    """What grid.py does after planning; gives its exit status."""
    runs = plan(out, wanted).runs.values()
    with grid_lock(out):
        return run_with_progress(Schedule(runs), workers(out, jobs, gpus), EpochTimes(runs))


def times(run: Run, what: str) -> list[float]:
    return [float(line.split()[0]) for line in (run.folder / f"{what}.txt").read_text().splitlines()]


def test_children_follow_their_parents_and_no_more_run_than_may(tmp_path):
    wanted = recipe(*CHAIN, seeds=(0, 1, 2))
    assert start(tmp_path / "out", wanted, jobs=2) == 0
    made = runs_of(tmp_path / "out", wanted)
    assert len(made) == 12 and all(run.done for run in made.values())
    spans = {name: (times(run, "starts")[0], times(run, "ends")[0]) for name, run in made.items()}
    for seed in range(3):
        assert spans[f"first{seed}"][1] < spans[f"second{seed}"][0]
        assert spans[f"second{seed}"][1] < spans[f"third{seed}"][0]
    at_once = [sum(a <= begun < b for a, b in spans.values()) for begun, _ in spans.values()]
    assert max(at_once) <= 2
    assert start(tmp_path / "out", wanted) == 0
    assert all(len(times(run, "starts")) == 1 for run in made.values()), "nothing is repeated"


def test_a_failure_holds_up_what_starts_from_it_and_is_retried(tmp_path, capsys):
    fire = tmp_path / "fire"
    fire.touch()
    changed = [dict(training) for training in CHAIN]
    changed[1]["settings"] = SETTINGS | {"fail": str(fire)}
    wanted = recipe(*changed)
    assert start(tmp_path / "out", wanted) == 1
    made = runs_of(tmp_path / "out", wanted)
    assert {name: run.done for name, run in made.items()} == {
        "first0": True, "second0": False, "third0": False, "alone0": True
    }  # fmt: skip
    assert not made["third0"].folder.exists()
    said = capsys.readouterr().out
    assert "training second (row 'second'), seed 0: error: the kitchen is on fire" in said
    assert str(made["second0"].folder / "log.txt") in said and "1 failed and 1 that start from them" in said
    fire.unlink()
    assert start(tmp_path / "out", wanted) == 0
    starts = {name: len(times(run, "starts")) for name, run in made.items()}
    assert starts == {"first0": 1, "second0": 2, "third0": 1, "alone0": 1}
    log = (made["second0"].folder / "log.txt").read_text()
    assert log.count("train_fake.py --lr 0.1") == 2 and "on fire" in log, "a log keeps earlier starts"


def test_cores_and_gpus_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    wanted = recipe({"name": "many", "row": "many", "settings": SETTINGS | {"sleep": 0.1}}, seeds=range(6))
    assert start(tmp_path / "out", wanted, jobs=3, gpus=("2", "5")) == 0
    lines = [path.read_text().split()[2:] for path in (tmp_path / "out").glob("runs/*/starts.txt")]
    assert {threads for threads, _ in lines} == {"2"}
    assert sorted(gpu for _, gpu in lines) == ["2"] * 4 + ["5"] * 2


def in_another_process(out: Path, wanted: Recipe) -> multiprocessing.Process:
    """Start a grid that can be killed; it is forked, since importing torch again would take seconds."""
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(start(out, wanted)))
    process.start()
    return process


SLOW = [
    training | {"settings": SETTINGS | training.get("settings", {}) | {"sleep": 0.05}} for training in CHAIN
]


def kill_while_running(out: Path, wanted: Recipe, kills: int) -> None:
    """Start a grid and kill it at a random moment after it has started a run, again and again."""
    lot = random.Random(0)

    def starts() -> int:
        return sum(len(path.read_text().splitlines()) for path in out.glob("runs/*/starts.txt"))

    for _ in range(kills):
        before, process = starts(), in_another_process(out, wanted)
        wait_until(lambda before=before, process=process: starts() > before or not process.is_alive())
        process.join(lot.uniform(0, 0.2))
        process.kill()
        process.join()


def test_a_grid_killed_at_random_moments_ends_as_one_that_was_not(tmp_path, stress):
    wanted = recipe(*SLOW, seeds=(0, 1))
    assert start(tmp_path / "whole", wanted) == 0
    kill_while_running(tmp_path / "killed", wanted, kills=40 if stress else 4)
    assert start(tmp_path / "killed", wanted) == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert len(results(tmp_path / "whole")) == 16
    made = runs_of(tmp_path / "killed", wanted)
    assert sum(len(times(run, "starts")) for run in made.values()) > len(made), "the kills met running runs"
    assert all(len(times(run, "ends")) == 1 for run in made.values()), "a finished run is not repeated"


def test_runs_end_with_a_killed_grid(tmp_path):
    wanted = recipe({"name": "long", "row": "long", "settings": SETTINGS | {"epochs": 600, "sleep": 0.1}})
    process = in_another_process(tmp_path / "out", wanted)
    folder = runs_of(tmp_path / "out", wanted)["long0"].folder
    wait_until((folder / "metrics.csv").exists)
    begun = children(process.pid)
    assert len(begun) == 1
    process.kill()
    process.join()
    wait_until(lambda: gone(begun[0]), seconds=30)  # of the 60 it takes
    left = (folder / "metrics.csv").read_bytes()
    time.sleep(0.5)
    assert (folder / "metrics.csv").read_bytes() == left and left.count(b"\n") < 601


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_the_next_start_goes_on(tmp_path, number):
    settings = SETTINGS | {"epochs": 8, "sleep": 0.1}
    wanted = recipe({"name": "long", "row": "long", "settings": settings})
    process = in_another_process(tmp_path / "out", wanted)
    long = runs_of(tmp_path / "out", wanted)["long0"]
    wait_until((long.folder / "metrics.csv").exists)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 130 and not long.done
    epochs = len((long.folder / "metrics.csv").read_text().splitlines()) - 1
    assert 1 <= epochs < 8
    time.sleep(0.3)
    assert len((long.folder / "metrics.csv").read_text().splitlines()) - 1 == epochs, "it has stopped"
    assert start(tmp_path / "out", wanted) == 0 and long.done
    begun_at = [line.split()[1] for line in (long.folder / "starts.txt").read_text().splitlines()]
    assert begun_at == ["1", str(epochs + 1)]


def test_a_second_grid_is_refused_while_the_first_one_runs(tmp_path):
    with grid_lock(tmp_path / "out"):
        with pytest.raises(UserError, match="another grid is running in .*out"):
            start(tmp_path / "out", recipe(*CHAIN))
    assert start(tmp_path / "out", recipe(*CHAIN)) == 0


def test_a_run_waits_for_the_last_process_of_an_earlier_start(tmp_path):
    """A killed training that is busy with its GPU or its disk ends late, and holds its lock until then."""
    lock = take_lock(tmp_path / ".lock")
    words = ("train_fake.py", "--out", str(tmp_path), "--lr", "1", "--epochs", "1", "--seed", "0")
    process = start_process(code(tmp_path / "code"), words, tmp_path, {"OMP_NUM_THREADS": "1"})
    time.sleep(0.5)
    assert process.poll() is None and not (tmp_path / "starts.txt").exists()
    release_lock(lock)
    assert process.wait(60) == 0 and (tmp_path / "eval.json").exists()


def test_the_last_line_of_a_log(tmp_path):
    (run,) = plan(tmp_path, recipe({"name": "one"})).runs.values()
    assert run.last_log_line() == "it left no log"
    run.folder.mkdir(parents=True)
    run.log.write_text("started\nValueError: no\n\n")
    assert run.last_log_line() == "ValueError: no"
