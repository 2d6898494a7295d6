"""Progress in a file: lines of their own, every few seconds; nothing of what is done at once."""

import io
import multiprocessing
import os
import re
import signal
import sys
import time

import pytest
from tqdm import tqdm

from core import progress


def errors_in_a_file(monkeypatch, every_sec):
    monkeypatch.setattr(progress, "LINE_EVERY_SEC", every_sec)
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    return file


def test_slow_work_writes_whole_lines(monkeypatch):
    file = errors_in_a_file(monkeypatch, 0.02)
    with progress.progress_bar(total=8, title="stage 1", unit="step", initial=2) as bar:
        for _ in range(6):
            time.sleep(0.025)
            bar.set_postfix(loss="1.5", refresh=False)
            bar.update(1)
            list(progress.progress_bar(range(2), title="within", unit="batch"))
    lines = file.getvalue().splitlines()
    pattern = r"stage 1: (\d) of 8, 00:00 gone, 00:00 left, .*step.*, loss=1\.5"
    counts = [int(found[1]) for line in lines if (found := re.fullmatch(pattern, line))]
    assert len(counts) == len(lines) > 2 and counts == sorted(set(counts)) and "\r" not in file.getvalue()


def test_a_process_that_is_killed_while_it_draws_stops_no_other():
    list(progress.progress_bar(range(2), title="before", unit="step", shown=False))

    def draw():
        with tqdm.get_lock():
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=draw)
    child.start()
    child.join()
    assert tqdm.get_lock().acquire(timeout=5), "its lock was ours"
    tqdm.get_lock().release()


@pytest.mark.parametrize("shown, every_sec", [(True, 60.0), (False, 0.0)])
def test_quick_or_hidden_work_writes_nothing(monkeypatch, shown, every_sec):
    file = errors_in_a_file(monkeypatch, every_sec)
    assert list(progress.progress_bar(range(3), title="t", unit="u", shown=shown)) == [0, 1, 2]
    assert file.getvalue() == ""
