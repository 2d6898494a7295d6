"""What a grid says while it runs."""

import io
from pathlib import Path

from grids.board import Board
from grids.progress import Paces
from grids.schedule import Schedule
from tests.support.fakes import CHAIN, plan, recipe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def begun(out: Path, stream: io.StringIO) -> tuple[Board, Schedule]:
    """A grid whose first run is at its first epoch of three, an epoch taking 100 seconds."""
    schedule = Schedule(plan(out, recipe(*CHAIN)).runs.values())
    board = Board(schedule, Paces([]), stream)
    first = schedule.ready[0]
    schedule.start(first)
    board.started(first)
    first.folder.mkdir(parents=True)
    (first.folder / "metrics.csv").write_text("epoch,split,accuracy,seconds\n1,train,9,70\n1,test,41.25,30\n")
    return board, schedule


def test_a_terminal_shows_how_far_runs_are(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    board, schedule = begun(tmp_path, stream)
    name = next(iter(schedule.running.values())).name
    board.refresh()
    shown = stream.getvalue().rpartition("\033[K")[2]
    assert shown == f"1 running, 3 waiting: {name} epoch 1/3 41.2 %, 3 min left"
    monkeypatch.setenv("COLUMNS", "12")
    board._next = 0
    board.refresh()
    assert stream.getvalue().rpartition("\033[K")[2] == "1 running, "
    board.close()
    assert stream.getvalue().endswith("\r\033[K")


def test_a_file_gets_a_line_for_every_change(tmp_path):
    stream = io.StringIO()
    board, schedule = begun(tmp_path, stream)
    first = next(iter(schedule.running.values()))
    board.refresh()
    (first.folder / "log.txt").write_text("Traceback\nMemoryError: no room\n")
    schedule.end(first, finished=False)
    board.ended(first, finished=False)
    alone = schedule.ready[0]
    schedule.start(alone)
    board.started(alone)
    (alone.folder).mkdir()
    (alone.folder / "metrics.csv").write_text("epoch,split,accuracy,seconds\n3,test,50,30\n")
    schedule.end(alone, finished=True)
    board.ended(alone, finished=True)
    assert stream.getvalue().splitlines() == [
        f"started {first.name}",
        f"failed  {first.name}: MemoryError: no room",
        f"started {alone.name}",
        f"done    {alone.name}: 50.0 % after 0 s; 1 done, 1 failed, 2 waiting",
    ]
