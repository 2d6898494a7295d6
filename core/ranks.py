"""One training in several processes ("ranks"), which torchrun starts: each computes its part of every batch.

A batch's loss is a mean over its items. So the ranks' losses, each weighted by its share of the items, add up
to the loss of one process, and the sum of their gradients is its gradient. `Ranks` is passed to whatever
divides work or writes files; in one process it is `ONE`, which sends and divides nothing.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from core.config import DeviceName
from core.errors import UserError
from core.seeding import choose_device
from core.task import Batch, StepOutput, Task

T = TypeVar("T")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Batches(Iterable[Batch], Sized, Protocol):
    """Batches of a known number, such as a DataLoader; each rank has its part of them."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    def say(self, text: str) -> None:
        """Print a message once, whatever the number of processes."""
        if self.first:
            print(text)

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Take this rank's items: every size-th, so that parts of a batch differ by one at most."""
        return items[self.rank :: self.size]

    def batch_size(self, of_all: int) -> int:
        """Divide the size of a whole batch by the number of ranks.

        Raises:
            UserError: It can't be divided.
        """
        if of_all % self.size:
            raise UserError(
                f"--batch-size {of_all} is for all {self.size} processes together and can't be divided among "
                f"them; choose a multiple of {self.size}, or another number of processes"
            )
        return of_all // self.size

    def wait(self) -> None:
        """Wait until every rank has come here."""
        self.total(0.0)

    def total(self, *values: float) -> list[float]:
        """Add numbers up over the ranks."""
        if self.size == 1:
            return list(values)
        added = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(added)
        return added.tolist()

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in the order of the ranks, to all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def matched(self, batches: Batches) -> Iterator[tuple[Batch, float]]:
        """Yield this rank's part of each whole batch, and its share of the items.

        The last batch of an epoch may have fewer items than there are ranks. A rank left without items
        repeats its previous batch with share 0, so that collective operations stay matched.

        Args:
            batches: Of the same size on all ranks, but for the last of each.

        Raises:
            UserError: There are fewer items than ranks.
        """
        batch: Batch | None = None
        coming, equal = iter(batches), min(self.gather(len(batches))) - 1
        for step in count():
            following = next(coming, None)
            mine = 0 if following is None else len(following["clip"])
            everyones = mine * self.size if step < equal else self.total(mine)[0]
            if not everyones:
                return
            batch = batch if following is None else following
            if batch is None:
                raise UserError(f"fewer clips to learn from than the {self.size} processes; start fewer")
            yield batch, mine / everyones

    def data_parallel(self, task: Task) -> Callable[[Batch], StepOutput]:
        """Return the task with gradients averaged over the ranks, which start from the first one's weights.

        PyTorch averages gradients, and a step wants the sum of those weighted by share: multiply the loss by
        share * size before its backward pass. Call this after the parameters that learn have been chosen.
        """
        if self.size == 1:
            return task
        # Some parameters get no gradient, such as a backbone's own classifier that no attention reads. They
        # are the same ones at every step: the graph is static.
        return DistributedDataParallel(_TaskModule(task), static_graph=True)


class _TaskModule(nn.Module):
    """A task as one module, since DistributedDataParallel follows what a module's forward returns."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self.task = task

    def forward(self, batch: Batch) -> StepOutput:
        return self.task(batch)


ONE = Ranks()  # a training in one process


@contextmanager
def join_ranks(device: DeviceName) -> Iterator[Ranks]:
    """Join the processes that torchrun has started; without torchrun there is one.

    Where ranks fail, the first to do so raises its error and the others exit without a word.

    Raises:
        UserError: There are fewer GPUs than processes on this machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ONE
        return
    store, rank, size = next(rendezvous("env://"))
    # A process may train several times; each training has its own names in torchrun's store.
    store = PrefixStore(f"training {store.add(f'trainings of rank {rank}', 1)}", store)
    try:
        dist.init_process_group(_choose_backend(device), store=store, rank=rank, world_size=size)
        ranks = Ranks(rank, size)
        yield ranks
        ranks.wait()
        dist.destroy_process_group()
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it to the ranks still there
        if store.add("failed", 1) > 1:
            raise SystemExit(1) from None
        raise


def _choose_backend(device: DeviceName) -> str:
    """Choose this rank's GPU where there are any; numbers on the CPU always go by gloo.

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


class _Total(torch.autograd.Function):
    """The sum over all ranks, on which the loss of each of them depends."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        added = x.clone()
        dist.all_reduce(added)
        return added

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        added = gradients[0].clone()
        dist.all_reduce(added)
        return added


def _total(x: Tensor) -> Tensor:
    added: Tensor = _Total.apply(x)
    return added


class SharedBatchNorm(_BatchNorm):
    """Batch norm of any dimension whose mean and variance in train mode are those of all ranks' items.

    PyTorch's own SyncBatchNorm runs on GPUs alone, and would count the batch that a rank without items
    repeats. Axes: B items, C channels.

    Attributes:
        counts: Whether this rank's items count; False for a batch that is only repeated.
        act: The activation inside the norm; timm's norms hold theirs.
    """

    counts: bool = True
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel; in train mode all ranks must call this. Shape: (B, C, ...), kept."""
        normalised: Tensor = self.act(self._normalise(x))
        return normalised

    def _normalise(self, x: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        values, counts = x.float(), float(self.counts)
        others = [axis for axis in range(x.dim()) if axis != 1]
        per_channel = (-1, *[1] * (x.dim() - 2))  # (C) against (B, C, ...)
        items = torch.full((1,), counts * values.numel() / values.shape[1], device=values.device)
        sums = _total(torch.cat([counts * values.sum(dim=others), items]))  # (C + 1)
        number = sums[-1:].detach()
        mean = sums[:-1] / number
        centred = values - mean.view(per_channel)
        variance = _total(counts * centred.square().sum(dim=others)) / number
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * number / (number - 1))
        scale = (variance + self.eps).rsqrt().view(per_channel)
        normalised = centred * scale * self.weight.view(per_channel) + self.bias.view(per_channel)
        return normalised.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def share_batch_norm(model: nn.Module, ranks: Ranks) -> None:
    """Replace the batch norms inside a model by shared ones; parameters, statistics and names stay."""
    if ranks.size == 1:
        return
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _NORMS):
                setattr(parent, name, _shared(child))


def _shared(norm: Any) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, device=norm.weight.device)
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    shared.act = getattr(norm, "act", nn.Identity())
    return shared.train(norm.training)


def count_items(model: nn.Module, counts: bool) -> None:
    """Say whether the next batch of this rank counts in the statistics of the model's shared batch norms."""
    for module in model.modules():
        if isinstance(module, SharedBatchNorm):
            module.counts = counts
