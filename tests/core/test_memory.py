"""What is free is the least of the machine's memory and of every limit above this process."""

import pytest
import torch

from core.memory import Room, Want, free_on, free_ram

KIB = 1024


def write(root, contents):
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}
TWO = MACHINE | {
    "proc/self/cgroup": "0::/jobs/mine\n",
    "sys/fs/cgroup/jobs/mine/memory.max": "max\n",
    "sys/fs/cgroup/jobs/mine/memory.current": "7\n",
    "sys/fs/cgroup/jobs/memory.max": f"{4000 * KIB}\n",
    "sys/fs/cgroup/jobs/memory.current": f"{3000 * KIB}\n",
    "sys/fs/cgroup/jobs/memory.stat": f"anon 5\ninactive_file {500 * KIB}\n",
}
ONE = MACHINE | {
    "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/7\n",
    # In a container the process's own folder is the top one.
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2000 * KIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{1200 * KIB}\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
}
FULL = ONE | {"sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2001 * KIB}\n"}


@pytest.mark.parametrize("contents,kib", [(MACHINE, 5000), (TWO, 1500), (ONE, 800), (FULL, 0)])
def test_free_ram(tmp_path, contents, kib):
    assert free_ram(write(tmp_path, contents)) == kib * KIB


def test_ranks_of_a_machine_share_it(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert 0 <= free_on(torch.device("cpu")) < free_ram() / 500


def test_what_others_have_taken_counts_under_a_limit_that_was_asked_for(capsys):
    block = [Want((2**20,))]
    for shared, there in ((2**20, True), (2**20 + 1, False)):
        room = Room(2 * 2**20 / 2**30, torch.device("cpu"))
        room.share(shared)
        assert (room.take("frames", block) is not None) == there
    first, second = capsys.readouterr().out.splitlines()
    assert first == "resident: 1.0 MiB of frames in RAM" and "of RAM there is 1.0 MiB for it" in second
