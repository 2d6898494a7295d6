"""What is learned about time from short trainings."""

from pathlib import Path

import pytest

from grids.progress import EpochTimes, describe_time
from grids.rehearse import EPOCHS, choose_rehearsals, run_rehearsals, seconds_of_epoch
from grids.run import Run
from tests.support.fakes import CHAIN, SETTINGS, plan, recipe, workers

# Kinds are told apart by their network among others; fakes have no other setting of these than amp.
OTHER = CHAIN[3] | {"settings": SETTINGS | {"lr": 0.3, "amp": "bf16"}}
WANTED = recipe(*CHAIN[:3], OTHER, seeds=(0, 1, 2))


def short_runs(out: Path) -> list[Run]:
    return list(plan(out, WANTED.replace(seeds=(0,)), max_epochs=EPOCHS).runs.values())


def ten_times(run: Run, side: str) -> float:
    return 10.0


def test_one_of_each_unknown_kind_is_rehearsed_and_its_parents(tmp_path):
    real = list(plan(tmp_path / "out", WANTED).runs.values())
    short, times = short_runs(tmp_path / "short"), EpochTimes()
    named = [run.training.name for run in choose_rehearsals(real, times, short)]
    assert named == ["first", "second", "third", "alone"], "the last of a kind, and its parents"
    times.add(real[0], 7.0, 1)
    assert [run.training.name for run in choose_rehearsals(real, times, short)] == ["alone"]
    later = recipe(*CHAIN[:2], CHAIN[2] | {"settings": SETTINGS | {"amp": "bf16"}})
    real = list(plan(tmp_path / "out", later).runs.values())
    short = list(plan(tmp_path / "short", later, max_epochs=EPOCHS).runs.values())
    named = [run.training.name for run in choose_rehearsals(real, times, short)]
    assert named == ["first", "second", "third"], "the last is the new kind"


def test_the_estimate_is_what_the_rehearsal_took_times_what_the_whole_has(tmp_path, capsys):
    """An epoch of the fakes takes half a second by their metrics; 12 runs of 3 epochs, at ten times."""
    real = list(plan(tmp_path / "out", WANTED).runs.values())
    short, times = short_runs(tmp_path / "short"), EpochTimes()
    chosen = choose_rehearsals(real, times, short)
    for run in chosen:
        run.folder.mkdir(parents=True)
        (run.folder / "last.pt").touch()
    assert run_rehearsals(chosen, times, workers(tmp_path / "short"), ten_times)
    assert times.total(real) == (pytest.approx(12 * 3 * 0.5 * 10), 0)
    assert describe_time(real, times, 2) == "time: about 2 min with 2 at a time"
    said = capsys.readouterr().out
    assert "rehearsed  first: an epoch will take about 5.0 s" in said
    assert not list((tmp_path / "short").glob("runs/*/last.pt")), "weights that nobody needs are gone"


def test_one_that_fails_is_named_and_its_time_stays_unknown(tmp_path, capsys):
    fire = tmp_path / "fire"
    fire.touch()
    burning = recipe({"name": "one", "settings": SETTINGS | {"fail": str(fire)}}, OTHER)
    real = list(plan(tmp_path / "out", burning).runs.values())
    short, times = list(plan(tmp_path / "short", burning, max_epochs=EPOCHS).runs.values()), EpochTimes()
    chosen = choose_rehearsals(real, times, short)
    assert not run_rehearsals(chosen, times, workers(tmp_path / "short"), ten_times)
    assert "failed     one: error: the kitchen is on fire" in capsys.readouterr().out
    assert (
        describe_time(real, times, 1) == "time: about 15 s with 1 at a time, and 1 runs whose time is unknown"
    )


METRICS = """epoch,split,accuracy,seconds
1,train,50,9.0
1,test,40,9.0
3,train,60,1.5
3,{split},45,0.5
"""


@pytest.mark.parametrize(
    "split, every, seconds",
    [("test", 1, 3 * 1.5 + 7 * 0.5), ("test", 4, 3 * 1.5 + 7 * 0.5 / 4), ("val", 1, 3 * 2)],
)
def test_the_last_epoch_counts_and_each_side_by_its_own_clips(tmp_path, split, every, seconds):
    wanted = recipe({"name": "one", "settings": SETTINGS | {"eval_every": every}})
    (run,) = plan(tmp_path, wanted, max_epochs=EPOCHS).runs.values()
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.csv").write_text(METRICS.format(split=split))
    assert seconds_of_epoch(run, lambda run, side: {"train": 3.0, "test": 7.0}[side]) == seconds
