"""The ConvLSTM against its equations over the layers as they stand, and its gradient against differences."""

import pytest
import torch

from models.convlstm import ConvLSTM


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
            assert torch.equal(found[:, step], state)


def test_states_are_those_of_the_clip_cut_short():
    torch.manual_seed(4)
    cell, maps = ConvLSTM(2, 3), torch.randn(2, 4, 2, 3, 3)
    for length, state in enumerate(cell.states(maps).unbind(dim=1), start=1):
        assert torch.equal(state, cell(maps[:, :length]))


def test_gradients_are_those_of_small_differences():
    torch.manual_seed(0)
    cell, maps = ConvLSTM(2, 3).double(), torch.rand(2, 4, 2, 3, 3).double().requires_grad_()
    weights = dict(cell.named_parameters())

    def last_state(maps, *values):
        return torch.func.functional_call(cell, dict(zip(weights, values, strict=True)), (maps,))

    torch.autograd.gradcheck(last_state, (maps, *weights.values()))
