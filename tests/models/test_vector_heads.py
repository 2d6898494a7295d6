"""Heads over pooled frames, and the head that pools by its own attention, against their equations."""

import pytest
import torch
from torch import nn

from core.errors import UserError
from models import EgoRNN
from models.temporal import build_temporal

B, T, C, D, SIDE = 2, 4, 3, 5, 3


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def built(name):
    return build_temporal(name, C, D, T).double()


def maps(frames=T):
    return torch.randn(B, frames, C, SIDE, SIDE, dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def lstm(x, h, c, w_x, w_h, bias):
    """One step of an LSTM, gates in torch's order i, f, g, o."""
    i, f, g, o = (w_x @ x + w_h @ h + bias).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def run(cell, inputs, suffix):
    """The outputs of one layer and direction of torch's LSTM over vectors (T, C), by hand."""
    weights = [getattr(cell, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh")]
    bias = getattr(cell, f"bias_ih_{suffix}") + getattr(cell, f"bias_hh_{suffix}")
    h = c = torch.zeros(D, dtype=torch.float64)
    found = []
    for x in inputs:
        h, c = lstm(x, h, c, *weights, bias)
        found.append(h)
    return found


@torch.no_grad()
def test_maxpool_takes_each_cells_highest_frame():
    head, given = built("maxpool"), maps()
    close(head(given, None), given.max(dim=1).values.mean(dim=(2, 3)))
    cam = torch.randn(B, T, SIDE, SIDE, dtype=torch.float64)
    weight = torch.exp(cam) / torch.exp(cam).sum(dim=(2, 3), keepdim=True)
    close(head(given, cam), (given * weight[:, :, None]).max(dim=1).values.sum(dim=(2, 3)))
    close(head(given.flip(1), cam.flip(1)), head(given, cam))


@torch.no_grad()
def test_concat_is_a_perceptron_that_knows_the_order():
    head, given = built("concat"), maps()
    pooled = given.mean(dim=(3, 4))
    by_hand = head.fuse.bias + sum(
        pooled[:, t] @ head.fuse.weight[:, t * C : (t + 1) * C].T for t in range(T)
    )
    close(head(given, None), by_hand.clamp(min=0))
    assert not torch.allclose(head(given.flip(1), None), head(given, None))


@torch.no_grad()
def test_concat_fills_missing_frames_with_the_last_and_refuses_more():
    head, given = built("concat"), maps(2)
    filled = torch.cat([given, given[:, 1:], given[:, 1:]], dim=1)
    close(head(given, None), head(filled, None))
    with pytest.raises(UserError, match="built for 4 frames, got 5"):
        head(maps(5), None)
    with pytest.raises(UserError, match="--temporal concat .*number of frames"):
        EgoRNN(4, backbone="resnet18", temporal="concat")
    assert EgoRNN(4, backbone="resnet18", temporal="concat", hidden=2, frames=3).temporal.frames == 3


@torch.no_grad()
def test_five_layers_each_read_the_one_below():
    head, given = built("lstm5"), maps()
    layer = given[0].mean(dim=(2, 3))
    for number in range(5):
        layer = run(head.cell, layer, f"l{number}")
    close(head(given, None)[0], layer[-1])


@torch.no_grad()
def test_both_directions_feed_the_second_layer_and_end_at_their_own_ends():
    head, given = built("bilstm"), maps()
    layer = list(given[0].mean(dim=(2, 3)))
    for number in range(2):
        forth = run(head.cell, layer, f"l{number}")
        back = run(head.cell, layer[::-1], f"l{number}_reverse")[::-1]
        layer = [torch.cat(pair) for pair in zip(forth, back, strict=True)]
    close(head(given, None)[0], torch.cat([forth[-1], back[0]]))


def attention_by_hand(head, clip):
    """Feature and weights of one clip (T, C, h, w) from the equations, cell by cell."""
    m = clip.mean(dim=(0, 2, 3))
    h = torch.tanh(head.first_hidden.weight @ m + head.first_hidden.bias)
    c = torch.tanh(head.first_memory.weight @ m + head.first_memory.bias)
    weights = []
    for frame in clip:
        cells = [frame[:, row, column] for row in range(SIDE) for column in range(SIDE)]
        look = [head.of_cell.weight @ x + head.of_cell.bias + head.of_state.weight @ h for x in cells]
        e = torch.stack([head.score.weight[0] @ torch.tanh(score) for score in look])
        a = torch.exp(e) / torch.exp(e).sum()
        x = sum(weight * cell for weight, cell in zip(a, cells, strict=True))
        h, c = lstm(x, h, c, head.cell.weight_ih, head.cell.weight_hh, head.cell.bias_ih + head.cell.bias_hh)
        weights.append(a.view(SIDE, SIDE))
    return h, torch.stack(weights)


@torch.no_grad()
def test_softattention_equals_its_equations():
    head, given = built("softattention"), maps()
    feature, heat = head.with_heat(given, None)
    for clip in range(B):
        by_hand, weights = attention_by_hand(head, given[clip])
        close(feature[clip], by_hand)
        close(heat[clip], weights)
    close(heat.sum(dim=(2, 3)), torch.ones(B, T, dtype=torch.float64))


@torch.no_grad()
def test_softattention_without_attention_weights_is_torchs_lstm_on_averaged_frames():
    head, given = built("softattention"), maps()
    for layer in (head.of_cell, head.of_state, head.score, head.first_hidden, head.first_memory):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    plain = nn.LSTM(C, D, batch_first=True).double()
    plain.load_state_dict({f"{name}_l0": value for name, value in head.cell.state_dict().items()})
    close(head.states(given, None), plain(given.mean(dim=(3, 4)))[0])


@torch.no_grad()
def test_softattention_looks_ahead_within_what_was_seen_and_no_further():
    head, given = built("softattention"), maps()
    later = torch.cat([given[:, :-1], given[:, -1:] + 1], dim=1)
    assert not torch.allclose(head.with_heat(later, None)[1][:, 0], head.with_heat(given, None)[1][:, 0])
    assert torch.equal(head.states(later, None)[:, :-1], head.states(given, None)[:, :-1])


@torch.no_grad()
def test_softattention_shows_its_own_heat_with_and_without_the_cam():
    frames = torch.randn(1, 2, 3, 64, 64)
    for attention in ("cam", "none"):
        options = {"backbone": "resnet18", "hidden": 3, "backbone_classes": 5}
        model = EgoRNN(4, attention=attention, temporal="softattention", **options).eval()
        output = model(frames)
        seen = model.attend(model.backbone(frames))[0]
        assert torch.equal(output.heat, model.temporal.with_heat(seen, None)[1])
        assert model.heats() == ("attention", "gradcam")
        maps, logits = model.last_maps({"frames": frames})
        assert torch.equal(maps, seen[0]), "the maps that it weights itself"
        torch.testing.assert_close(logits(maps), output.logits)
