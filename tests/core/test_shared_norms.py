"""Batch norm shared between processes is batch norm, for vectors, maps and clips of maps."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from core.ranks import Ranks, SharedBatchNorm, share_batch_norm


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process alone, in which sums over all ranks are its own."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "norm,shape",
    [(nn.BatchNorm1d, (6, 4)), (nn.BatchNorm2d, (3, 4, 5, 5)), (nn.BatchNorm3d, (2, 4, 3, 5, 5))],
)
def test_shared_batch_norm_is_batch_norm(alone, norm, shape):
    torch.manual_seed(0)
    plain = nn.Sequential(norm(4, eps=1e-3, momentum=0.3))
    nn.init.uniform_(plain[0].weight)
    shared = deepcopy(plain)
    share_batch_norm(shared, Ranks(0, 2))
    assert type(shared[0]) is SharedBatchNorm and shared[0].momentum == 0.3
    inputs = [(2 * torch.randn(shape) + 1).requires_grad_() for _ in range(2)]
    inputs[1].data = inputs[0].detach().clone()
    weight = torch.randn(shape)
    outputs = [net(x) for net, x in zip((plain, shared), inputs, strict=True)]
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.state_dict(), shared.state_dict(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(plain.eval()(weight), shared.eval()(weight))
