"""One step of a training, and the sums of an epoch's steps, neither of which waits for the device."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from core.task import Batch, StepOutput


class Step:
    """Forward pass, backward pass and optimiser on one batch.

    Attributes:
        names: Names of the losses that a step returns, known after the first one: "loss", then its parts.
    """

    def __init__(
        self,
        task: Callable[[Batch], StepOutput],
        optimizer: Optimizer,
        device: torch.device,
        bf16: bool = False,
    ) -> None:
        """Take steps of `optimizer` on `device`, with `bf16` computed in bfloat16."""
        self.task = task
        self.optimizer = optimizer
        self.device = device
        self.bf16 = bf16
        self.names: tuple[str, ...] = ()

    def __call__(self, batch: Batch, weight: float = 1.0) -> Tensor:
        """Take a step.

        Args:
            batch: B items, on any device.
            weight: Factor of the loss in the backward pass.

        Returns:
            The losses in the order of `names`, then how many of the B items score highest in their true
            class; float32, on the device. Shape: (len(names) + 1,).
        """
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.task(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = output.loss if weight == 1.0 else output.loss * weight
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        losses = {"loss": output.loss, **output.parts}
        self.names = tuple(losses)
        right = (output.logits.argmax(dim=1) == output.labels).sum()
        return torch.stack([value.detach().float() for value in (*losses.values(), right)])


@dataclass(frozen=True)
class Broken:
    """The first step of an epoch with a loss that was not finite.

    Attributes:
        step: Its number in the epoch, from 0.
        losses: Its losses by name.
        items: The items of its batch, as far as they count.
    """

    step: int
    losses: dict[str, float]
    items: list[int]


class Tally:
    """Adds up what the steps of an epoch return; it stays on the device until it is read.

    Attributes:
        items: Items seen.
        right: How many of them scored highest in their true class.
        sums: Each loss, summed over the items.
        broken: The first step whose loss was not finite, None without one.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.items = self.right = 0
        self.sums: dict[str, float] = {}
        self.broken: Broken | None = None
        self._read = 0
        self._unread = list[tuple[Tensor, Tensor, int]]()

    def add(self, found: Tensor, clips: Tensor, count: int) -> None:
        """Note a step.

        Args:
            found: What the step returned.
            clips: The items of its batch. Shape: (B,).
            count: How many of them count: B, or 0 for a batch that is only repeated.
        """
        self._unread.append((found, clips, count))

    def read(self) -> int:
        """Wait for the device and add up the steps since the last reading; returns their number."""
        unread, self._unread = self._unread, []
        if not unread:
            return 0
        rows: list[list[float]] = torch.stack([found for found, _, _ in unread]).tolist()
        for (*values, right), (_, clips, count) in zip(rows, unread, strict=True):
            losses = dict(zip(self.step.names, values, strict=True))
            if self.broken is None and not all(map(math.isfinite, values)):
                self.broken = Broken(self._read, losses, clips[:count].tolist())
            self.items += count
            self.right += int(right) if count else 0
            for name, value in losses.items():
                self.sums[name] = self.sums.get(name, 0.0) + value * count
            self._read += 1
        return len(unread)


class Moment:
    """A moment in what a device was told to do, for another thread that reads what was made before it."""

    def __init__(self, device: torch.device) -> None:
        """Mark the present."""
        self.device = device
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Wait for the moment, but not for what the device was told to do after it."""
        if self._event is None:
            yield
            return
        with torch.cuda.stream(torch.cuda.Stream(self.device)):  # type: ignore[no-untyped-call]
            self._event.wait()
            yield
