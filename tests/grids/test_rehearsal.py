"""What is learned about time from short trainings."""

from dataclasses import replace
from pathlib import Path

import pytest

from grids.local import LocalWorkers
from grids.outline import estimate
from grids.progress import Paces, kind_of
from grids.rehearsal import EPOCHS, rehearse, seconds_of_epoch, unknown_runs
from grids.runs import Run
from tests.support.fakes import CHAIN, SETTINGS, code, plan, recipe

# Kinds are told apart by their network among others; fakes have no other setting of these than amp.
OTHER = CHAIN[3] | {"settings": SETTINGS | {"lr": 0.3, "amp": "bf16"}}
WANTED = recipe(*CHAIN[:3], OTHER, seeds=(0, 1, 2))


def short_runs(out: Path) -> list[Run]:
    return list(plan(out, WANTED.replace(seeds=(0,)), epochs=EPOCHS).runs.values())


def ten_times(run: Run, side: str) -> float:
    return 10.0


def test_one_of_each_unknown_kind_is_rehearsed_and_its_parents(tmp_path):
    real = list(plan(tmp_path / "out", WANTED).runs.values())
    short, paces = short_runs(tmp_path / "short"), Paces([])
    named = [run.training.name for run in unknown_runs(real, paces, short)]
    assert named == ["first", "second", "third", "alone"], "the last of a kind, and its parents"
    paces.note(real[0], 7.0, 1)
    assert [run.training.name for run in unknown_runs(real, paces, short)] == ["alone"]
    later = recipe(*CHAIN[:2], CHAIN[2] | {"settings": SETTINGS | {"amp": "bf16"}})
    real = list(plan(tmp_path / "out", later).runs.values())
    short = list(plan(tmp_path / "short", later, epochs=EPOCHS).runs.values())
    named = [run.training.name for run in unknown_runs(real, paces, short)]
    assert named == ["first", "second", "third"], "the last is the new kind"


def test_what_a_parent_decides_makes_another_kind(tmp_path):
    """A fake knows no frames of its own, as two streams do not."""
    wanted = recipe(CHAIN[0], CHAIN[1])
    first, second = plan(tmp_path, wanted).runs.values()
    assert kind_of(first) == kind_of(second)
    seven, sixteen = (
        replace(second, parents=(replace(first, decided={**first.decided, "frames": frames}),))
        for frames in (7, 16)
    )
    assert len({kind_of(run) for run in (second, seven, sixteen)}) == 3
    own = replace(sixteen, decided={**second.decided, "frames": 7})
    assert kind_of(own) == kind_of(seven)


def test_the_estimate_is_what_the_rehearsal_took_times_what_the_whole_has(tmp_path, capsys):
    """An epoch of the fakes takes half a second by their metrics; 12 runs of 3 epochs, at ten times."""
    real = list(plan(tmp_path / "out", WANTED).runs.values())
    short, paces = short_runs(tmp_path / "short"), Paces([])
    chosen = unknown_runs(real, paces, short)
    for run in chosen:
        run.folder.mkdir(parents=True)
        (run.folder / "last.pt").touch()
    assert rehearse(chosen, paces, LocalWorkers(code(tmp_path / "code"), 1), ten_times)
    assert paces.total(real) == (pytest.approx(12 * 3 * 0.5 * 10), 0)
    assert estimate(real, paces, 2) == "time: about 2 min with 2 at a time"
    said = capsys.readouterr().out
    assert "rehearsed  first: an epoch will take about 5.0 s" in said
    assert not list((tmp_path / "short").glob("runs/*/last.pt")), "weights that nobody needs are gone"


def test_one_that_fails_is_named_and_its_time_stays_unknown(tmp_path, capsys):
    fire = tmp_path / "fire"
    fire.touch()
    burning = recipe({"name": "one", "settings": SETTINGS | {"fail": str(fire)}}, OTHER)
    real = list(plan(tmp_path / "out", burning).runs.values())
    short, paces = list(plan(tmp_path / "short", burning, epochs=EPOCHS).runs.values()), Paces([])
    workers = LocalWorkers(code(tmp_path / "code"), 1)
    assert not rehearse(unknown_runs(real, paces, short), paces, workers, ten_times)
    assert "failed     one: error: the kitchen is on fire" in capsys.readouterr().out
    assert (
        estimate(real, paces, 1)
        == "time: about 15 s with 1 at a time and that of 1 runs which nothing here tells"
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
    (run,) = plan(tmp_path, wanted, epochs=EPOCHS).runs.values()
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.csv").write_text(METRICS.format(split=split))
    assert seconds_of_epoch(run, lambda run, side: {"train": 3.0, "test": 7.0}[side]) == seconds
