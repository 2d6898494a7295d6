"""The ConvLSTM against its equations over the layers as they stand, and its gradient against differences."""

import pytest
import torch

from models.convlstm import ConvLSTM, as_product


@pytest.mark.parametrize("bf16", [False, True])
def test_states_are_those_of_the_equations(bf16):
    """Without any of the savings: all gates at all steps, the recurrent convolution of zeros too."""
    torch.manual_seed(0)
    cell, maps = ConvLSTM(5, 4), torch.randn(2, 4, 5, 3, 3)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = cell.states(maps)
        hidden = state = torch.zeros(2, 4, 3, 3, dtype=found.dtype)
        for step in range(4):
            gates = cell.input_conv(maps[:, step]) + cell.hidden_conv(hidden)
            i, f, candidate, o = gates.chunk(4, dim=1)
            state = i.sigmoid() * candidate.tanh() + f.sigmoid() * state
            hidden = o.sigmoid() * state.tanh()
            if bf16:  # as matrix products, whose sums end in other bits
                assert torch.allclose(found[:, step], state, rtol=0.05, atol=0.02)
            else:
                assert torch.equal(found[:, step], state)


@pytest.mark.parametrize("bias", [False, True])
def test_a_matrix_product_is_the_convolution(bias):
    """Values and gradients, of numbers small enough for bfloat16 and its sums to hold them exactly."""
    torch.manual_seed(1)
    convolution = torch.nn.Conv2d(3, 4, 3, padding=1, bias=bias)
    for values in convolution.parameters():
        values.data = torch.randint(-1, 2, values.shape).float()
    maps = torch.randint(-1, 2, (2, 3, 5, 4)).float().requires_grad_()
    weights, away = [maps, *convolution.parameters()], torch.randint(-1, 2, (2, 4, 5, 4)).float()
    plain, product = convolution(maps), as_product(convolution)(maps)
    assert product.dtype == torch.bfloat16 and torch.equal(product.float(), plain)
    expected = torch.autograd.grad(plain, weights, away)
    found = torch.autograd.grad(product, weights, away.bfloat16())
    for gradient, right in zip(found, expected, strict=True):
        assert torch.equal(gradient, right)


def test_states_are_those_of_the_clip_cut_short():
    torch.manual_seed(4)
    cell, maps = ConvLSTM(2, 3), torch.randn(2, 4, 2, 3, 3)
    for length, state in enumerate(cell.states(maps).unbind(dim=1), start=1):
        assert torch.equal(state, cell(maps[:, :length]))


def test_gradients_are_those_of_small_differences():
    torch.manual_seed(0)
    cell, maps = ConvLSTM(2, 2).double(), torch.rand(2, 3, 2, 2, 3).double().requires_grad_()
    weights = dict(cell.named_parameters())

    def last_state(maps, *values):
        return torch.func.functional_call(cell, dict(zip(weights, values, strict=True)), (maps,))

    torch.autograd.gradcheck(last_state, (maps, *weights.values()))
