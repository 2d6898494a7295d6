"""Independent pieces of work, done by processes of this machine or by a Ray cluster."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.processes import become_worker

W = TypeVar("W")
R = TypeVar("R")


class SpreadConfig(Config):
    """Flags that say where the pieces of work are done."""

    GROUPS: ClassVar[dict[str, str]] = {"speed": "jobs engine address"}

    jobs: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, json_schema_extra=COSTS_MEMORY)
    """Processes, each of which does one piece at a time."""
    engine: Literal["local", "ray"] = "local"
    """ray: spread the pieces over a Ray cluster whose machines share the disk, one CPU a piece (needs
    requirements-extras.txt)."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the cluster's head, which has 30 seconds to answer; left out, a cluster
    of this machine alone is made."""

    @model_validator(mode="after")
    def _address_of_a_cluster(self) -> Self:
        if self.address is not None and self.engine != "ray":
            raise ValueError("--address needs --engine ray")
        return self


def spread(task: Callable[[W], R], work: Sequence[W], where: SpreadConfig) -> Iterator[tuple[W, R]]:
    """Do every piece of work; yields pieces and their results in the order in which they are ready.

    A piece is done again if a cluster loses its machine, so it should leave complete files or none.

    Args:
        task: Does a piece; task, pieces and results can be pickled.
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
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    parallel = Parallel(
        min(jobs, len(work)), backend="loky", return_as="generator_unordered", batch_size=1, max_nbytes=None,
        initializer=become_worker, initargs=(os.getpid(),),
    )  # fmt: skip
    results = parallel(delayed(_numbered)(task, *piece) for piece in enumerate(work))
    try:
        for number, result in results:
            yield work[number], result
    except BrokenProcessPool:
        raise UserError("a process was killed, maybe for lack of memory; try fewer --jobs") from None
    finally:
        with warnings.catch_warnings(action="ignore"):  # of pieces that nobody waits for after an error
            results.close()
        # joblib would keep its processes, and a piece that was begun may take minutes.
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def _numbered(task: Callable[[W], R], number: int, piece: W) -> tuple[int, R]:
    return number, task(piece)


def _on_cluster(task: Callable[[W], R], work: Sequence[W], address: str | None) -> Iterator[tuple[W, R]]:
    from core.ray_cluster import RETRY_FOREVER, connect

    try:
        import ray
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
    os.chdir(folder)  # relative paths mean those of the machine that gave the command
    return task(piece)


@contextmanager
def repeatable_opencv() -> Iterator[None]:
    """Make OpenCV compute the same bits in every process: on one thread, without rounding denormals to zero.

    A piece of work has one core anyway, and how OpenCV divides sums among threads is not documented. Flow by
    Farnebäck changes slightly when the processor rounds numbers under 1e-38 to zero, as the training scripts
    make it do. Earlier settings are restored at the end. Also a decorator.
    """
    import cv2

    threads, flushed = cv2.getNumThreads(), denormals_are_flushed()
    cv2.setNumThreads(1)
    if flushed:
        _flush_denormals(False)
    try:
        yield
    finally:
        if flushed:
            _flush_denormals(True)
        cv2.setNumThreads(threads)


def denormals_are_flushed() -> bool:
    """Say whether the processor rounds denormal numbers to zero in this thread."""
    return sys.float_info.min / 2 == 0


def _flush_denormals(wanted: bool) -> None:
    import torch  # takes seconds to load; where the mode was changed, it is loaded already

    torch.set_flush_denormal(wanted)
