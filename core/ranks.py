"""One training in several processes, which torchrun starts: each computes its part of every batch.

Written out rather than wrapped: a batch's loss is a mean over its items, so the sum of the processes' losses,
each times its share of the items, is the loss of one process, and the sum of the gradients is its gradient.
Parameters keep their names, and nothing happens where there is one process.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from core.errors import UserError
from core.seeding import DeviceName, choose_device
from core.task import Batch

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class World:
    """The processes of a training.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
        counts: Whether the batch that this process computes counts; see `side_by_side`.
    """

    rank: int = 0
    size: int = 1
    counts: bool = True

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Take this process's items: every size-th, so that parts of a batch differ by one at most."""
        return items[self.rank :: self.size]

    def batch_size(self, of_all: int) -> int:
        """Give the size of this process's part of a whole batch.

        Raises:
            UserError: The processes can't have equal parts.
        """
        if of_all % self.size:
            raise UserError(
                f"--batch-size {of_all} is for all {self.size} processes together and can't be divided among "
                f"them; choose a multiple of {self.size}, or another number of processes"
            )
        return of_all // self.size

    def wait(self) -> None:
        """Wait until every process is here."""
        self.total(0.0)

    def total(self, *values: float) -> list[float]:
        """Add numbers up over the processes."""
        if self.size == 1:
            return list(values)
        added = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(added)
        return added.tolist()

    def gather(self, value: T) -> list[T]:
        """Give every process's value to all, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def side_by_side(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
        """Give this process's part of each whole batch, and its share of the items.

        The last batch of an epoch may have fewer items than there are processes. Who has none of it computes
        its batch before once more, as share 0, since the others wait for it wherever numbers are added up.
        """
        batch: Batch | None = None
        while True:
            following = next(batches, None)
            mine = 0 if following is None else len(following["clip"])
            (everyones,) = self.total(mine)
            if not everyones:
                return
            batch = batch if following is None else following
            if batch is None:
                raise UserError(
                    f"there are fewer clips to learn from than the {self.size} processes; start fewer"
                )
            self.counts = mine > 0
            yield batch, mine / everyones

    def add_gradients(self, model: nn.Module) -> None:
        """Add up the gradients of all processes."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None] if self.size > 1 else []
        for same in _by_kind(gradients):
            joined = torch.cat([gradient.flatten() for gradient in same])
            dist.all_reduce(joined)
            for gradient, added in zip(same, torch.split(joined, [g.numel() for g in same]), strict=True):
                gradient.copy_(added.view_as(gradient))

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the first one's parameters and statistics."""
        if self.size > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.data, src=0)


def _by_kind(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    for kind in dict.fromkeys((tensor.dtype, tensor.device) for tensor in tensors):
        yield [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]


_world = World()
_trainings = count()


def world() -> World:
    """Give the processes of the training that runs; one outside of `data_parallel`."""
    return _world


class _Trains(Protocol):
    @property
    def device(self) -> DeviceName: ...
    @property
    def batch_size(self) -> int: ...


C = TypeVar("C", bound=_Trains)


def data_parallel(main: Callable[[C], R]) -> Callable[[C], R]:
    """Make a training script's main one training, however many processes torchrun starts it in."""

    @wraps(main)
    def started(config: C) -> R:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return main(config)
        with _joined(config.device):
            world().batch_size(config.batch_size)  # refused before anything is written
            return main(config)

    return started


@contextmanager
def _joined(device: DeviceName) -> Iterator[None]:
    """Join the processes; of those that fail, the first says why and the others leave in silence."""
    global _world
    store, rank, size = next(rendezvous("env://"))
    store = PrefixStore(f"training {next(_trainings)}", store)  # one process may train several times
    stdout = sys.stdout
    try:
        backend = _choose_backend(device)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        _world = World(rank, size)
        if rank:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
        yield
        _world.wait()
        dist.destroy_process_group()
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends who is left; this one leaves
        if store.add("failed", 1) > 1:
            raise SystemExit(1) from None
        raise
    finally:
        _world, sys.stdout = World(), stdout


def _choose_backend(device: DeviceName) -> str:
    """Choose this process's GPU where there are any; what is counted on the CPU goes by gloo in any case.

    Raises:
        UserError: There are fewer GPUs than processes on this machine.
    """
    if choose_device(device).type == "cpu":
        return "gloo"
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= there:
        raise UserError(
            f"torchrun starts more than {there} processes, and this machine has {there} GPUs; "
            f"use --nproc-per-node {there}"
        )
    torch.cuda.set_device(number)
    return "cpu:gloo,cuda:nccl"
