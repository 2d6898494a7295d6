"""3x3 convolutions whose weight's gradient is a matrix product, which a CPU does faster for stacked gates.

Of a ConvLSTM step's convolutions on a CPU the slowest is the one that gives the gradient of the weights:
with 2048 output channels on 7x7 cells it reaches half the speed of the other two (docs/experiments.md). As a
product of all cells' gradients with all cells' neighbourhoods it loses a quarter to a third of its time.

Axes: N maps, C input channels, D output channels, h w cells.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad
from torch.nn.grad import conv2d_input, conv2d_weight

# Bounds the room that neighbourhoods take. In 16 bits products are not added in place, so few are better.
_MAPS_AT_ONCE, _SHORT_MAPS_AT_ONCE = 8, 64


def gate_convolution(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve maps (N, C, h, w) by (D, C, 3, 3), padding 1, to (N, D, h, w) and the bits of conv2d."""
    if maps.is_cuda or torch.compiler.is_compiling():
        return conv2d(maps, weight, bias, padding=1)
    if torch.is_autocast_enabled("cpu"):
        maps, weight, bias = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (maps, weight, bias))
    found: Tensor = _GateConvolution.apply(maps, weight, bias)
    return found


def weight_gradient(maps: Tensor, gradient: Tensor) -> Tensor:
    """Give the gradient of a 3x3 convolution's weight.

    Args:
        maps: What was convolved. Shape: (N, C, h, w).
        gradient: Gradient of the result. Shape: (N, D, h, w).

    Returns:
        Shape: (D, C, 3, 3).
    """
    shape = (gradient.shape[1], maps.shape[1], 3, 3)
    if maps.is_cuda:
        found: Tensor = conv2d_weight(maps, shape, gradient, padding=1)  # type: ignore[no-untyped-call]
        return found
    at_once = _MAPS_AT_ONCE if maps.dtype.itemsize > 2 else _SHORT_MAPS_AT_ONCE
    total: Tensor | None = None
    for part, of_part in zip(torch.split(maps, at_once), torch.split(gradient, at_once), strict=True):
        around = pad(part.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
        neighbourhoods = around.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)  # (Nhw, 9C)
        total = _add_product(total, of_part.permute(1, 0, 2, 3).flatten(1), neighbourhoods)
    assert total is not None
    return total.view(shape[0], 3, 3, shape[1]).permute(0, 3, 1, 2).to(maps.dtype)


def _add_product(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Add a product to what there is, in float32 where the product is in 16 bits."""
    if total is None:
        return left @ right
    if left.dtype.itemsize > 2:
        return torch.addmm(total, left, right, out=total)  # addmm_, but counted by FlopCounterMode
    return total.float().add_(left @ right)


class _GateConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return conv2d(maps, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        maps, weight = ctx.saved_tensors
        of_maps = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_maps = conv2d_input(maps.shape, weight, gradient, padding=1)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(maps, gradient)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3))
        return of_maps, of_weight, of_bias
