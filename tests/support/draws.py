"""First weights of networks of full width in a seventh of the time: some numbers, drawn once and repeated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

FEW = 8191  # a prime, so that no two filters of a network are alike


@contextmanager
def quick_draws() -> Iterator[None]:
    """Let `normal_` and `uniform_`, which all of PyTorch's first weights come from, draw `FEW` numbers each.

    Each weight is still from the distribution that was asked for, and of neighbours none depends on another.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("normal_", "uniform_"):
            patch.setattr(torch.Tensor, name, _repeating(getattr(torch.Tensor, name)))
        yield


def _repeating(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def drawn(tensor: Tensor, *options: Any, **named: Any) -> Tensor:
        if tensor.is_meta or isinstance(tensor, FakeTensor):
            return tensor  # without content
        if tensor.numel() <= FEW or tensor.is_cuda or not tensor.is_contiguous():
            return draw(tensor, *options, **named)
        with torch.no_grad():
            some, flat = draw(tensor.new_empty(FEW), *options, **named), tensor.detach().view(-1)
            whole = len(flat) // FEW * FEW
            flat[:whole].view(-1, FEW).copy_(some)
            flat[whole:].copy_(some[: len(flat) - whole])
        return tensor

    return drawn
