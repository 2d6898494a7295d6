"""The convolutional recurrences against torch's own recurrences and against their equations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.temporal import build_temporal

B, T, C, D = 2, 4, 3, 5


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def built(name):
    head = build_temporal(name, C, D).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return head


def maps(side=1):
    return torch.randn(B, T, C, side, side, dtype=torch.float64)


def centre(convolution):
    """The matrix of a 3x3 convolution on maps of one cell."""
    return convolution.weight.detach()[:, :, 1, 1]


@torch.no_grad()
def test_on_one_cell_the_convrnn_is_torchs_rnn():
    head, given = built("convrnn"), maps()
    rnn = nn.RNN(C, D, batch_first=True).double()
    rnn.load_state_dict(
        {
            "weight_ih_l0": centre(head.input_conv),
            "weight_hh_l0": centre(head.hidden_conv),
            "bias_ih_l0": head.input_conv.bias,
            "bias_hh_l0": torch.zeros(D),
        }
    )
    torch.testing.assert_close(head.states(given, None), rnn(given[:, :, :, 0, 0])[0], rtol=1e-13, atol=1e-13)


def torchs_gru(head):
    gru = nn.GRU(C, D, batch_first=True).double()
    # Its gates are in the order r, z, n, and z weights the old state as u does here.
    gates = torch.cat([centre(head.gate_conv), centre(head.candidate_conv)])
    gru.load_state_dict(
        {
            "weight_ih_l0": centre(head.input_conv),
            "weight_hh_l0": gates,
            "bias_ih_l0": head.input_conv.bias,
            "bias_hh_l0": torch.zeros(3 * D),
        }
    )
    return gru


@torch.no_grad()
def test_on_one_cell_the_convgru_differs_from_torchs_gru_by_where_the_reset_stands():
    head, given = built("convgru"), maps()
    vectors, found = given[:, :, :, 0, 0], head.states(given, None)
    assert (found - torchs_gru(head)(vectors)[0]).abs().max() > 0.01
    nn.init.zeros_(head.candidate_conv.weight)  # nothing to reset
    expected = torchs_gru(head)(vectors)[0]
    torch.testing.assert_close(head.states(given, None), expected, rtol=1e-13, atol=1e-13)


@torch.no_grad()
@pytest.mark.parametrize("name", ["convrnn", "convgru"])
def test_states_are_those_of_the_equations(name):
    head, given = built(name), maps(3)

    def conv(layer, x, rows=slice(None)):
        bias = None if layer.bias is None else layer.bias[rows]
        return F.conv2d(x, layer.weight[rows], bias, padding=1)

    h = torch.zeros(B, D, 3, 3, dtype=torch.float64)
    r, u, s = (slice(gate * D, (gate + 1) * D) for gate in range(3))
    for frame, state in zip(given.unbind(1), head.cell_features(given, None).unbind(1), strict=True):
        if name == "convrnn":
            h = torch.tanh(conv(head.hidden_conv, h) + conv(head.input_conv, frame))
        else:
            reset = torch.sigmoid(conv(head.gate_conv, h, r) + conv(head.input_conv, frame, r))
            update = torch.sigmoid(conv(head.gate_conv, h, u) + conv(head.input_conv, frame, u))
            new = torch.tanh(conv(head.candidate_conv, reset * h) + conv(head.input_conv, frame, s))
            h = update * h + (1 - update) * new
        torch.testing.assert_close(state, h, rtol=1e-13, atol=1e-13)


@torch.no_grad()
def test_a_shut_update_gate_keeps_the_state_for_ever():
    """The first channel of the input opens it (u = 0) or shuts it (u = 1)."""
    head, given = built("convgru"), maps(3)
    head.gate_conv.weight[D:] = 0
    head.input_conv.weight[D : 2 * D] = 0
    head.input_conv.bias[D : 2 * D] = 0
    head.input_conv.weight[D : 2 * D, 0, 1, 1] = 1000
    given[:, :, 0] = 1.0
    assert (head.states(given, None) == 0).all()
    given[:, 1, 0] = -1.0
    states = head.cell_features(given, None)
    assert (states[:, 0] == 0).all() and (states[:, 1] != 0).all()
    assert torch.equal(states[:, 1:], states[:, 1:2].expand(-1, T - 1, -1, -1, -1))


@torch.no_grad()
@pytest.mark.parametrize("name, gates", [("convrnn", (1, 1)), ("convgru", (3, 2, 1))])
def test_each_gate_starts_orthogonal_and_without_bias(name, gates):
    head = build_temporal(name, 6, 4)
    convolutions = list(head.children())
    assert (convolutions[0].bias == 0).all() and all(layer.bias is None for layer in convolutions[1:])
    for layer, count in zip(convolutions, gates, strict=True):
        for weight in layer.weight.flatten(1).chunk(count):
            torch.testing.assert_close(weight @ weight.T, torch.eye(4), atol=1e-5, rtol=0)
