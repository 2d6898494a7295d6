"""Networks over whole clips: what each begins as, its parameters by formula, and what all of them can."""

from copy import deepcopy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50, video

from core.checkpoint import save_checkpoint
from core.errors import UserError
from models.backbones.resnet import RESNETS
from models.build import build_model, build_trained
from models.cost import network_cost
from models.inserts import MODULES
from models.inserts.tsm import frame_by_frame
from models.video import NETWORKS
from models.video.base import lengthen, resnet_maps
from models.video.inflate import inflate
from models.video.p3d import PseudoConv
from tests.support.thin import thin_networks

K, T, SIZE = 5, 5, 32
OTHERS = {"mvit_v2_s"}  # takes no small clips
HEAVY = {
    *("resnet34", "resnet50", "early-resnet34", "early-resnet50", "i3d-resnet34", "i3d-resnet50", "p3d50"),
    *("csn50", "slowfast50", "r3d_18", "mc3_18", "r2plus1d_18", "c3d", "slowfast18", "swin3d_t"),
}
EACH = [
    pytest.param(name, marks=pytest.mark.stress) if name in HEAVY else name
    for name in NETWORKS
    if name not in OTHERS
]


@pytest.fixture(autouse=True, scope="module")
def thin():
    """Every ResNet-18 is an eighth as wide."""
    with thin_networks():
        yield


@cache
def network(name: str, frames: int = T, **options: object):
    torch.manual_seed(0)
    return NETWORKS[name](name, K, frames=frames, dropout=0.0, **options).eval()


def clips(number: int = 2, frames: int = T, size: int = SIZE) -> torch.Tensor:
    return torch.randn(number, frames, 3, size, size, generator=torch.Generator().manual_seed(frames))


@cache
def flat(name: str) -> nn.Module:
    """A 2D ResNet whose batch norms have seen something."""
    torch.manual_seed(1)
    net = RESNETS[name](weights=None, num_classes=7).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    return net


def started(name: str, backbone: str, folder, frames: int = T, **options: object):
    save_checkpoint(folder / "flat.pth", flat(backbone).state_dict())
    model = network.__wrapped__(name, frames, **options)
    model.start(str(folder / "flat.pth"))
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("frames", [5, 7, 16])
@pytest.mark.parametrize(
    "name,backbone", [("i3d-resnet18", "resnet18"), ("early", "resnet18"), ("slowfusion", "resnet18")]
)
def test_a_still_clip_gives_what_the_2d_network_gives(name, backbone, frames, tmp_path):
    still = clips(2, 1).expand(-1, frames, -1, -1, -1)
    expected = resnet_maps(deepcopy(flat(backbone)).double(), still[:, 0].double()).mean(dim=(2, 3))
    found = started(name, backbone, tmp_path, frames).double()(still.double()).features
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    "name,backbone",
    [
        ("p3d50", "resnet50"),
        pytest.param("i3d-resnet50", "resnet50", marks=pytest.mark.stress),
        pytest.param("i3d-resnet34", "resnet34", marks=pytest.mark.stress),
        pytest.param("early-resnet34", "resnet34", marks=pytest.mark.stress),
        pytest.param("early-resnet50", "resnet50", marks=pytest.mark.stress),
    ],
)
def test_deeper_ones_and_bottlenecks_begin_as_the_2d_network_too(name, backbone, tmp_path):
    still = clips(1, 1).expand(-1, 7, -1, -1, -1)
    expected = resnet_maps(flat(backbone), still[:, 0]).mean(dim=(2, 3))
    found = started(name, backbone, tmp_path, 7)(still).features
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "name,backbone",
    [
        pytest.param("p3d50", "resnet50", marks=pytest.mark.stress),
        *((n, "resnet18") for n in ("i3d-resnet18", "early", "slowfusion")),
    ],
)
def test_all_of_a_network_that_begins_as_a_2d_one_learns(name, backbone, tmp_path):
    model = started(name, backbone, tmp_path, 7).train()
    F.cross_entropy(model(clips(2, 7)).logits, torch.tensor([0, 1])).backward()
    still = [key for key, weight in model.named_parameters() if not bool(weight.grad.any())]
    assert not still


@torch.no_grad()
def test_inflated_by_kernels_of_one_frame_it_is_tsn():
    net, seen = deepcopy(flat("resnet18")), clips(2, 5).double()
    expected = resnet_maps(deepcopy(net).double(), seen.flatten(0, 1)).unflatten(0, (2, 5))
    inflate(net, lambda name: 1)
    found = resnet_maps(net.double().eval(), seen.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_zeros_beyond_the_borders_spoil_a_still_clip(tmp_path):
    still = clips(2, 1).expand(-1, 7, -1, -1, -1)
    expected = resnet_maps(flat("resnet18"), still[:, 0]).mean(dim=(2, 3))
    found = started("i3d-resnet18", "resnet18", tmp_path, 7, time_padding="zeros")(still).features
    assert float((found - expected).norm() / expected.norm()) > 0.1


@torch.no_grad()
@pytest.mark.parametrize(
    "name,backbone,width",
    [("slowfast18", "resnet18", 8), pytest.param("slowfast50", "resnet50", 64, marks=pytest.mark.stress)],
)
def test_the_slow_pathway_begins_as_the_2d_network(name, backbone, width, tmp_path):
    model = NETWORKS[name](name, K, frames=8, width=width)
    save_checkpoint(tmp_path / "flat.pth", flat(backbone).state_dict())
    model.start(str(tmp_path / "flat.pth"))
    lateral_off(model)
    still = clips(2, 1).expand(-1, 8, -1, -1, -1)
    expected = resnet_maps(flat(backbone), still[:, 0]).mean(dim=(2, 3))
    found = model.eval()(still).features[:, : expected.shape[1]]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def lateral_off(model):
    for part in model.lateral.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.zeros_(part.weight)
        elif isinstance(part, nn.BatchNorm3d):
            nn.init.zeros_(part.bias)


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


@torch.no_grad()
def test_averaged_frames_know_no_order_and_early_fusion_does():
    seen = clips(2, 7)
    turned = seen.flip(1)
    for name, blind in (("resnet18", True), ("early", False), ("i3d-resnet18", False)):
        model = network(name, 7)
        assert torch.allclose(model(seen).logits, model(turned).logits, rtol=1e-4, atol=1e-6) == blind, name


@pytest.mark.parametrize("name", ["c3d", "p3d50"])
def test_a_step_behind_four_pools_is_of_16_frames(name):
    with torch.device("meta"):
        model = network.__wrapped__(name, 17)
    assert model._steps(17, torch.empty(1, 2)).tolist() == [0] * 16 + [1]
    seen = torch.zeros(1, 3, 17, SIZE, SIZE, device="meta")
    assert model.convolve(seen).shape[2] == 2


@torch.no_grad()
def test_a_network_that_averages_reads_a_stream_frame_by_frame():
    model, seen = network("resnet18", module="tsm-causal"), clips(2)
    with frame_by_frame(model):
        each = torch.stack([model(seen[:, t : t + 1]).features for t in range(T)])
    torch.testing.assert_close(each.mean(dim=0), model(seen).features, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="was built for clips of"):
        network("resnet18", module="tsm")(seen[:, :1])


@torch.no_grad()
def test_several_views_are_averaged_before_the_softmax():
    model = network("i3d-resnet18")
    views = clips(6).view(2, 3 * T, 3, SIZE, SIZE)
    output = model(views)
    each = torch.stack([model(views[:, n * T : (n + 1) * T]).logits for n in range(3)])
    torch.testing.assert_close(output.logits, each.mean(dim=0))
    assert output.heat.shape[:2] == (2, 3 * T)
    for clip, winner in enumerate(output.logits.argmax(dim=1).tolist()):  # one for all views
        found = model.evidence({"frames": views[clip : clip + 1]}, winner)
        torch.testing.assert_close(output.heat[clip], found.flatten(1).softmax(dim=1).view_as(found))
    maps, logits = model.last_maps({"frames": views[:1]})
    assert len(maps) == 3 * T == len(model.evidence({"frames": views[:1]}, 0))
    torch.testing.assert_close(logits(maps), output.logits[:1])


def test_a_clip_is_lengthened_by_its_last_frame():
    counted = torch.arange(1.0, 6.0).view(1, 5, 1)
    assert lengthen(counted, 4, 4).flatten().tolist() == [1, 2, 3, 4, 5, 5, 5, 5]
    assert lengthen(counted, 7).flatten().tolist() == [1, 2, 3, 4, 5, 5, 5]
    assert lengthen(counted, 5) is counted and lengthen(counted, 1, 4) is counted


@pytest.mark.parametrize("name,last", [("csn26", False), ("i3d-resnet18", True)])
def test_channels_come_last_in_bf16_on_a_cpu_but_not_for_depthwise_convolutions(name, last):
    """With them torch 2.14 now and then computes wrong gradients of depthwise 3D convolutions."""
    model, seen = network(name), []
    first = next(part for part in model.modules() if isinstance(part, nn.Conv3d))
    first.register_forward_pre_hook(lambda part, given: seen.append(given[0]))
    with torch.no_grad():
        model(clips(1))
        with torch.autocast("cpu", torch.bfloat16):
            model(clips(1))
    plain, half = seen
    assert not plain.is_contiguous(memory_format=torch.channels_last_3d)
    assert half.is_contiguous(memory_format=torch.channels_last_3d) is last


HEAVY_IN_TIME = [
    pytest.param(name, marks=pytest.mark.stress) for name in ("c3d", "p3d50", "csn26", "swin3d_t")
]


@pytest.mark.parametrize("name", ["slowfusion", "slowfast18", "i3d-resnet18", "s3d", *HEAVY_IN_TIME])
@pytest.mark.parametrize("frames", [5, 10, 11, 16, 17, 20])
def test_every_frame_of_a_clip_of_any_length_counts(name, frames):
    """Without padding, kernels with strides over time could leave the last frames out."""
    seen = clips(1, frames).requires_grad_()
    with thin_networks():
        network(name, frames)(seen).logits.sum().backward()
    assert bool((seen.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all())


@torch.no_grad()
def test_a_still_clip_brings_the_slow_pathway_the_same_at_every_step():
    model = network("slowfast18", 8)
    still = clips(1, 1).expand(-1, 8, -1, -1, -1).transpose(1, 2)
    brought = model.lateral["stem"](model.fast["stem"](still))
    torch.testing.assert_close(brought[:, :, 0], brought[:, :, 1], rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.stress
def test_swin_takes_an_odd_clip_as_if_its_last_frame_came_twice():
    seen, model = clips(1, 7), network("swin3d_t", 7)
    assert model(seen).logits.equal(model(torch.cat([seen, seen[:, -1:]], dim=1)).logits)
    with_zeros = model.net(F.pad(seen.transpose(1, 2), (0, 0, 0, 0, 0, 1)))
    assert not torch.allclose(model(seen).features, with_zeros)


@torch.no_grad()
@pytest.mark.stress
def test_the_mean_is_the_librarys_pool_where_that_fits():
    torch.manual_seed(3)
    theirs, seen = video.s3d(num_classes=K).eval(), clips(1, 16, 224)
    ours = network("s3d", 16)
    ours.net.load_state_dict({k: v for k, v in theirs.state_dict().items() if "classifier.1" not in k})
    last = theirs.classifier[1]
    expected = theirs(seen.transpose(1, 2))
    found = F.linear(ours(seen).features, last.weight.flatten(1), last.bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.stress
def test_mvit_is_the_librarys_and_can_be_cut_before_its_last_block():
    torch.manual_seed(3)
    theirs, seen = video.mvit_v2_s(num_classes=K).eval(), clips(1, 16, 224)
    ours = network("mvit_v2_s", 16)
    ours.net.load_state_dict({k: v for k, v in theirs.state_dict().items() if "head.1" not in k})
    ours.classifier.load_state_dict(theirs.head[1].state_dict())
    expected = theirs(seen.transpose(1, 2))
    torch.testing.assert_close(ours(seen).logits, expected, rtol=1e-4, atol=1e-5)
    maps, logits = ours.last_maps({"frames": seen})
    assert maps.shape[0] == 16
    torch.testing.assert_close(logits(maps), expected, rtol=1e-4, atol=1e-5)
    with torch.enable_grad():
        optimizer, losses = ours.STAGE.override(lr=1e-3).build_optimizer(ours.train()), []
        for _ in range(3):
            torch.manual_seed(0)
            losses.append(F.cross_entropy(ours(seen).logits, torch.tensor([1])))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
    assert losses[-1] < losses[0]


def test_mvit_refuses_other_clips():
    with pytest.raises(UserError, match="16 frames of 224 pixels and nothing else.*got 7 of 112"):
        NETWORKS["mvit_v2_s"].check("mvit_v2_s", 7, 112)


@pytest.mark.parametrize(
    "name,options", [("early", {}), ("resnet18", {"module": "tsm"}), ("resnet18", {"temporal": "concat"})]
)
def test_clips_of_another_length_are_refused_where_the_length_is_built_in(name, options):
    with pytest.raises(UserError, match="built for clips of 5 frames; these have 6"):
        network(name, **options)(clips(1, 6))


@torch.no_grad()
@pytest.mark.parametrize("options", [{"module": "tsm"}, {"module": "gsm"}, {"temporal": "concat"}], ids=str)
def test_2d_weights_fit_whatever_joins_the_frames(options, tmp_path):
    model = started("resnet18", "resnet18", tmp_path, **options)
    for name, value in flat("resnet18").layer4.state_dict().items():
        assert model.net.layer4.state_dict()[name].equal(value)
    seen = clips(2)
    output = model(seen)
    if "module" in options:
        maps, logits = model.last_maps({"frames": seen[:1]})
        torch.testing.assert_close(logits(maps), output.logits[:1], rtol=1e-4, atol=1e-5)
    else:
        assert not torch.allclose(model(seen.flip(1)).logits, output.logits)
        assert model.heats() == ("gradcam",) and model.evidence({"frames": seen[:1]}, 0) is None


def test_preprocessing_of_torchvisions_networks_is_that_of_their_weights():
    pixels = NETWORKS["r2plus1d_18"].preprocessing("r2plus1d_18", 112)
    assert (pixels.short_side, pixels.mean, pixels.std) == (
        128,
        (0.43216, 0.394666, 0.37645),
        (0.22803, 0.22145, 0.216989),
    )


def test_weights_of_another_network_are_named(tmp_path):
    model = network.__wrapped__("s3d")
    save_checkpoint(tmp_path / "mc3.pth", video.mc3_18().state_dict())
    with pytest.raises(UserError, match=r"missing \['features.0.0.0.weight'.*unexpected \['stem.0.weight'"):
        model.start(str(tmp_path / "mc3.pth"))
    with pytest.raises(UserError, match="no ImageNet weights fit it"):
        model.start("imagenet")
    with pytest.raises(UserError, match="another network: missing.*unexpected.*layer1.0.conv3"):
        save_checkpoint(tmp_path / "r50.pth", resnet50().state_dict())
        network.__wrapped__("i3d-resnet18").start(str(tmp_path / "r50.pth"))
    inflated = {key: w[:, :, None] if w.ndim == 4 else w for key, w in flat("resnet18").state_dict().items()}
    save_checkpoint(tmp_path / "r3d.pth", inflated)
    for name, file in (("slowfast18", "r3d"), ("early", "r3d")):
        with pytest.raises(UserError, match="another network: missing"):
            network.__wrapped__(name, 8).start(str(tmp_path / f"{file}.pth"))
    with pytest.raises(UserError, match="csn26 has no weights to begin with.*--weights none"):
        network.__wrapped__("csn26").start("imagenet")
    with pytest.raises(UserError, match="early begins with the weights of a resnet18"):
        network.__wrapped__("early").start("kinetics400")


def test_kinetics_weights_come_from_a_file_with_another_classifier(tmp_path):
    torch.manual_seed(4)
    theirs = video.s3d(num_classes=400)
    save_checkpoint(tmp_path / "s3d.pth", theirs.state_dict())
    model = network.__wrapped__("s3d")
    model.start(str(tmp_path / "s3d.pth"))
    assert model.net.features[0][0][0].weight.equal(theirs.features[0][0][0].weight)


@pytest.mark.parametrize("name", EACH)
def test_what_every_network_can(name):
    """The same twice, a round trip through a checkpoint, heat of every frame, bfloat16."""
    model, seen = network(name), clips(1)
    with torch.no_grad():
        output = model(seen)
        assert model(seen).logits.equal(output.logits) and output.logits.shape == (1, K)
        architecture = {"name": type(model).__name__, "network": name, "num_classes": K, "frames": T}
        again = build_trained(architecture, model.state_dict(), "a checkpoint").eval()
        assert again(seen).logits.equal(output.logits)
        assert set(model.heats()) == {"attention", "cam", "gradcam"}
        assert output.heat.shape[:2] == (1, T)
        torch.testing.assert_close(output.heat.sum(dim=(2, 3)), torch.ones(1, T))
        cells = model.cells(
            model.maps(seen)
        )  # their mean is the feature, so that of the evidence is the score
        torch.testing.assert_close(cells.mean(dim=(1, 3, 4)), output.features, rtol=1e-4, atol=1e-5)
        evidence = torch.einsum("d,sdhw->shw", model.classifier.weight[2], cells[0])
        found = model.evidence({"frames": seen}, 2)
        assert found.shape == output.heat.shape[1:]
        torch.testing.assert_close(found[0], evidence[0], rtol=1e-4, atol=1e-5)
        maps, logits = model.last_maps({"frames": seen})
        assert len(maps) == T and maps.shape[2:] == output.heat.shape[2:]
        torch.testing.assert_close(logits(maps), output.logits, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert bool(torch.isfinite(model(seen).logits).all())
        again.with_heat = False
        assert again(seen).heat is None and again(seen).logits.equal(output.logits)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.stress) if n in ("csn26", "s3d") else n for n in EACH]
)
def test_the_loss_of_every_network_falls(name):
    model = network.__wrapped__(name)
    stage = type(model).STAGE.override(lr=1e-3 if type(model).STAGE.optimizer == "adamw" else 0.005)
    stage.freeze(model)
    stage.set_modes(model)
    optimizer, seen, labels = stage.build_optimizer(model), clips(4), torch.tensor([0, 1, 2, 3])
    losses = []
    for _ in range(8):
        torch.manual_seed(0)
        loss = F.cross_entropy(model(seen).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0], losses


COMPILED = [(name, {}) for name in NETWORKS if name not in OTHERS] + [
    ("resnet18", {"module": module}) for module in MODULES
]


@pytest.mark.stress
@pytest.mark.parametrize("name,options", COMPILED, ids=str)
def test_a_compiled_network_learns_the_same(name, options):
    """What is traced is computed in float64 by the same kernels, so that only a wrong trace could differ."""
    model = network.__wrapped__(name, **options).double().train()
    twin, seen = deepcopy(model), clips().double()
    torch._dynamo.reset()
    twin.compile(backend="aot_eager")
    for net in (model, twin):
        torch.manual_seed(0)
        F.cross_entropy(net(seen).logits, torch.tensor([1, 3])).backward()
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
    assert wanted.keys() == found.keys() and len(wanted) > 5
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(dict(twin.named_buffers()), dict(model.named_buffers()))


def test_partial_batch_norm_leaves_every_norm_but_the_first():
    model = network.__wrapped__("i3d-resnet18")
    stage = type(model).PARTIAL_BN
    stage.freeze(model)
    stage.set_modes(model)
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm3d)}
    learns = [name for name, m in norms.items() if m.weight.requires_grad]
    assert learns == [name for name, m in norms.items() if m.training] == ["net.bn1"]
    assert all(p.requires_grad for n, p in model.named_parameters() if "conv" in n)


def test_resnets_are_torchvisions_own_names():
    with torch.device("meta"):
        model = NETWORKS["resnet50"]("resnet50", K, frames=3)
        wanted = {name for name in resnet50().state_dict() if not name.startswith("fc.")}
    assert set(model.net.state_dict()) == wanted
