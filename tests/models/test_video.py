"""Networks over whole clips: what all of them can."""

from copy import deepcopy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import video

from core.errors import UserError
from models.build import build_trained
from models.inserts import MODULES
from models.inserts.tsm import frame_by_frame
from models.video import NETWORKS
from models.video.base import lengthen
from tests.support.video_networks import SIZE, K, T, clips, network

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


pytestmark = pytest.mark.usefixtures("thin")


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


def test_steps_of_a_lengthened_clip_are_shared_with_what_it_was_lengthened_by():
    with torch.device("meta"):
        model = network.__wrapped__("slowfast18", 5)
    assert model._steps(5, torch.empty(1, 2)).tolist() == [0, 0, 0, 0, 1]


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
    maps, logits = model.last_maps({"frames": views[:1]})
    assert len(maps) == 3 * T == len(model.evidence({"frames": views[:1]}, 0))
    torch.testing.assert_close(logits(maps), output.logits[:1])


@torch.no_grad()
def test_the_heat_of_each_clip_is_of_its_own_winner():
    model = network.__wrapped__("i3d-resnet18")
    views = clips(6, size=64).view(2, 3 * T, 3, 64, 64)  # at 32 pixels there is one cell
    model.classifier.bias -= model(views).logits.mean(dim=0)  # what is left differs in sign
    output = model(views)
    assert len(set(winners := output.logits.argmax(dim=1).tolist())) == 2
    for clip, winner in enumerate(winners):
        found = model.evidence({"frames": views[clip : clip + 1]}, winner)
        torch.testing.assert_close(output.heat[clip], found.flatten(1).softmax(dim=1).view_as(found))


@torch.no_grad()
def test_features_are_dropped_before_the_classifier_in_training_alone():
    model = NETWORKS["early"]("early", K, frames=T, dropout=0.75)
    nn.init.eye_(model.classifier.weight)
    ones = torch.ones(2000, model.classifier.in_features)
    found = model.train().classify(ones)
    assert found.unique().tolist() == [0, 4] and float((found > 0).float().mean()) == pytest.approx(
        0.25, abs=0.02
    )
    assert model.eval().classify(ones).eq(1).all()


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


HEAVY_IN_TIME = ("c3d", "p3d50", "csn26", "swin3d_t")
LONG_AND_HEAVY = [  # the shortest, whose end is repeated, and an odd length that strides do not divide stay
    pytest.param(frames, "s3d", marks=() if frames in (5, 11) else pytest.mark.stress)
    for frames in (5, 10, 11, 16, 17, 20)
]


@pytest.mark.parametrize(
    "frames,name",
    [
        *product([5, 10, 11, 16, 17, 20], ["slowfusion", "slowfast18", "i3d-resnet18"]),
        *LONG_AND_HEAVY,
        *(
            pytest.param(*each, marks=pytest.mark.stress)
            for each in product([5, 10, 11, 16, 17, 20], HEAVY_IN_TIME)
        ),
    ],
)
def test_every_frame_of_a_clip_of_any_length_counts(name, frames):
    """Without padding, kernels with strides over time could leave the last frames out."""
    seen = clips(1, frames).requires_grad_()
    options = {"width": 8} if name == "slowfast18" else {}
    network(name, frames, **options)(seen).logits.sum().backward()
    assert bool((seen.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all())


@torch.no_grad()
def test_a_still_clip_brings_the_slow_pathway_the_same_at_every_step():
    model = network("slowfast18", 8, width=8)
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


def test_a_head_is_in_train_mode_beside_norms_that_stay():
    model = network.__wrapped__("resnet18", temporal="trn", hidden=8)
    type(model).PARTIAL_BN.set_modes(model)
    assert all(part.training for part in (*model.temporal.modules(), model.dropout, model.net.bn1))
    assert not any(part.training for name, part in model.net.named_modules() if name != "bn1")


@pytest.mark.parametrize("depth", [1, 2])
def test_norms_that_stay_do_so_inside_another_model(depth):
    model = inside = network.__wrapped__("resnet18")
    stage = type(model).PARTIAL_BN
    for _ in range(depth):
        stage, inside = stage.below("network."), nn.ModuleDict({"network": inside})
    stage.freeze(inside)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    learned = {id(part.weight) for part in norms if part.weight.requires_grad}
    assert learned == {id(model.net.bn1.weight)} and model.net.layer4[1].conv2.weight.requires_grad


def test_settings_of_trainings_end_to_end():
    """docs/systems.md; rates fall tenfold after a third and two thirds."""
    for name, kind, decay, rates, epochs in (
        ("resnet18", torch.optim.SGD, 5e-4, [0.01], 60),
        ("swin3d_t", torch.optim.AdamW, 0.02, [1e-3, 1e-4], 30),
    ):
        with torch.device("meta"):
            model = NETWORKS[name](name, K, frames=T)
        stage = type(model).STAGE.override()
        optimizer = stage.build_optimizer(model)
        scheduler, seen = stage.build_scheduler(optimizer), []
        assert type(optimizer) is kind and stage.epochs == epochs
        assert {group["weight_decay"] for group in optimizer.param_groups} == {decay}
        assert kind is not torch.optim.SGD or optimizer.param_groups[0]["momentum"] == 0.9
        for _ in range(epochs):
            seen.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            scheduler.step()
        third = epochs // 3
        for part, factor in enumerate((1, 0.1, 0.01)):
            for found in seen[part * third : (part + 1) * third]:
                assert found == pytest.approx([rate * factor for rate in rates])
