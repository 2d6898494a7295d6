"""What a grid shows: the plan, the time that is left, and what happens while it runs."""

import io
from dataclasses import replace
from pathlib import Path

from grids.progress import (
    EpochTimes,
    Progress,
    ProgressDisplay,
    describe_plan,
    describe_time,
    duration,
    kind_of,
)
from grids.run import Schedule
from tests.support.fakes import CHAIN, SETTINGS, plan, recipe, runs_of

METRICS = "epoch,split,accuracy,seconds\n1,train,50,1.5\n1,test,40,0.5\n2,train,60,1.5\n2,test,45,0.5\n"


def test_progress_and_the_time_that_is_left(tmp_path):
    wanted = recipe(*CHAIN, seeds=(0, 1))
    made = runs_of(tmp_path, wanted)
    first, second = made["first0"], made["second0"]
    assert Progress.of(first) == Progress(0, 0.0, {}) and Progress.of(first).accuracy == "not measured yet"
    assert EpochTimes(made.values()).total(made.values()) == (0.0, 8)
    text = describe_plan(plan(tmp_path, wanted), list(made.values()))
    assert text.endswith("8 runs: 8 to do, 0 done, 2 shared")
    assert describe_time(list(made.values()), EpochTimes(), 2).startswith("time: unknown")
    for run in (first, second):
        run.folder.mkdir(parents=True)
        (run.folder / "metrics.csv").write_text(METRICS)
    (first.folder / "eval.json").write_text("{}")
    found = Progress.of(second)
    assert (found.epoch, found.seconds, found.accuracies) == (2, 4.0, {1: 40.0, 2: 45.0})
    assert found.accuracy == "45.0 %"
    times = EpochTimes(made.values())
    assert times.seconds_left(second, found) == 2.0, "one epoch of three, at its own pace of 2 s"
    assert times.total([second, made["third0"]]) == (2.0 + 3 * 2.0, 0)
    lines = describe_plan(plan(tmp_path, wanted), list(made.values())).splitlines()
    assert lines[1:5] == [
        "├─ first: 1 to do, 1 done",
        "│  └─ second [second]: 2 to do",
        "│     └─ third [third]: 2 to do",
        "└─ alone [alone]: 2 to do",
    ]
    assert lines[5] == "8 runs: 7 to do, 1 done, 2 shared"
    said = describe_time(list(made.values()), times, 2)
    assert said == "time: about 19 s with 2 at a time", "(2 + 6 * 6) / 2 seconds"


def test_times_in_words():
    said = [duration(seconds) for seconds in (0.4, 29, 60, 3599, 3601, 86400 * 2 + 3 * 3600)]
    assert said == ["0 s", "29 s", "1 min", "1 h 0 min", "1 h 0 min", "2 d 3 h"]


def test_what_a_parent_decides_makes_another_kind(tmp_path):
    """A fake knows no frames of its own, as two streams do not."""
    first, second = plan(tmp_path, recipe(*CHAIN[:2])).runs.values()
    assert kind_of(first) == kind_of(second)
    seven, sixteen = (
        replace(second, parents=(replace(first, settings={**first.settings, "frames": frames}),))
        for frames in (7, 16)
    )
    assert len({kind_of(run) for run in (second, seven, sixteen)}) == 3
    own = replace(sixteen, settings={**second.settings, "frames": 7})
    assert kind_of(own) == kind_of(seven)


def test_a_setting_makes_another_kind_unless_it_leaves_the_time_as_it_is(tmp_path):
    one, *others = [
        *plan(
            tmp_path,
            recipe(
                {"name": "one"},
                {"name": "rate", "settings": SETTINGS | {"lr": 0.7, "milestones": [2]}},
                {"name": "network", "settings": SETTINGS | {"amp": "bf16"}},
                {"name": "batch", "settings": SETTINGS | {"batch_size": 3}},
            ),
        ).runs.values()
    ]
    assert [kind_of(run) == kind_of(one) for run in others] == [True, False, False]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def begun(out: Path, stream: io.StringIO, clock=lambda: 0.0) -> tuple[ProgressDisplay, Schedule]:
    """A grid whose first run is at its first epoch of three, an epoch taking 100 seconds."""
    schedule = Schedule(plan(out, recipe(*CHAIN)).runs.values())
    display = ProgressDisplay(schedule, EpochTimes(), stream, clock)
    first = schedule.ready[0]
    schedule.start(first)
    display.started(first)
    first.folder.mkdir(parents=True)
    (first.folder / "metrics.csv").write_text("epoch,split,accuracy,seconds\n1,train,9,70\n1,test,41.25,30\n")
    return display, schedule


def test_a_terminal_shows_how_far_runs_are(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream, now = Terminal(), [0.0]
    display, schedule = begun(tmp_path, stream, lambda: now[0])
    name = next(iter(schedule.running.values())).name
    display.refresh()
    shown = stream.getvalue().rpartition("\033[K")[2]
    assert shown == f"1 running, 3 waiting: {name} epoch 1/3 41.2 %, 3 min left"
    monkeypatch.setenv("COLUMNS", "12")
    now[0] = 0.9
    display.refresh()
    assert stream.getvalue().endswith(shown), "less than a second has passed"
    now[0] = 1.0
    display.refresh()
    assert stream.getvalue().rpartition("\033[K")[2] == "1 running, "
    display.close()
    assert stream.getvalue().endswith("\r\033[K")


def test_a_file_gets_a_line_for_every_change(tmp_path):
    stream = io.StringIO()
    display, schedule = begun(tmp_path, stream)
    first = next(iter(schedule.running.values()))
    display.refresh()
    (first.folder / "log.txt").write_text("Traceback\nMemoryError: no room\n")
    schedule.end(first, finished=False)
    display.ended(first, finished=False)
    alone = schedule.ready[0]
    schedule.start(alone)
    display.started(alone)
    (alone.folder).mkdir()
    (alone.folder / "metrics.csv").write_text("epoch,split,accuracy,seconds\n3,test,50,30\n")
    schedule.end(alone, finished=True)
    display.ended(alone, finished=True)
    assert stream.getvalue().splitlines() == [
        f"started {first.name}",
        f"failed  {first.name}: MemoryError: no room",
        f"started {alone.name}",
        f"done    {alone.name}: 50.0 % after 0 s; 1 done, 1 failed, 2 waiting",
    ]
