"""What heads cost, counted against closed forms."""

import pytest
import torch

from models.cost import count_operations, count_parameters, head_cost, matching_width
from models.temporal import build_temporal

T, C, D, CELLS = 3, 6, 4, (2, 3)


def test_a_convlstm_by_hand():
    head = build_temporal("convlstm", C, D)
    torch.manual_seed(3)
    before, random = {k: v.clone() for k, v in head.state_dict().items()}, torch.get_rng_state()
    cost = head_cost(head, torch.device("cpu"), (T, C, *CELLS), attends=True)
    assert cost["head_parameters"] == 4 * D * (9 * (C + D) + 1) == count_parameters("convlstm", C, D, T)
    # 3 x 3 kernels from C and from D channels to 4 D, over 6 cells; the first frame has no state yet.
    operations = 2 * 6 * 9 * 4 * D * (T * C + (T - 1) * D)
    assert cost["head_gflop_per_frame"] == pytest.approx(operations / T / 1e9)
    assert cost["head_ms_per_clip"] > 0
    assert all(torch.equal(before[key], value) for key, value in head.state_dict().items())
    assert all(parameter.grad is None for parameter in head.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_an_lstm_by_hand_though_the_cpu_runs_it_as_one_operation():
    head = build_temporal("lstm", C, D).to("meta")
    assert count_operations(head, (1, T, C, *CELLS), attends=False) == 2 * T * 4 * D * (C + D)


def test_pooling_costs_nothing():
    cost = head_cost(build_temporal("avgpool", C, D), torch.device("cpu"), (T, C, *CELLS), attends=False)
    assert cost["head_parameters"] == cost["head_gflop_per_frame"] == 0


def test_a_width_with_as_many_parameters():
    wanted = count_parameters("convlstm", C, 40, T)
    width = matching_width("lstm", C, T, wanted)
    counts = {D: 4 * D * (C + D + 2) for D in range(1, 200)}  # an LSTM by hand: two matrices, two biases
    assert width == min(counts, key=lambda D: abs(counts[D] - wanted))
    assert abs(counts[width] - wanted) < wanted / 10
    assert matching_width("convlstm", C, T, wanted) == 40
    assert matching_width("avgpool", C, T, wanted) is None
    assert matching_width("lstm", C, T, 1) is None, "its narrowest has more"
