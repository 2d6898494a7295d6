"""Heads that see more than the last state, against their equations in plain steps: Conv-TT, HORST, E3D."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.convlstm import ConvLSTM
from models.temporal.conv_tt import ConvTTHead, ConvTTLSTM
from models.temporal.convlstm import ConvLSTMHead
from models.temporal.e3d import E3DLSTM
from models.temporal.horst import HORST

B, T, C, D, SIDE = 2, 5, 3, 4, 3


def off_start(module: torch.nn.Module) -> dict[str, Tensor]:
    """Move all weights off their start, in float64; return them by name."""
    module.double()
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return dict(module.named_parameters())


def clip(frames: int = T) -> Tensor:
    return torch.randn(B, frames, C, SIDE, SIDE, dtype=torch.float64)


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def conv(w: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    return F.conv2d(maps, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=1)


def normed(w: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    """One mean and one variance a clip, one gain and one bias a channel."""
    rows = []
    for item in maps:
        scaled = (item - item.mean()) / torch.sqrt(item.var(correction=0) + 1e-5)
        gain, bias = (w[f"{name}.{leaf}"].view(-1, *[1] * (item.dim() - 1)) for leaf in ("weight", "bias"))
        rows.append(scaled * gain + bias)
    return torch.stack(rows)


def plain_conv_tt(w: dict[str, Tensor], maps: Tensor, order: int, steps: int) -> Tensor:
    """All cell states, the windows as convolutions over space and time."""
    lags = steps - order + 1
    history, cell, cells = [torch.zeros(B, D, SIDE, SIDE).double()] * steps, 0, []
    for frame in maps.unbind(dim=1):
        joined = 0
        for place in range(order):
            window = torch.stack(history[-steps:][place : place + lags], dim=2)  # (B, D, lags, h, w)
            # The weight holds one lag's channels after the other's.
            kernel = w[f"windows.{place}.weight"].unflatten(1, (lags, D)).transpose(1, 2)
            seen = F.conv3d(window, kernel, w[f"windows.{place}.bias"], padding=(0, 1, 1))[:, :, 0]
            joined = seen if place == 0 else seen + conv(w, f"cores.{place - 1}", joined)
        last = torch.cat([w["input_conv.weight"], w["train_conv.weight"]], dim=1)
        gates = F.conv2d(torch.cat([frame, joined], dim=1), last, w["input_conv.bias"], padding=1)
        i, f, candidate, o = gates.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * candidate.tanh()
        history.append(o.sigmoid() * cell.tanh())
        cells.append(cell)
    return torch.stack(cells, dim=1)


@pytest.mark.parametrize("order, steps", [(1, 1), (3, 3), (2, 4)])
@torch.no_grad()
def test_conv_tt_follows_its_equations(order, steps):
    torch.manual_seed(0)
    cell, maps = ConvTTLSTM(C, D, order=order, steps=steps, rank=2), clip()
    weights = off_start(cell)
    near(cell(maps), plain_conv_tt(weights, maps, order, steps))


@torch.no_grad()
def test_conv_tt_of_order_one_with_the_identity_is_the_conv_lstm():
    torch.manual_seed(1)
    plain, cell = ConvLSTM(C, D).double(), ConvTTLSTM(C, D, order=1, steps=1, rank=D).double()
    torch.nn.init.dirac_(cell.windows[0].weight)
    cell.input_conv.load_state_dict(plain.input_conv.state_dict())
    cell.train_conv.load_state_dict(plain.hidden_conv.state_dict())
    maps, cam = clip(), torch.randn(B, T, SIDE, SIDE).double()
    near(cell(maps), plain.states(maps))
    head, of_plain = ConvTTHead(C, D), ConvLSTMHead(C, D)
    head.cell, of_plain.cell = cell, plain
    near(head(maps, cam), of_plain(maps, cam))


def test_the_older_an_output_the_wider_its_reach():
    torch.manual_seed(2)
    cell = ConvTTLSTM(C, D)
    off_start(cell)
    outputs = [torch.randn(1, D, 13, 13).double().requires_grad_() for _ in range(3)]
    cell.train_conv(cell.join(outputs))[..., 6, 6].sum().backward()
    assert [int(output.grad.abs().sum(dim=(0, 1)).count_nonzero()) for output in outputs] == [81, 49, 25]


def plain_mask(w: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    seen = torch.stack([maps.mean(dim=1), maps.max(dim=1).values], dim=1)
    return torch.sigmoid(conv(w, f"{name}.convolution", seen))


def plain_horst(w: dict[str, Tensor], maps: Tensor, queue: int) -> Tensor:
    """All outputs; keys and values made anew for every frame, clip by clip and cell by cell."""

    def block(name: str, maps: Tensor) -> Tensor:
        return normed(w, f"{name}.1", conv(w, f"{name}.0", maps))

    states, outputs = [], []
    for frame in maps.unbind(dim=1):
        embedded = F.silu(block("embed", frame))
        query = block("query", embedded)
        scores, values = [], []
        for state in states[-queue:] or [torch.zeros(B, 2 * D, SIDE, SIDE).double()]:
            key, value = block("key", state), block("value", state)
            masked = plain_mask(w, "key_mask", key)
            pooled = torch.einsum("bhw,bdhw->bd", masked[:, 0], query) / SIDE**2
            gate = torch.sigmoid(torch.einsum("bd,bdhw->bhw", pooled, key))
            values.append(value * gate[:, None])
            product = (plain_mask(w, "query_mask", query) * query) * (masked * key)
            scores.append(product.sum(dim=(1, 2, 3)) / math.sqrt(D * SIDE * SIDE))
        shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum(dim=0)
        attended = sum(share[:, None, None, None] * v for share, v in zip(shares, values, strict=True))
        states.append(torch.cat([embedded, attended], dim=1))
        output = F.silu(block("output", torch.cat([frame, attended + embedded], dim=1)))
        squeezed = F.linear(output.mean(dim=(2, 3)), w["gate.mlp.0.weight"], w["gate.mlp.0.bias"]).relu()
        gate = torch.sigmoid(F.linear(squeezed, w["gate.mlp.2.weight"], w["gate.mlp.2.bias"]))
        outputs.append(output * (1 + gate[:, :, None, None]))
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("queue", [2, 8])
@torch.no_grad()
def test_horst_follows_its_equations_with_keys_made_anew(queue):
    torch.manual_seed(3)
    cell, maps = HORST(C, D, queue), clip()
    weights = off_start(cell)
    near(cell(maps), plain_horst(weights, maps, queue))


@torch.no_grad()
def test_in_a_queue_of_one_the_querys_mask_has_no_say():
    torch.manual_seed(4)
    cell, maps = HORST(C, D, queue=1), clip()
    weights = off_start(cell)
    assert cell.query_mask is None
    for _ in range(2):
        mask = {"query_mask.convolution.weight": torch.randn(1, 2, 3, 3).double()}
        near(cell(maps), plain_horst(weights | mask, maps, queue=1))


@torch.no_grad()
def test_queues_longer_than_the_past_are_the_same():
    torch.manual_seed(5)
    cells = {queue: HORST(C, D, queue) for queue in (3, 4, 5, 8)}
    off_start(cells[8])
    maps = clip()
    for cell in cells.values():
        cell.double().load_state_dict(cells[8].state_dict())
    assert all(torch.equal(cells[queue](maps), cells[8](maps)) for queue in (4, 5))
    found = cells[3](maps)
    assert torch.equal(found[:, :4], cells[8](maps)[:, :4]) and not torch.equal(found, cells[8](maps))


def plain_e3d(w: dict[str, Tensor], maps: Tensor, window: int, *, released: bool = False) -> Tensor:
    """All outputs; `released` hands on the old memory, as the authors' cell does."""

    def conv(name: str, maps: Tensor) -> Tensor:
        """Over space at two times: each frame of the window and the one behind it, or zeros."""
        kernel, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
        behind = [*maps.unbind(dim=2)[1:], torch.zeros_like(maps[:, :, 0])]
        frames = [
            F.conv2d(one, kernel[:, :, 0], bias, padding=1) + F.conv2d(two, kernel[:, :, 1], padding=1)
            for one, two in zip(maps.unbind(dim=2), behind, strict=True)
        ]
        return torch.stack(frames, dim=2)

    zero = torch.zeros(B, D, window, SIDE, SIDE).double()
    hidden, memory, cells, outputs = zero, zero, [zero], []
    for step in range(maps.shape[1]):
        numbers = range(step - window + 1, step + 1)
        seen = torch.stack([maps[:, n] if n >= 0 else torch.zeros_like(maps[:, 0]) for n in numbers], dim=2)
        x = normed(w, "input.1", conv("input.0", seen)).chunk(7, dim=1)
        h = normed(w, "hidden_gates.1", conv("hidden_gates.0", hidden)).chunk(4, dim=1)
        m = normed(w, "memory.1", conv("memory.0", memory)).chunk(4, dim=1)
        i, g, r = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).tanh(), (x[2] + h[2]).sigmoid()
        recalled = torch.zeros_like(r)
        places = torch.cartesian_prod(*map(torch.arange, (window, SIDE, SIDE))).tolist()
        past = [cell[..., n, a, b] for cell in cells for n, a, b in places]
        for n, a, b in places:
            weights = torch.stack([(r[..., n, a, b] * place).sum(dim=1).exp() for place in past])
            total = sum(weight[:, None] * place for weight, place in zip(weights, past, strict=True))
            recalled[..., n, a, b] = total / weights.sum(dim=0)[:, None]
        cells.append(normed(w, "cell_norm", cells[-1] + recalled) + i * g)
        new = (x[4] + m[1] + 1).sigmoid() * m[3].tanh() + (x[3] + m[0]).sigmoid() * (x[5] + m[2]).tanh()
        o = (x[6] + h[3] + conv("output_cell", cells[-1]) + conv("output_memory", new)).tanh()
        both = torch.cat([cells[-1], new], dim=1)
        mixed = torch.einsum("ed,bdlhw->belhw", w["mix.weight"].flatten(1), both)
        hidden = o.sigmoid() * (mixed + w["mix.bias"].view(-1, 1, 1, 1)).tanh()
        memory = memory if released else new
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("window", [1, 2])
@torch.no_grad()
def test_e3d_follows_its_equations_and_its_memory_changes(window):
    torch.manual_seed(6)
    cell, maps = E3DLSTM(C, D, window), clip(frames=3)
    weights, found = off_start(cell), cell(maps)
    near(found, plain_e3d(weights, maps, window))
    forgetful = plain_e3d(weights, maps, window, released=True)
    near(found[:, 0], forgetful[:, 0])
    assert (found - forgetful)[:, 1:].abs().amax() > 0.01
