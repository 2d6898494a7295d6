"""What networks over whole clips begin as, with and without weights of a 2D network."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50, video

from core.checkpoint import save_checkpoint
from core.errors import UserError
from models.video import NETWORKS
from models.video.base import resnet_maps
from models.video.inflate import inflate
from tests.support.video_networks import K, clips, flat, lateral_off, network, started

pytestmark = pytest.mark.usefixtures("thin")


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
    begun = model.slow.layer2[0].conv1.weight.detach().clone()
    model.start(str(tmp_path / "flat.pth"))
    known = flat(backbone).layer2[0].conv1.in_channels  # further channels come from the fast pathway
    assert begun.shape[1] > known and model.slow.layer2[0].conv1.weight[:, known:].equal(begun[:, known:])
    lateral_off(model)
    still = clips(2, 1).expand(-1, 8, -1, -1, -1)
    expected = resnet_maps(flat(backbone), still[:, 0]).mean(dim=(2, 3))
    found = model.eval()(still).features[:, : expected.shape[1]]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["i3d-resnet18", "slowfusion", "slowfast18"])
def test_without_weights_kernels_begin_at_random_in_time_too(name):
    for part in network.__wrapped__(name, **({"width": 8} if "fast" in name else {})).modules():
        if isinstance(part, nn.Conv3d) and (weight := part.weight.detach()).numel() > 4000:
            wanted = (2 / (len(weight) * weight[0, 0].numel() / part.groups)) ** 0.5
            assert float(weight.std()) == pytest.approx(wanted, rel=0.1)  # He's, of what goes out
            assert weight.shape[2] == 1 or not torch.allclose(weight[:, :, 0], weight[:, :, 1])


@torch.no_grad()
def test_a_block_of_slowfast_begins_as_its_shortcut():
    model = network("slowfast18", width=8).train()
    for pathway, channels in ((model.slow, 8), (model.fast, 1)):
        x = torch.rand(2, channels, 4, 6, 6)
        assert pathway["layer1"][1](x).equal(x)
    model.eval()


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
    for name, options in (("slowfast18", {"width": 8}), ("early", {})):
        with pytest.raises(UserError, match="another network: missing"):
            network.__wrapped__(name, 8, **options).start(str(tmp_path / "r3d.pth"))
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


def test_resnets_are_torchvisions_own_names():
    with torch.device("meta"):
        model = NETWORKS["resnet50"]("resnet50", K, frames=3)
        wanted = {name for name in resnet50().state_dict() if not name.startswith("fc.")}
    assert set(model.net.state_dict()) == wanted
