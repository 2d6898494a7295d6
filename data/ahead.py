"""Work done ahead by threads: images decoded, and batches made while the one before is used."""

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.memory import local_ranks
from core.progress import progress_bar
from core.ranks import ONE, Ranks


class Readable(Protocol):
    """Images that one thread decodes at once."""

    def read(self) -> Tensor:
        """Decode them."""


P = TypeVar("P", bound=Readable)
K = TypeVar("K")


def made_ahead(
    keys: Iterable[K],
    begin: Callable[[K, ThreadPoolExecutor | None], Callable[[], dict[str, Tensor]]],
    threads: int,
) -> Iterator[dict[str, Tensor]]:
    """Make batches of keys, each while the one before is used.

    Args:
        keys: The keys of each batch.
        begin: Begins a batch in the threads that it is given, and returns what waits for it.
        threads: Number of threads; 0 makes a batch when it is asked for.
    """
    with ThreadPoolExecutor(threads) if threads else nullcontext() as pool:
        waiting = deque[Callable[[], dict[str, Tensor]]]()
        for of_batch in keys:
            waiting.append(begin(of_batch, pool))
            if len(waiting) > (threads > 0):
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def decoded(pieces: Sequence[P], images: Sequence[int], ranks: Ranks = ONE) -> Iterator[tuple[P, Tensor]]:
    """Read pieces on all cores and yield them in order; few wait in memory at a time.

    Args:
        pieces: What is read.
        images: Number of images in each, for the progress bar.
        ranks: The processes of the training; those of one machine divide its cores.
    """
    threads = max(1, min(16, len(os.sched_getaffinity(0)) // local_ranks()))
    waiting = deque[tuple[P, int, Future[Tensor]]]()
    with (
        ThreadPoolExecutor(threads) as pool,
        progress_bar(total=sum(images), title="reading images", unit="image", shown=ranks.first) as bar,
    ):
        coming = zip(pieces, images, strict=True)
        while True:
            for piece, count in islice(coming, 2 * threads - len(waiting)):
                waiting.append((piece, count, pool.submit(piece.read)))
            if not waiting:
                return
            piece, count, found = waiting.popleft()
            yield piece, found.result()
            bar.update(count)


class Buffers:
    """Memory of batches on the CPU, used again when nothing refers to a batch any more.

    Fresh memory costs the kernel as much time as the crops that go there.
    """

    def __init__(self) -> None:
        self._free: dict[Any, list[npt.NDArray[Any]]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor of any values."""
        free = self._free.setdefault((shape, dtype), [])
        memory = free.pop() if free else np.empty(shape, np.uint8 if dtype == torch.uint8 else np.float32)
        lent = memory.view()  # which the storage of the tensor, and of every view of it, keeps alive
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent)
