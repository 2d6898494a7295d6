"""Numerics that every run shares."""

import pytest
import torch

from core.seeding import computes_bfloat16, seed_everything, set_up_numerics


def test_numbers_too_small_to_matter_become_zero():
    set_up_numerics()
    tiny = torch.full((4096,), 1e-30) * torch.full((4096,), 1e-10)
    assert (tiny == 0).all()
    assert torch.are_deterministic_algorithms_enabled()


def test_seeds_differ_by_every_part():
    draws = []
    for entropy in [(0, 1), (0, 2), (1, 1), (0, 1)]:
        seed_everything(*entropy)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[3]
    assert draws[0] != draws[1] and draws[0] != draws[2] and draws[1] != draws[2]


@pytest.mark.parametrize(
    "found, computes",
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "aarch64", "sve": True}, None),
        ({}, None),
    ],
)
def test_whether_a_cpu_computes_in_bfloat16_is_what_torch_finds(found, computes, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert computes_bfloat16(torch.device("cpu")) is computes
