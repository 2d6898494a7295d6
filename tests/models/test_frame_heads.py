"""Heads over pooled frames, against their equations in plain steps: relations (TRN) and the transformers."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from models.temporal import build_temporal, require_head
from tests.support.plain import attention, layer_norm, linear

B, T, C, D = 2, 5, 3, 8


def built(name: str, frames: int = T):
    """The head, its weights off their start, and these by name."""
    torch.manual_seed(0)
    head = build_temporal(name, C, D, frames).double().eval()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return head, dict(head.named_parameters())


def clip(frames: int = T) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, their CAM, and the frames that it pools: (B, T, C)."""
    torch.manual_seed(1)
    maps, cam = torch.randn(B, frames, C, 2, 2).double(), torch.randn(B, frames, 2, 2).double()
    weight = cam.exp() / cam.exp().sum(dim=(2, 3), keepdim=True)
    return maps, cam, torch.einsum("btchw,bthw->btc", maps, weight)


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@torch.no_grad()
def test_relations_are_those_of_the_equations():
    head, w = built("trn")
    maps, cam, pooled = clip()
    reduced, scales = linear(w, "reduce", pooled).relu(), []
    for size in range(2, T + 1):
        sets = head.get_buffer(f"sets_{size}").tolist()
        joined = [torch.cat([reduced[:, i] for i in chosen], dim=1) for chosen in sets]
        scales.append(sum(linear(w, f"scales.{size - 2}", one).relu() for one in joined))
    near(head(maps, cam), torch.cat(scales, dim=1))
    assert torch.equal(head(maps, cam), head(maps, cam)), "nothing is drawn"


@pytest.mark.parametrize("frames", [2, 3, 4, 7, 16, 40])
def test_sets_of_frames_are_all_or_three_of_all(frames):
    head = build_temporal("trn", C, 1, frames)
    for size in range(2, frames + 1):
        sets = [tuple(chosen) for chosen in head.get_buffer(f"sets_{size}").tolist()]
        assert sets == sorted(set(sets)) and all(chosen == tuple(sorted(set(chosen))) for chosen in sets)
        if frames > 7:
            assert len(sets) == min(3, {frames: 1, frames - 1: 3}.get(size, 3))
            continue
        every = list(combinations(range(frames), size))
        expected = every if len(every) <= 3 else [every[0], every[(len(every) - 1) // 2], every[-1]]
        assert sets == expected


@torch.no_grad()
def test_relations_know_the_order_unless_nothing_moves():
    head, _ = built("trn")
    maps, cam, _ = clip()
    assert not torch.allclose(head(maps, cam), head(maps.flip(1), cam.flip(1)))
    still = maps[:, :1].expand_as(maps), cam[:, :1].expand_as(cam)
    near(head(*still), head(*(tensor.flip(1) for tensor in still)))
    assert not head.states(maps, cam)[:, 0].any(), "one frame has no relation"


def test_one_frame_has_no_relations():
    with pytest.raises(UserError, match="--temporal trn relates frames.*--frames 2 or more, got 1"):
        require_head("trn", attention=True, hidden=8, frames=1)


def blocks(w: dict[str, Tensor], tokens: Tensor, depth: int, heads: int, causal: bool, gelu) -> Tensor:
    for number in range(depth):
        layer = f"blocks.layers.{number}"
        normed = layer_norm(w, f"{layer}.norm1", tokens)
        tokens = tokens + attention(w, f"{layer}.self_attn", normed, heads, causal)
        wide = gelu(linear(w, f"{layer}.linear1", layer_norm(w, f"{layer}.norm2", tokens)))
        tokens = tokens + linear(w, f"{layer}.linear2", wide)
    return layer_norm(w, "blocks.norm", tokens)


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def exact_gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


@torch.no_grad()
def test_avt_is_a_causal_transformer_in_the_form_of_gpt2():
    head, w = built("avt")
    maps, cam, pooled = clip()
    tokens = blocks(w, linear(w, "encode", pooled) + w["positions"], 2, 4, True, tanh_gelu)
    near(head.states(maps, cam), linear(w, "decode", tokens))
    assert not torch.allclose(tanh_gelu(maps), F.gelu(maps), atol=1e-5), "the two forms can be told apart"


@torch.no_grad()
def test_the_transformers_feature_is_that_of_its_class_token():
    head, w = built("transformer")
    maps, cam, pooled = clip()
    tokens = torch.cat([w["token"].expand(B, 1, D), linear(w, "encode", pooled)], dim=1) + w["positions"]
    near(head(maps, cam), blocks(w, tokens, 4, 8, False, exact_gelu)[:, 0])


@pytest.mark.parametrize("name, dropout, places", [("avt", 0.1, 0.02), ("transformer", 0.0, 0.2)])
def test_transformers_start_and_drop_as_their_authors_have_it(name, dropout, places):
    torch.manual_seed(2)
    head = build_temporal(name, 32, 64, 16)
    dropped = {module.p for module in head.modules() if isinstance(module, nn.Dropout)}
    assert dropped | {module.self_attn.dropout for module in head.blocks.layers} == {dropout}
    products = [weight for weight in head.blocks.parameters() if weight.dim() == 2]
    for weight, std in [(head.positions, places), *((weight, 0.02) for weight in products)]:
        assert weight.std().item() == pytest.approx(std, rel=0.1) and abs(weight.mean().item()) < std / 5


def test_avt_drops_what_enters_its_blocks():
    head, _ = built("avt")
    head.train()
    for module in head.blocks.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in head.blocks.layers:
        layer.self_attn.dropout = 0.0
    maps, cam, _ = clip()
    assert not torch.equal(head(maps, cam), head(maps, cam)), "frames and their places are dropped at random"
    head.dropout.p = 1.0
    assert torch.equal(head(maps, cam), head(maps.flip(1), cam)), "of nothing left, nothing is known"


@pytest.mark.parametrize("name", ["avt", "transformer", "trn"])
def test_more_frames_than_it_was_built_for(name):
    head, _ = built(name, frames=3)
    maps, cam, _ = clip(frames=4)
    with pytest.raises(AssertionError, match="built for 3 frames, got 4"):
        head(maps, cam)
