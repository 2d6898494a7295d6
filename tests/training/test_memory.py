"""Fifty epochs and a thousand evaluated clips leave memory, files and processes as they were."""

import gc
import multiprocessing
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch.utils.data import DataLoader

from core.task import Classification
from tests.support.processes import wait_until
from tests.support.toy import KEYS, Toy, batches, run
from training.evaluate import predict

GROWTH = 0.02


def resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def what_is_open() -> Counter[str]:
    """Count the open files, pipes and sockets of this process by kind."""
    found = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return Counter(re.sub(r"\d+", "", os.readlink(file)) for file in found if os.path.lexists(file))


def test_fifty_epochs_do_not_grow(tmp_path):
    seen = []

    def watch(epoch):
        if epoch in (11, 51):
            seen.append((resident_bytes(), open_files()))

    run(tmp_path / "warm", epochs=1)
    gc.collect()
    before, others = open_files(), set(multiprocessing.active_children())
    run(tmp_path / "run", epochs=51, at_epoch=watch)
    (warm, files), (end, files_then) = seen
    assert end < warm * (1 + GROWTH), f"{warm} bytes after 10 epochs, {end} after 50"
    gc.collect()
    assert files == files_then and open_files() == before
    assert set(multiprocessing.active_children()) <= others


def test_a_thousand_evaluated_clips_do_not_grow():
    task, every = Classification(Toy(), ("x",)), batches(torch.arange(24).numpy())
    gc.collect()
    for _ in range(5):
        predict(task, every, KEYS)
    warm, files = resident_bytes(), open_files()
    for _ in range(42):  # 1,008 clips
        predict(task, every, KEYS)
    assert resident_bytes() < warm * (1 + GROWTH) and open_files() == files


def load(stop: int | None) -> None:
    loader = DataLoader(list(range(16)), num_workers=2, persistent_workers=True, generator=torch.Generator())
    for number, _ in enumerate(loader):
        if number == stop:
            break
    assert len(multiprocessing.active_children()) == 2


def wait_until_settled(count: Callable[[], int]) -> None:
    """Count again until a fifth of a second changes nothing: threads close pipes after processes end."""
    seen = [count()]
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        time.sleep(0.02)
        seen.append(count())


def load_and_look(stop: int | None) -> None:
    gc.freeze()  # what lives on from the tests before need not be looked through again
    load(None)  # opens what every later one shares
    gc.collect()
    wait_until(lambda: multiprocessing.active_children() == [])
    wait_until_settled(open_files)
    files = what_is_open()
    load(stop)
    gc.collect()
    wait_until(lambda: multiprocessing.active_children() == [])
    wait_until_settled(open_files)
    assert what_is_open() == files


@pytest.mark.parametrize("stop", [None, 3])
def test_loading_processes_end_with_their_loader(stop):
    """Also of an epoch that is left in the middle; in a process without children of other tests."""
    gc.collect()  # what the tests before have left has to end in the process that it belongs to
    process = multiprocessing.get_context("fork").Process(target=load_and_look, args=(stop,))
    process.start()
    process.join()
    assert process.exitcode == 0
