"""The convolutional LSTM that Ego-RNN runs over a clip's feature maps (section 3.2).

Axes: B clips, T frames, C input channels, D hidden channels, h w cells.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from models.gate_convolution import gate_convolution, weight_gradient

GATES = ("input", "forget", "candidate", "output")  # order of the stacked channels


class ConvLSTM(nn.Module):
    """i, f, o = sigmoid(Wx*x + Wh*h + b); c~ = tanh(Wx*x + Wh*h + b); c = i c~ + f c'; h = o tanh(c).

    Convolutions are 3x3 with padding 1, biases belong to the input convolutions alone, there are no
    peepholes, and the state starts at zero. The gates are stacked along the channels in the order of `GATES`.
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        """Build a cell with Xavier-normal weights (each gate by its own fan) and zero biases."""
        super().__init__()
        self.hidden = hidden
        self.input_conv = nn.Conv2d(in_channels, len(GATES) * hidden, 3, padding=1)
        self.hidden_conv = nn.Conv2d(hidden, len(GATES) * hidden, 3, padding=1, bias=False)
        assert self.input_conv.bias is not None
        for convolution in (self.input_conv, self.hidden_conv):
            for gate_weight in convolution.weight.chunk(len(GATES)):
                nn.init.xavier_normal_(gate_weight)
        nn.init.zeros_(self.input_conv.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Run over a clip, maps (B, T, C, h, w), and return the cell state after it, c_T (B, D, h, w)."""
        return self.states(maps)[-1]

    def states(self, maps: Tensor) -> list[Tensor]:
        """Run over a clip and return the cell state after each frame.

        The clip feature of Ego-RNN is the cell state c_T, not h_T, so the last output gate is never computed;
        and with h_0 = 0 the first step needs no recurrent convolution. Both leave the result as it is.

        Args:
            maps: One map a frame. Shape: (B, T, C, h, w).

        Returns:
            c_1 to c_T. Shapes: (B, D, h, w).
        """
        clips, frames = maps.shape[:2]
        assert self.input_conv.bias is not None
        from_input = gate_convolution(maps.flatten(0, 1), self.input_conv.weight, self.input_conv.bias)
        from_input = from_input.view(clips, frames, *from_input.shape[1:])  # (B, T, 4D, h, w)
        weight, outputs = self.hidden_conv.weight.to(from_input.dtype), list[Tensor]()
        if weight.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            from_input = _WeightGradientOfAllSteps.apply(from_input, weight, outputs)
            weight = weight.detach()
        of_cell = 3 * self.hidden
        # Taken apart at once: of a slice for each step, the gradient would be as large as that of all.
        first, *later = from_input.unbind(dim=1)
        gates, output_gate = torch.split(first, [of_cell, self.hidden], dim=1)
        cells = [_cell(gates)]
        for step, from_frame in enumerate(later, start=1):
            output = output_gate.sigmoid() * cells[-1].tanh()
            outputs.append(output.detach())
            if step < frames - 1:
                all_gates = from_frame + conv2d(output, weight, padding=1)
                gates, output_gate = torch.split(all_gates, [of_cell, self.hidden], dim=1)
            else:
                gates = from_frame[:, :of_cell] + conv2d(output, weight[:of_cell], padding=1)
            cells.append(_cell(gates, cells[-1]))
        return cells


class _WeightGradientOfAllSteps(torch.autograd.Function):
    """Leaves the gates' inputs as they are; their gradient, once all steps gave theirs, is every gate's own.

    So the recurrent weights' gradient is one convolution over all steps instead of one a step, which a CPU
    does faster, and which rounds once in bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, from_input: Tensor, weight: Tensor, outputs: list[Tensor]) -> Tensor:
        """Pass `from_input` (B, T, 4D, h, w) on; `outputs` becomes h_1 to h_(T-1) while the clip is run."""
        ctx.outputs = outputs
        return from_input.view_as(from_input)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gates: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Give the gradients of `from_input` and of the recurrent weights."""
        if not ctx.outputs:
            return gates, None, None
        outputs, of_steps = torch.stack(ctx.outputs, dim=1).flatten(0, 1), gates[:, 1:].flatten(0, 1)
        return gates, weight_gradient(outputs, of_steps), None


def _cell(gates: Tensor, before: Tensor | None = None) -> Tensor:
    """The cell state after the first three gates (B, 3D, h, w) and the state before, which begins at zero."""
    take, keep, candidate = gates.chunk(3, dim=1)
    if before is None:
        return take.sigmoid() * candidate.tanh()
    return torch.addcmul(keep.sigmoid() * before, take.sigmoid(), candidate.tanh())
