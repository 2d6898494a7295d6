"""Runs a schedule before someone's eyes: shows what happens, stops when asked to, says what failed."""

import sys
from collections.abc import Callable

from core.processes import StopRequest
from core.run_dir import RunDirectory
from grids.board import Board
from grids.process import last_line
from grids.progress import Paces
from grids.schedule import Schedule, Watcher

Drive = Callable[[Watcher, Callable[[], bool]], None]
"""Runs a schedule: tells a watcher what happens, and asks now and then whether to stop."""


def attend(schedule: Schedule, paces: Paces, drive: Drive) -> int:
    """Have a schedule run.

    Returns:
        0 when all is done, 1 with failures, 130 when it was stopped.
    """
    board = Board(schedule, paces, sys.stdout)
    with StopRequest() as stop:
        drive(board, lambda: stop.made)
    board.close()
    _report_failures(schedule)
    if stop.made:
        print("stopped; the same command goes on")
        return 130
    return 1 if schedule.failed else 0


def _report_failures(schedule: Schedule) -> None:
    for run in schedule.failed.values():
        print(f"failed: {run.training.where}, seed {run.config.seed}: {last_line(run.folder)}")
        print(f"    {RunDirectory(run.folder).log}")
    if schedule.failed:
        waits = f" and {len(schedule.waiting)} that build upon them" if schedule.waiting else ""
        print(f"{len(schedule.failed)} failed{waits}; the same command tries them again")
