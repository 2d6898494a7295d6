"""Networks over whole clips, layer by layer: equations, frames that are left, parameters by formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50

from models.build import build_model
from models.cost import network_cost
from models.video import NETWORKS
from models.video.inflate import TimeConv3d
from models.video.p3d import Kind, PseudoConv
from tests.support.video_networks import SIZE, K, clips, lateral_off, network

pytestmark = pytest.mark.usefixtures("thin")


@torch.no_grad()
def test_beyond_the_borders_are_the_first_and_the_last_frame_zeros_or_nothing():
    seen = torch.randn(2, 3, 6, 4, 4, dtype=torch.float64)
    for padding, mode in (("replicate", "replicate"), ("zeros", "constant"), ("valid", None)):
        conv = TimeConv3d(3, 4, (5, 1, 1), (2, 1, 1), (0, 0), padding).double()
        padded = seen if mode is None else F.pad(seen, (0, 0, 0, 0, 2, 2), mode=mode)
        expected = F.conv3d(padded, conv.weight, stride=(2, 1, 1))
        torch.testing.assert_close(conv(seen), expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_a_pseudo_convolution_is_its_formula_and_begins_as_its_part_in_space(kind: Kind):
    torch.manual_seed(0)
    part = PseudoConv(kind, nn.Conv3d(4, 4, (1, 3, 3), 1, (0, 1, 1)), nn.BatchNorm3d(4)).double().eval()
    x = torch.randn(2, 4, 5, 6, 6, dtype=torch.float64)

    def in_time(maps):
        found = F.conv3d(F.pad(maps, (0, 0, 0, 0, 1, 1), mode="replicate"), part.time.weight)
        return part.time_norm(found)

    space = part.norm(part.space(x)).relu()
    formulas = {
        "A": in_time(space),
        "B": space + in_time(x).relu(),
        "C": (space + in_time(space).relu()) / 2,
    }
    torch.testing.assert_close(part(x), formulas[kind], rtol=1e-10, atol=1e-10)
    part.begin_flat()  # of moving clips too
    torch.testing.assert_close(part(x), space, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_slowfast_without_lateral_weights_is_two_networks():
    torch.manual_seed(2)
    model = NETWORKS["slowfast18"]("slowfast18", K, frames=8, width=8).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm3d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
    seen = clips(2, 8)
    joined = model(seen).features
    lateral_off(model)
    apart = model(seen).features
    assert not torch.allclose(joined[:, :64], apart[:, :64])
    slow, fast = seen[:, ::4].transpose(1, 2), seen.transpose(1, 2)
    for stage in ("stem", "layer1", "layer2", "layer3", "layer4"):
        wanted = next(p for p in model.slow[stage].modules() if isinstance(p, nn.Conv3d)).in_channels
        slow = F.pad(slow, (0, 0, 0, 0, 0, 0, 0, wanted - slow.shape[1]))  # nothing comes from the fast one
        slow, fast = model.slow[stage](slow), model.fast[stage](fast)
    torch.testing.assert_close(apart, torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], dim=1))
    others = seen.clone()
    others[:, [1, 2, 3, 5, 6, 7]] += 1
    moved = model(others).features
    assert moved[:, :64].equal(apart[:, :64]) and not torch.allclose(moved[:, 64:], apart[:, 64:])


@torch.no_grad()
def test_c3d_equals_its_layers():
    torch.manual_seed(0)
    model = NETWORKS["c3d"]("c3d", K, frames=5, width=4).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.running_var.uniform_(1e-4, 1e-2)  # so that what is added to it is felt
    w, x = model.net.state_dict(), clips(1, 5).transpose(1, 2)
    names = [key.removesuffix(".weight") for key, value in w.items() if value.ndim == 5]
    for name, pool in zip(names, ("first", "2", "", "2", "", "2", "", "last"), strict=True):
        x, at = F.conv3d(x, w[f"{name}.weight"], padding=1), int(name) + 1
        mean, var, gain, bias = (w[f"{at}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, var, gain, bias, eps=1e-3).relu()
        if pool:
            size, border = (1 if pool == "first" else 2, 2, 2), (0, 1, 1) if pool == "last" else 0
            x = F.max_pool3d(x, size, padding=border, ceil_mode=True)
    torch.testing.assert_close(model.maps(clips(1, 5)), x.transpose(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name,frames,left",
    [
        ("i3d-resnet18", 16, {"conv1": 16, "layer1": 8, "layer2": 8, "layer3": 8, "layer4": 8}),
        ("slowfusion", 18, {"conv1": 8, "layer1": 8, "layer2": 4, "layer3": 2, "layer4": 2}),
        ("csn26", 8, {"stem": 8, "layer1": 8, "layer2": 4, "layer3": 2, "layer4": 1}),
        ("p3d50", 16, {"conv1": 16, "maxpool": 8, "layer1": 4, "layer2": 2, "layer3": 1, "layer4": 1}),
    ],
)
def test_frames_that_each_layer_leaves(name, frames, left):
    with torch.device("meta"):
        model, found = NETWORKS[name](name, K, frames=frames).eval(), {}
    for layer in left:
        model.net.get_submodule(layer).register_forward_hook(
            lambda part, given, made, layer=layer: found.update({layer: made.shape[2]})
        )
    model.maps(torch.zeros(1, frames, 3, SIZE, SIZE, device="meta"))
    assert found == left


@torch.no_grad()
def test_the_stem_of_csn_sees_three_frames():
    stem, seen = network("csn26", 7).net.stem, clips(1, 7).transpose(1, 2)
    other = seen.clone()
    other[:, :, 3] += 1
    assert (stem(other) != stem(seen)).any(dim=4).any(dim=3).any(dim=1).tolist() == [
        [False, False, True, True, True, False, False]
    ]


def test_kernels_of_i3d_that_see_neighbours():
    def found(name):
        with torch.device("meta"):
            net = NETWORKS[name](name, K, frames=7).net
        convolutions = {key: part for key, part in net.named_modules() if isinstance(part, nn.Conv3d)}
        lengths = {key: part.kernel_size[0] for key, part in convolutions.items()}
        assert lengths.pop("conv1") == 5 and set(lengths.values()) == {1, 3}
        return [key for key, length in lengths.items() if length == 3]

    assert found("i3d-resnet18") == [f"layer{n}.{block}.conv1" for n in (1, 2, 3, 4) for block in (0, 1)]
    chosen = {1: (0, 1, 2), 2: (0, 2), 3: (0, 2, 4), 4: (1,)}  # the non-local paper's table
    assert found("i3d-resnet50") == [f"layer{n}.{block}.conv1" for n in chosen for block in chosen[n]]


def test_sides_of_the_last_maps_and_rates_of_the_norms():
    """Of clips that are higher than wide; an odd last step, row or column is kept."""
    for name in ("s3d", "swin3d_t"):
        with torch.device("meta"):
            model = NETWORKS[name](name, K, frames=8)
        found = model.maps(torch.zeros(1, 8, 3, 128, 64, device="meta"))
        assert found.shape[3] > found.shape[4], name
        norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        assert {part.momentum for part in norms} <= {0.1}, name
    with torch.device("meta"):
        s3d = NETWORKS["s3d"]("s3d", K, frames=20)
    assert s3d.maps(torch.zeros(1, 20, 3, 112, 112, device="meta")).shape[1:] == (3, 1024, 4, 4)


def parameters(name: str) -> int:
    """Count all but the classifier's, whose size is that of the data."""
    with torch.device("meta"):
        model = NETWORKS[name](name, K, frames=7)
    return sum(p.numel() for n, p in model.named_parameters() if not n.startswith("classifier."))


def norm(channels: int) -> int:
    return 2 * channels


def test_parameters_of_r2plus1d_by_formula():
    """M = floor(t d^2 Ni No / (d^2 Ni + t No)) channels between space and time, once a block."""
    total = 3 * 45 * 49 + norm(45) + 45 * 64 * 3 + norm(64)
    inputs = 64
    for outputs in (64, 128, 256, 512):
        for block in range(2):
            between = 27 * inputs * outputs // (9 * inputs + 3 * outputs)
            for ins in (inputs, outputs):
                total += between * (9 * ins + 3 * outputs) + norm(between) + norm(outputs)
            if block == 0 and outputs != 64:
                total += inputs * outputs + norm(outputs)
            inputs = outputs
    assert parameters("r2plus1d_18") == total


@pytest.mark.parametrize("name,blocks", [("csn26", (2, 2, 2, 2)), ("csn50", (3, 4, 6, 3))])
def test_parameters_of_csn_by_formula(name, blocks):
    total, inputs = 64 * 3 * 3 * 49 + norm(64), 64
    for planes, count in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(count):
            total += inputs * planes + 27 * planes + planes * 4 * planes + 2 * norm(planes) + norm(4 * planes)
            total += inputs * 4 * planes + norm(4 * planes) if block == 0 else 0
            inputs = 4 * planes
    assert parameters(name) == total


def test_depthwise_kernels_see_one_channel():
    with torch.device("meta"):
        model = NETWORKS["csn26"]("csn26", K, frames=7)
    wide = [m for m in model.net.modules() if isinstance(m, nn.Conv3d) and m.kernel_size == (3, 3, 3)]
    assert len(wide) == 8 and all(m.groups == m.in_channels == m.out_channels for m in wide)


def test_parameters_of_p3d_by_formula():
    """Those of the ResNet-50, and in each block but layer4's a 3x1x1 convolution with its norm."""
    with torch.device("meta"):
        flat_total = sum(p.numel() for n, p in resnet50().named_parameters() if not n.startswith("fc."))
    in_time = sum(n * (3 * p * p + norm(p)) for n, p in zip((3, 4, 6), (64, 128, 256), strict=True))
    assert parameters("p3d50") == flat_total + in_time


def test_kinds_of_p3d_take_turns():
    with torch.device("meta"):
        model = NETWORKS["p3d50"]("p3d50", K, frames=7)
    kinds = [part.kind for part in model.net.modules() if isinstance(part, PseudoConv)]
    assert "".join(kinds) == "ABC" * 4 + "A"


def test_sizes_published_or_computed():
    """Millions of parameters with 61 classes, as papers and counts of others have them."""
    known = {"i3d-resnet50": 27.4, "c3d": 27.7, "slowfast50": 33.8, "r3d_18": 33.2, "s3d": 7.97}
    for name, millions in known.items():
        with torch.device("meta"):
            model = NETWORKS[name](name, 61, frames=7)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06), name


@pytest.mark.parametrize(
    "name,frames,size,gmac", [("csn26", 7, 112, 1.8), ("r3d_18", 16, 224, 162.8), ("s3d", 16, 224, 17.98)]
)
def test_operations_are_counted_as_papers_do(name, frames, size, gmac):
    architecture = {"name": NETWORKS[name].__name__, "network": name, "num_classes": 61, "frames": frames}
    found = network_cost(architecture, {"frames": (frames, 3, size, size)})
    assert found["gmac"] == pytest.approx(gmac, rel=0.02)
    with torch.device("meta"):
        assert found["parameters"] == sum(p.numel() for p in build_model(architecture).parameters())
