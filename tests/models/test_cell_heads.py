"""Heads that take cells for a bag, against their equations in plain steps: TA-VLAD, MPNNEL, non-local."""

import torch
from torch import Tensor

from models.temporal.mpnnel import MPNNELHead
from models.temporal.non_local import NonLocalHead
from models.temporal.pooling import AveragePoolHead
from models.temporal.vlad import TopDownVLADHead
from tests.support.plain import attention, layer_norm, linear

B, T, C, D, SIDE = 2, 3, 4, 8, 2
CELLS = SIDE * SIDE


def off_start(head: torch.nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Move all weights off their start, in float64; return them by name."""
    torch.manual_seed(seed)
    head.double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return dict(head.named_parameters())


def clip() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(B, T, C, SIDE, SIDE).double(), torch.randn(B, T, SIDE, SIDE).double()


def cells_of(maps: Tensor) -> Tensor:
    """(B, T, N, C)."""
    return torch.stack([maps[..., a, b] for a in range(SIDE) for b in range(SIDE)], dim=2)


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@torch.no_grad()
def test_vlad_sums_weighted_residuals_to_words():
    head, (maps, cam) = TopDownVLADHead(C, D), clip()
    w = off_start(head)
    shares = cam.flatten(2).softmax(dim=2)
    sums = torch.zeros(B, head.WORDS, C).double()
    for item, frame, cell in torch.cartesian_prod(*map(torch.arange, (B, T, CELLS))).tolist():
        x = cells_of(maps)[item, frame, cell]
        x = x / x.pow(2).sum().sqrt()
        assigned = linear(w, "assign", x).softmax(dim=0)
        sums[item] += shares[item, frame, cell] * assigned[:, None] * (x - w["words"])
    sums = sums / sums.pow(2).sum(dim=2, keepdim=True).sqrt()
    near(head(maps, cam), sums.flatten(1) / sums.pow(2).sum(dim=(1, 2)).sqrt()[:, None])


@torch.no_grad()
def test_vlad_starts_with_the_nearest_word():
    head = TopDownVLADHead(64, D)
    x = torch.nn.functional.normalize(torch.randn(50, 64), dim=1)
    distances = (x[:, None] - head.words).norm(dim=2)
    assert torch.equal(head.assign(x).argmax(dim=1), distances.argmin(dim=1))
    ahead = head.assign(x).topk(2).values.diff(dim=1).abs().median().exp()
    assert 4 < ahead < 16


@torch.no_grad()
def test_even_attention_and_the_length_of_features_say_nothing_to_vlad():
    head, (maps, cam) = TopDownVLADHead(C, D), clip()
    off_start(head)
    plain = head(maps, None)
    near(head(maps, torch.full_like(cam, 2.0)), plain)
    near(head(maps * torch.rand(B, T, 1, SIDE, SIDE).add(0.5), None), plain)
    assert not torch.allclose(head(maps, cam), plain, atol=1e-3)
    near(head(maps.flip(1), cam.flip(1)), head(maps, cam))


@torch.no_grad()
def test_with_one_word_at_zero_vlad_is_the_normalised_sum():
    class OneWord(TopDownVLADHead):
        WORDS = 1

    head, (maps, _) = OneWord(C, D).double(), clip()
    head.words.zero_()
    total = torch.nn.functional.normalize(cells_of(maps), dim=3).sum(dim=(1, 2))
    near(head(maps, None), total / total.norm(dim=1, keepdim=True))


def messages(w: dict[str, Tensor], name: str, nodes: Tensor) -> Tensor:
    heard = attention(w, f"{name}.attention", layer_norm(w, f"{name}.norm", nodes), heads=8)
    wide = linear(w, f"{name}.feed_forward.0", heard + nodes).relu()
    return linear(w, f"{name}.feed_forward.2", wide)


@torch.no_grad()
def test_mpnnel_follows_its_equations():
    head, (maps, cam) = MPNNELHead(C, D), clip()
    w, state = off_start(head), torch.zeros(B, CELLS, D).double()
    shares = cam.flatten(2).softmax(dim=2)
    for frame, found in enumerate(head.states(maps, cam).unbind(dim=1)):
        x = layer_norm(w, "embed.1", linear(w, "embed.0", cells_of(maps)[:, frame])).relu()
        pair = linear(w, "join", torch.cat([CELLS * shares[:, frame, :, None] * x, state], dim=2))
        gate = linear(w, "join_gate.2", linear(w, "join_gate.0", pair).relu()).sigmoid()
        z = layer_norm(w, "join_norm", pair) * gate
        heard = torch.cat([messages(w, "messages", z), z], dim=2)
        state = linear(w, "to_state", messages(w, "update", heard)).tanh()
        near(found, messages(w, "readout", linear(w, "to_output", state)).mean(dim=1))


@torch.no_grad()
def test_mpnnel_has_no_places():
    head, (maps, cam) = MPNNELHead(C, D), clip()
    off_start(head)
    order = torch.randperm(CELLS)
    moved = (tensor.flatten(-2)[..., order].view_as(tensor) for tensor in (maps, cam))
    near(head(*moved), head(maps, cam))
    assert not torch.allclose(head(maps.flip(1), cam.flip(1)), head(maps, cam)), "but frames have an order"


@torch.no_grad()
def test_non_local_adds_what_every_cell_sees_in_all_others():
    head, (maps, cam) = NonLocalHead(C, D), clip()
    maps = maps * 3
    w = off_start(head)
    shares = cam.flatten(2).softmax(dim=2)[..., None]
    nodes = (CELLS * shares * cells_of(maps)).flatten(1, 2)
    q, k, v = (linear(w, name, nodes) for name in ("query", "key", "value"))
    scores = torch.stack([(q[:, [i]] * k).sum(dim=2) for i in range(T * CELLS)], dim=1) / D**0.5
    seen = scores.softmax(dim=2)[..., None] * v[:, None]
    near(head(maps, cam), (nodes + linear(w, "output", seen.sum(dim=2))).mean(dim=1))
    near(head(maps.flip(1, 3), cam.flip(1, 2)), head(maps, cam))


@torch.no_grad()
def test_non_local_starts_as_the_mean_and_without_queries_adds_a_mean():
    head, (maps, cam) = NonLocalHead(C, D).double(), clip()
    near(head(maps, cam), AveragePoolHead(C, D)(maps, cam))
    w = off_start(head)
    head.query.weight.zero_()
    head.query.bias.zero_()
    mean = AveragePoolHead(C, D)(maps, cam)
    near(head(maps, cam), mean + linear(w, "output", linear(w, "value", mean)))
