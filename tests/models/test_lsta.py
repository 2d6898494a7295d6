"""LSTA against its equations, its limits, and its published names."""

import pytest
import torch
import torch.nn.functional as F

from core.errors import UserError
from models import EgoRNN, TwoStream, load_reference_state, reference_state
from models.build import read_published
from models.convlstm import ConvLSTM
from models.flow_stream import FlowStream
from models.temporal import build_temporal
from tests.support.thin import thin_networks

B, T, C, D, SIDE = 2, 4, 3, 5, 3
FAMILY = ("lsta", "lsta-mended", "lsta-attention", "lsta-gating")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def built(name):
    head = build_temporal(name, C, D).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return head


def clip(frames=T):
    maps = torch.randn(B, frames, C, SIDE, SIDE, dtype=torch.float64)
    return maps, 2 * torch.randn(B, frames, SIDE, SIDE, dtype=torch.float64)


def close(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def softmax(m):
    return torch.exp(m) / torch.exp(m).sum(dim=(-2, -1), keepdim=True)


def conv(x, weight, bias=None):
    return F.conv2d(x[None], weight, bias, padding=1)[0]


def lsta_by_hand(w, maps, cam):
    """Memories and attention of one clip, from the equations over the published tensors."""

    def gate(name, x, x_key, h, h_key, prefix="lsta_cell.conv_"):
        """Sum of a gate's two convolutions, with what biases are there."""
        keys = [f"{prefix}{name}_{key}" for key in (x_key, h_key)]
        parts = [conv(v, w[f"{k}.weight"], w.get(f"{k}.bias")) for k, v in zip(keys, (x, h), strict=True)]
        return parts[0] + parts[1]

    a = s = torch.zeros(1, SIDE, SIDE, dtype=torch.float64)
    c = o = torch.zeros(D, SIDE, SIDE, dtype=torch.float64)
    memories, attention = [], []
    for g, m in zip(maps, cam, strict=True):
        i, f, o_s = (torch.sigmoid(gate(name, m[None], "cam", s, "s")) for name in "ifo")
        a = f * a + i * torch.tanh(gate("a", m[None], "cam", s, "s"))
        s = o_s * torch.tanh(a)
        u = softmax(s[0] + m)
        x = g * u
        h = o * torch.tanh(c)
        i, f = (torch.sigmoid(gate(name, x, "x", h, "c")) for name in "if")
        c = f * c + i * torch.tanh(gate("c", x, "x", h, "c"))
        choice = w["lsta_cell.c_classifier.weight"]
        score = choice @ c.mean(dim=(1, 2)) + w["lsta_cell.coupling_fc.weight"] @ x.mean(dim=(1, 2))
        o = torch.sigmoid(gate("o", h, "x", choice[score.argmax()][:, None, None] * c, "c"))
        memories.append(c)
        attention.append(u)
    return torch.stack(memories), torch.stack(attention)


@torch.no_grad()
def test_lsta_equals_its_equations_over_the_published_tensors():
    head, (maps, cam) = built("lsta"), clip()
    published = head.published_state()
    found, heat = head.cell_features(maps, cam), head.with_heat(maps, cam)[1]
    for number in range(B):
        memories, attention = lsta_by_hand(published, maps[number], cam[number])
        close(found[number], memories)
        close(heat[number], attention)
    close(head(maps, cam), found[:, -1].mean(dim=(2, 3)))


@torch.no_grad()
def test_the_raw_cam_and_not_its_softmax_is_what_the_recurrence_reads():
    """The same attention of every single frame, from maps that differ by a constant."""
    head, (maps, cam) = built("lsta"), clip()
    assert (head(maps, cam) - head(maps, cam + 1)).abs().max() > 1e-4


def silence(*parts):
    for part in parts:
        for parameter in part.parameters():
            torch.nn.init.zeros_(parameter)


@torch.no_grad()
def test_without_attention_weights_it_looks_where_ego_rnn_does():
    head, (maps, cam) = built("lsta"), clip()
    silence(head.tracker)
    close(head.attention(cam), softmax(cam))
    gating = built("lsta-gating")
    gating.cell.load_state_dict(head.cell.state_dict())
    assert torch.equal(gating.states(maps, cam), head.states(maps, cam))


@torch.no_grad()
def test_with_an_ordinary_gate_it_is_the_convlstm_behind_its_attention():
    head, (maps, cam) = built("lsta-attention"), clip()
    assert torch.equal(
        head.cell_features(maps, cam), head.cell.states(maps * head.attention(cam)[:, :, None])
    )
    silence(head.tracker)
    plain = build_temporal("convlstm", C, D).double()
    plain.cell.load_state_dict(head.cell.state_dict())
    assert torch.equal(head.states(maps, cam), plain.states(maps, cam))


@torch.no_grad()
def test_with_both_parts_off_it_is_a_convlstm_whose_output_gate_sees_no_input():
    head, (maps, cam) = built("lsta"), clip()
    silence(head.tracker)
    torch.nn.init.zeros_(head.cell.entries.weight)
    cell, plain = head.cell, ConvLSTM(C, D).double()
    plain.input_conv.weight[:] = torch.cat([cell.input_conv.weight, torch.zeros(D, C, 3, 3)])
    plain.input_conv.bias[:] = torch.cat([cell.input_conv.bias, cell.memory_conv.bias])
    plain.hidden_conv.weight[:] = cell.hidden_conv.weight
    close(head.cell_features(maps, cam), plain.states(maps * softmax(cam)[:, :, None]), 1e-14)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lsta", "lsta-mended", "lsta-gating"])
def test_the_pooling_comes_too_late_for_the_last_frame(name):
    head, (maps, cam) = built(name), clip()
    before = head.states(maps, cam)
    head.cell.entries.weight += 1
    head.cell.memory_conv.weight += 1
    after = head.states(maps, cam)
    assert torch.equal(after[:, 0], before[:, 0]) and (after[:, 1:] != before[:, 1:]).all()


def test_as_released_the_coupling_decides_and_never_learns():
    head, (maps, cam) = built("lsta"), clip()
    head.states(maps, cam).sum().backward()
    assert head.untrained == ("cell.coupling.weight",)
    assert head.cell.coupling.weight.grad is None
    taken = (head.cell.entries.weight.grad != 0).any(dim=1)
    assert 0 < taken.sum() <= B * (T - 1), "of the entries, those learn that were taken"
    before = head.states(maps, cam)
    with torch.no_grad():
        head.cell.coupling.weight *= -5
    assert not torch.allclose(head.states(maps, cam), before)


def test_mended_the_coupling_and_every_entry_learn():
    head, (maps, cam) = built("lsta-mended"), clip()
    head.states(maps, cam).sum().backward()
    assert head.untrained == ()
    assert all((p.grad != 0).any() for p in head.parameters())
    assert (head.cell.entries.weight.grad != 0).any(dim=1).all()


@torch.no_grad()
def test_mended_it_is_lsta_where_one_score_is_far_above_the_others():
    released, mended, (maps, cam) = built("lsta"), built("lsta-mended"), clip()
    maps = maps.abs()
    released.cell.coupling.weight[:] = -1000
    released.cell.coupling.weight[7] = 1000
    mended.load_state_dict(released.state_dict())
    close(mended.states(maps, cam), released.states(maps, cam))


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_it_starts_as_published(name):
    head = build_temporal(name, 16, 16)
    for key, parameter in head.named_parameters():
        if key.endswith("bias"):
            assert (parameter == 0).all(), key
        elif "conv" in key and "tracker" not in key:
            fan = 9 * 32
            assert parameter.std() == pytest.approx((2 / fan) ** 0.5, rel=0.1), key


@pytest.mark.parametrize("name", FAMILY)
def test_it_needs_the_cam(name):
    with pytest.raises(UserError, match=f"--temporal {name} needs --attention cam"):
        EgoRNN(4, backbone="resnet18", attention="none", temporal=name, hidden=2)


@torch.no_grad()
def test_grad_cam_starts_from_the_weighted_maps():
    model = tiny(0)
    frames = torch.randn(1, 3, 3, 64, 64)
    output = model(frames)
    maps, logits = model.last_maps({"frames": frames})
    torch.testing.assert_close(maps, (output.maps["pre_activation"] * output.heat[:, :, None])[0])
    torch.testing.assert_close(logits(maps), output.logits)


@thin_networks()
def tiny(seed, temporal="lsta"):
    torch.manual_seed(seed)
    return EgoRNN(4, backbone="resnet18", temporal=temporal, hidden=3, backbone_classes=6).eval()


@thin_networks()
@torch.no_grad()
def test_a_published_checkpoint_is_recognised_loads_and_goes_back():
    source = tiny(0)
    state = {f"module.{key}": value for key, value in reference_state(source).items()}
    architecture, model = read_published({"state_dict": state})
    sizes = {"temporal": "lsta", "hidden": 3, "num_classes": 4, "backbone": "resnet18", "attention": "cam"}
    assert architecture.items() >= sizes.items()
    frames = torch.randn(1, 3, 3, 64, 64)
    assert torch.equal(model.eval()(frames).logits, source(frames).logits)
    again = reference_state(model)
    assert all(torch.equal(again[key.removeprefix("module.")], value) for key, value in state.items())


def test_published_names_and_sizes_are_the_releases():
    with torch.device("meta"):
        state = reference_state(EgoRNN(61, backbone="resnet34", temporal="lsta"))
    cell = {key.removeprefix("lsta_cell."): tuple(v.shape) for key, v in state.items() if "lsta_cell" in key}
    shapes = {f"conv_{gate}_{kind}.weight": (1, 1, 3, 3) for gate in "ifao" for kind in ("s", "cam")}
    shapes |= {f"conv_{gate}_s.bias": (1,) for gate in "ifao"}
    shapes |= {f"conv_{gate}_{kind}.weight": (512, 512, 3, 3) for gate in "ifco" for kind in "xc"}
    shapes |= {f"conv_{gate}_x.bias": (512,) for gate in "ifco"}
    shapes |= {f"{name}.weight": (100, 512) for name in ("c_classifier", "coupling_fc")}
    assert cell == shapes
    assert sum(torch.Size(shape).numel() for shape in cell.values()) == 18_978_892


@thin_networks()
def test_a_two_stream_network_of_lsta_is_recognised():
    joint = TwoStream(tiny(0), FlowStream(4, stack=2, backbone="resnet18"), 4)
    architecture, model = read_published(reference_state(joint))
    assert architecture["rgb"]["temporal"] == "lsta" and architecture["rgb"]["hidden"] == 3
    assert torch.equal(model.rgb.temporal.cell.hidden_conv.weight, joint.rgb.temporal.cell.hidden_conv.weight)


def test_names_of_one_head_do_not_fit_the_other():
    with pytest.raises(UserError, match=r"missing .*lsta_cell.*unexpected .*lstm_cell"):
        load_reference_state(tiny(0), reference_state(tiny(0, "convlstm")))
    with pytest.raises(UserError, match="ConvLSTM"):
        reference_state(tiny(0, "lsta-mended"))
