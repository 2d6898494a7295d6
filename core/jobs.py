"""Pieces of work that do not know of each other, spread over processes or over a cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from core.config import Config
from core.errors import UserError
from core.processes import become_worker

W = TypeVar("W")
R = TypeVar("R")


class SpreadConfig(Config):
    """Flags that say where pieces of work are done."""

    jobs: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Processes, each of which works on a piece of its own."""
    engine: Literal["local", "ray"] = "local"
    """ray: spread the pieces over a Ray cluster whose machines share the disk, a CPU for each (needs
    requirements-extras.txt)."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the head of a cluster, which has 30 seconds to answer; left out, one of
    this machine alone is made."""

    @model_validator(mode="after")
    def _address_of_a_cluster(self) -> Self:
        if self.address is not None and self.engine != "ray":
            raise ValueError("--address needs --engine ray")
        return self


def spread(task: Callable[[W], R], work: Sequence[W], where: SpreadConfig) -> Iterator[tuple[W, R]]:
    """Do every piece of work; gives pieces and results in the order in which they are ready.

    A piece may be begun twice when a machine is lost, so it should leave whole files or none.

    Args:
        task: Does a piece; can be pickled, and so can what it takes and gives.
        work: The pieces.
        where: Processes or cluster.

    Raises:
        UserError: A process was killed, or the cluster can't be reached.
    """
    if where.engine == "ray":
        return _on_cluster(task, work, where.address)
    if where.jobs == 1 or len(work) < 2:
        return ((piece, task(piece)) for piece in work)
    return _in_processes(task, work, where.jobs)


def _in_processes(task: Callable[[W], R], work: Sequence[W], jobs: int) -> Iterator[tuple[W, R]]:
    processes = min(jobs, len(work))
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=become_worker, initargs=(os.getpid(),)) as pool:
        futures = {pool.submit(task, piece): piece for piece in work}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise UserError("a process was killed, maybe for want of memory; try fewer --jobs") from None
        except (KeyboardInterrupt, GeneratorExit):
            for process in active_children():  # a piece may take minutes, and nobody waits for it any more
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(task: Callable[[W], R], work: Sequence[W], address: str | None) -> Iterator[tuple[W, R]]:
    try:
        import ray

        from core.ray_cluster import RETRY_FOREVER, connect
    except ImportError as missing:
        raise UserError(f"--engine ray: {missing}; pip install -r requirements-extras.txt") from None
    connect(address)
    remote: Any = ray.remote(num_cpus=1, max_retries=RETRY_FOREVER)(_in_folder)
    pieces = {remote.remote(os.getcwd(), task, piece): piece for piece in work}
    try:
        while pieces:
            for ready in ray.wait(list(pieces))[0]:
                yield pieces.pop(ready), ray.get(ready)
    finally:
        ray.shutdown()


def _in_folder(folder: str, task: Callable[[W], R], piece: W) -> R:
    """Do a piece where paths are relative to the folder that they were given in."""
    os.chdir(folder)
    return task(piece)
