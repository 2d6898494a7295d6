"""The stacked gates' convolution against PyTorch's own, and its gradient against numbers."""

import gc

import pytest
import torch

from models.convlstm import ConvLSTM
from models.gate_convolution import gate_convolution, weight_gradient


@pytest.mark.parametrize("maps_number", [1, 70])
def test_the_weight_gradient_is_autograds(maps_number):
    torch.manual_seed(0)
    maps, weight = torch.rand(maps_number, 3, 4, 5).double(), torch.rand(8, 3, 3, 3).double().requires_grad_()
    found = torch.nn.functional.conv2d(maps, weight, padding=1)
    gradient = torch.rand_like(found)
    found.backward(gradient)
    torch.testing.assert_close(weight_gradient(maps, gradient), weight.grad)


def test_in_bfloat16_many_maps_are_summed_in_float32():
    torch.manual_seed(0)
    maps, gradient = torch.rand(200, 3, 4, 5).bfloat16(), torch.rand(200, 8, 4, 5).bfloat16()
    found = weight_gradient(maps, gradient)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found, weight_gradient(maps.double(), gradient.double()).bfloat16(), rtol=1e-2, atol=0
    )


def test_gradients_are_those_of_small_differences():
    torch.manual_seed(0)
    inputs = [torch.rand(size).double().requires_grad_() for size in ((2, 2, 3, 3), (4, 2, 3, 3), (4,))]
    torch.autograd.gradcheck(gate_convolution, inputs)
    cell, maps = ConvLSTM(2, 3).double(), torch.rand(2, 4, 2, 3, 3).double().requires_grad_()
    weights = dict(cell.named_parameters())

    def states(maps, *values):
        return torch.func.functional_call(cell, dict(zip(weights, values, strict=True)), (maps,))

    torch.autograd.gradcheck(states, (maps, *weights.values()))


@pytest.mark.parametrize("bf16", [False, True])
def test_forward_to_the_bits_of_the_layers_as_they_stand(bf16):
    """Ten lines without any of the savings: all gates at all steps, by the modules themselves."""
    torch.manual_seed(0)
    cell, maps = ConvLSTM(5, 4), torch.randn(2, 4, 5, 3, 3)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = cell.states(maps)
        output = torch.zeros(2, 4, 3, 3)
        state = torch.zeros(2, 4, 3, 3)
        for step in range(4):
            recurrent = cell.hidden_conv(output) if step else 0
            take, keep, candidate, give = (cell.input_conv(maps[:, step]) + recurrent).chunk(4, dim=1)
            written = take.sigmoid() * candidate.tanh()
            state = (
                torch.addcmul(keep.sigmoid() * state, take.sigmoid(), candidate.tanh()) if step else written
            )
            output = give.sigmoid() * state.tanh()
            assert torch.equal(found[step], state)


def test_nothing_of_a_clip_stays_after_it():
    """The recurrent outputs wait for the weight's gradient; a circle through the graph would keep them."""
    cell, counts = ConvLSTM(2, 3), []
    gc.disable()
    try:
        for backward in (True, True, False, False):
            state = cell(torch.rand(1, 3, 2, 3, 3))
            if backward:
                state.sum().backward()
            del state
            counts.append(sum(torch.is_tensor(thing) for thing in gc.get_objects()))
    finally:
        gc.enable()
    assert counts[1:] == counts[1:2] * 3
