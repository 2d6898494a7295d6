"""Batch norm over the parts of a batch that several ranks hold, as if one process held them all.

PyTorch's own SyncBatchNorm runs on GPUs alone, and would count the batch that a rank without items repeats.
Axes: B items, C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.ranks import Ranks

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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

    Attributes:
        counts: Whether this rank's items count; False for a batch that is only repeated.
    """

    counts: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel; in train mode all ranks must call this. Shape: (B, C, ...), kept."""
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
            if type(child) in _KINDS:
                setattr(parent, name, _shared(child))


def _shared(norm: Any) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, device=norm.weight.device)
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    return shared.train(norm.training)


def count_items(model: nn.Module, counts: bool) -> None:
    """Say whether the next batch of this rank counts in the statistics of the model's shared batch norms."""
    for module in model.modules():
        if isinstance(module, SharedBatchNorm):
            module.counts = counts
