"""EgoRNN against the paper's equations written again, frame by frame and gate by gate."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import EgoRNN, FrameClassifier
from models.backbone import BackboneMaps

GATES = {"i": 0, "f": 1, "c": 2, "o": 3}


pytestmark = pytest.mark.usefixtures("thin")


def reference_basic_block(block, x: Tensor) -> tuple[Tensor, Tensor]:
    """f and g of a basic block, from its weights alone."""

    def norm(bn, y):
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        return y * scale[:, None, None] + (bn.bias - bn.running_mean * scale)[:, None, None]

    hidden = F.relu(norm(block.bn1, F.conv2d(x, block.conv1.weight, stride=block.conv1.stride, padding=1)))
    convolved = F.conv2d(hidden, block.conv2.weight, padding=1)
    return F.relu(norm(block.bn2, convolved) + x), convolved + x


def reference_logits(model: EgoRNN, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, c_T feature and attention of one clip (T, 3, H, W), one frame and one gate at a time."""
    net, cell = model.backbone.resnet, model.temporal.cell
    depth = cell.hidden
    wx, bx, wh = cell.input_conv.weight, cell.input_conv.bias, cell.hidden_conv.weight
    h = c = None
    attention = []
    for frame in frames:
        x = net.maxpool(F.relu(net.bn1(net.conv1(frame[None]))))
        x = net.layer4[:-1](net.layer3(net.layer2(net.layer1(x))))
        f, g = reference_basic_block(net.layer4[-1], x)
        scores = net.fc.weight @ f.mean(dim=(2, 3))[0] + net.fc.bias
        m = torch.einsum("c,chw->hw", net.fc.weight[scores.argmax()], f[0])
        a = torch.exp(m - m.max()) / torch.exp(m - m.max()).sum()
        attention.append(a)
        if h is None:
            h = c = torch.zeros(1, depth, *a.shape, dtype=frames.dtype)

        def gate(name, h=h, u=g * a):
            rows = slice(GATES[name] * depth, (GATES[name] + 1) * depth)
            return F.conv2d(u, wx[rows], bx[rows], padding=1) + F.conv2d(h, wh[rows], padding=1)

        c = torch.sigmoid(gate("i")) * torch.tanh(gate("c")) + torch.sigmoid(gate("f")) * c
        h = torch.sigmoid(gate("o")) * torch.tanh(c)
    feature = c.mean(dim=(2, 3))[0]
    return model.classifier.weight @ feature + model.classifier.bias, feature, torch.stack(attention)


@pytest.fixture
def model() -> EgoRNN:
    torch.manual_seed(0)
    model = EgoRNN(5, backbone="resnet18", hidden=6, backbone_classes=7).double()
    for module in model.modules():  # untrained statistics would hide a batch norm left out
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def test_equals_the_equations(model):
    frames = torch.randn(2, 3, 3, 64, 96, dtype=torch.float64)
    output = model(frames)
    for clip in range(2):
        logits, feature, attention = reference_logits(model, frames[clip])
        torch.testing.assert_close(output.logits[clip], logits, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(output.features[clip], feature, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(output.heat[clip], attention, rtol=1e-9, atol=1e-9)


def test_gradients_equal_those_of_the_equations(model):
    stage = EgoRNN.stage(2, "convlstm")
    stage.freeze(model)
    frames = torch.randn(1, 3, 3, 64, 64, dtype=torch.float64)
    label = torch.tensor([3])
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours = torch.autograd.grad(F.cross_entropy(model(frames).logits, label), list(learned.values()))
    logits, _, _ = reference_logits(model, frames[0])
    theirs = torch.autograd.grad(F.cross_entropy(logits[None], label), list(learned.values()))
    for name, a, b in zip(learned, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
        assert a.abs().max() > 0, f"{name} gets no gradient"


def test_chunks_do_not_change_the_maps(model):
    frames = torch.randn(5, 1, 3, 64, 64, dtype=torch.float64)
    whole = model.backbone.last_stage(model.backbone.trunk(frames))
    model.backbone.CPU_CHUNK_PIXELS = 2 * 64 * 64
    for a, b in zip(whole, model.backbone(frames), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_backbone_is_torchvisions(name):
    torch.manual_seed(1)
    backbone = FrameClassifier(4, backbone=name).eval().backbone
    frames = torch.randn(1, 2, 3, 64, 64)
    maps = backbone(frames)
    torch.testing.assert_close(maps.logits[0], backbone.resnet(frames[0]))
    maps = BackboneMaps(*(tensor[0] for tensor in maps))
    last = backbone.resnet.layer4[-1]
    norm = last.bn3 if name == "resnet50" else last.bn2
    residual = backbone.resnet.layer4[:-1](maps.layer3)
    torch.testing.assert_close(F.relu(norm(maps.pre_activation - residual) + residual), maps.layer4)
    assert (maps.pre_activation < 0).any(), "g must not be rectified"


def test_without_attention_the_recurrence_sees_f(model):
    model.attention = "none"
    frames = torch.randn(1, 2, 3, 64, 64, dtype=torch.float64)
    output = model(frames)
    assert output.heat is None
    expected = model.temporal.cell(output.maps["layer4"]).mean(dim=(2, 3))
    torch.testing.assert_close(output.features, expected)


def test_attention_sums_to_one_and_is_not_negative(model):
    heat = model(torch.randn(2, 2, 3, 96, 64, dtype=torch.float64)).heat
    assert heat.shape == (2, 2, 3, 2)
    assert (heat >= 0).all()
    torch.testing.assert_close(heat.sum(dim=(2, 3)), torch.ones(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("attention", ["cam", "none"])
def test_average_pooling_does_not_know_the_order_and_the_recurrences_do(attention):
    frames = torch.randn(1, 4, 3, 32, 32)
    for temporal, knows in (("avgpool", False), ("lstm", True), ("convlstm", True)):
        torch.manual_seed(2)
        model = EgoRNN(3, backbone="resnet18", attention=attention, temporal=temporal, hidden=8).eval()
        forth, back = model(frames).logits, model(frames.flip(1)).logits
        assert torch.allclose(forth, back, atol=1e-6) is not knows


def test_lstm_equals_its_equations():
    torch.manual_seed(3)
    model = EgoRNN(3, backbone="resnet18", attention="none", temporal="lstm", hidden=5).double().eval()
    frames = torch.randn(1, 3, 3, 32, 32, dtype=torch.float64)
    cell = model.temporal.cell
    h = c = torch.zeros(5, dtype=torch.float64)
    for x in model(frames).maps["layer4"][0].mean(dim=(2, 3)):
        gates = cell.weight_ih_l0 @ x + cell.bias_ih_l0 + cell.weight_hh_l0 @ h + cell.bias_hh_l0
        i, f, candidate, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(candidate)
        h = torch.sigmoid(o) * torch.tanh(c)
    torch.testing.assert_close(model(frames).features[0], h)


def test_scores_after_every_frame_are_learned_with_dropout_before_the_classifier():
    torch.manual_seed(6)
    model = EgoRNN(3, backbone="resnet18", hidden=16, dropout=0.5).eval()
    model.every_frame = True
    torch.nn.init.ones_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    frames = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        states = model.temporal.states(*model.attend(model.backbone(frames)))
        model.dropout.train()
        torch.manual_seed(7)
        output = model(frames)
        torch.manual_seed(7)
        kept = F.dropout(torch.ones(2, 4, 16), 0.5)
    torch.testing.assert_close(output.along[..., 0], (states * kept).sum(dim=2))
    assert torch.equal(output.logits, output.along[:, -1])


def test_frame_classifier_averages_frames():
    torch.manual_seed(4)
    model = FrameClassifier(3, backbone="resnet18").eval()
    clips = torch.randn(2, 3, 3, 32, 32)
    single = torch.stack([model.backbone.resnet(clip).mean(dim=0) for clip in clips])
    torch.testing.assert_close(model(clips).logits, single, rtol=1e-4, atol=1e-5)
    assert model(clips).heat.shape == (2, 3, 1, 1)
    model.every_frame = True
    cut = torch.stack([model(clips[:, :end]).logits for end in (1, 2, 3)], dim=1)
    torch.testing.assert_close(model(clips).along, cut, rtol=1e-4, atol=1e-5)


def test_frozen_layers_stay_in_float32_under_autocast():
    model = EgoRNN(3, backbone="resnet18", hidden=8).eval()
    frames = torch.randn(1, 2, 3, 32, 32)
    exact = model(frames)
    EgoRNN.stage(1, "convlstm").freeze(model)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(frames)
    assert torch.equal(exact.maps["layer4"], mixed.maps["layer4"])
    assert not torch.equal(exact.features, mixed.features.float())
    EgoRNN.stage(2, "convlstm").freeze(model)
    with torch.autocast("cpu", torch.bfloat16):
        trained = model(frames)
    assert torch.equal(exact.maps["layer3"], trained.maps["layer3"])
    assert trained.maps["pre_activation"].dtype == torch.bfloat16
