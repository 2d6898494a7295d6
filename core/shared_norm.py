"""Batch norm over the parts of a batch that several processes hold, as if one held them all.

PyTorch's own SyncBatchNorm is for GPUs alone, and counts parts that are only computed to keep step.
Axes: B items, C channels, H W pixels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.ranks import world


class _Total(torch.autograd.Function):
    """The sum over all processes, on which the loss of each of them depends."""

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


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance in train mode are those of all processes' items."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in train mode every process has to be here. Shape: (B, C, H, W)."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        counts = float(world().counts)
        items = torch.full((1,), counts * values.numel() / values.shape[1], device=values.device)
        sums = _total(torch.cat([counts * values.sum(dim=(0, 2, 3)), items]))
        number = sums[-1:].detach()
        centred = values - (sums[:-1] / number)[:, None, None]
        variance = _total(counts * centred.square().sum(dim=(0, 2, 3))) / number
        self._remember(sums[:-1].detach() / number, variance.detach() * number / (number - 1))
        scaled = centred * (variance + self.eps).rsqrt()[:, None, None]
        normalised: Tensor = (scaled * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return normalised

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def share_batch_norm(model: nn.Module) -> None:
    """Let the batch norms of a model see all processes' items; their names and numbers stay what they are."""
    if world().size > 1:
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SharedBatchNorm2d
