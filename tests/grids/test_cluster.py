"""A grid on a real cluster of separate processes, one machine of which is lost on the way."""

import socket
import threading
import time
from pathlib import Path

import pytest

from core.errors import UserError
from grids.progress import EpochTimes, run_with_progress
from grids.run import Schedule, Workers, grid_lock
from tests.support.fakes import CHAIN, SETTINGS, plan, recipe, results, workers

ray = pytest.importorskip("ray")
ROOT = Path(__file__).resolve().parents[2]
ONE_CPU = {"CPU": 1.0, "GPU": 0.0}
SLOW = [t | {"settings": SETTINGS | t.get("settings", {}) | {"epochs": 12, "sleep": 0.25}} for t in CHAIN]
WANTED = recipe(*SLOW, seeds=(0, 1))


def start(out: Path, workers: Workers) -> int:
    runs = plan(out, WANTED).runs.values()
    with grid_lock(out):
        return run_with_progress(Schedule(runs), workers, EpochTimes())


@pytest.mark.stress
def test_a_lost_machine_costs_time_and_nothing_else(tmp_path):
    """A head without room for runs and two machines with two CPUs each, on loopback."""
    from ray.cluster_utils import Cluster

    from grids.cluster import RayWorkers

    out = tmp_path / "out"
    assert start(tmp_path / "whole", workers(out, 4)) == 0
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8})
    machines = [cluster.add_node(num_cpus=2, object_store_memory=10**8) for _ in range(2)]
    on_cluster = RayWorkers(tmp_path / "code", cluster.address, ONE_CPU)
    assert on_cluster.free_slots() == 4

    def lose_a_machine() -> None:
        while len(list(out.glob("runs/*/metrics.csv"))) < 3:
            time.sleep(0.1)
        cluster.remove_node(machines[0], allow_graceful=False)

    killer = threading.Thread(target=lose_a_machine)
    killer.start()
    try:
        assert start(out, on_cluster) == 0
    finally:
        killer.join()
        ray.shutdown()
        cluster.shutdown()
    assert results(out) == results(tmp_path / "whole") and len(results(out)) == 16
    starts = [path.read_text().splitlines() for path in out.glob("runs/*/starts.txt")]
    assert sum(map(len, starts)) > len(starts), "the machine was lost with runs on it"
    assert any(int(line.split()[1]) > 1 for lines in starts for line in lines), "and they went on"
    assert all(len(path.read_text().splitlines()) == 1 for path in out.glob("runs/*/ends.txt"))


@pytest.mark.stress
def test_an_address_where_something_else_answers():
    from grids.cluster import RayWorkers

    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(UserError, match="is not a Ray cluster"):
            RayWorkers(ROOT, f"127.0.0.1:{server.getsockname()[1]}", ONE_CPU)
    assert time.monotonic() - begun < 31


@pytest.mark.parametrize(
    "address, message",
    [("127.0.0.1:9", "--address: nothing answers at 127.0.0.1:9"), ("nowhere", "should look like HOST:PORT")],
)
def test_an_address_where_nobody_is(address, message):
    from grids.cluster import RayWorkers

    begun = time.monotonic()
    with pytest.raises(UserError, match=message):
        RayWorkers(ROOT, address, ONE_CPU)
    assert time.monotonic() - begun < 11
