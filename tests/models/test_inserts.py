"""Modules inside a ResNet: their equations written again, what they begin as, and that clips stay apart.

Axes: B clips, T frames, C channels.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, resnet34, resnet50, vgg11

from core.errors import UserError
from core.ranks import Ranks, SharedBatchNorm, share_batch_norm
from core.stage import Stage
from models import EgoRNN, FlowStream, TwoStream
from models.backbone import Backbone
from models.build import build_trained
from models.inserts import MODULES, sees_ahead
from models.inserts.base import ConvOverClips
from models.inserts.gates import GateShift, GateShiftFuse
from models.inserts.insert import insert
from models.inserts.non_local import NonLocal, PyramidNonLocal
from models.inserts.tsm import ShiftedConv2d, frame_by_frame, shift
from models.weights import load_backbone_weights
from tests.support.thin import thin_networks, thin_resnet18

B, T = 3, 4
WITH_WEIGHTS = ("gsm", "gsm-shuffled", "gsf", "nonlocal", "pnl")


def clips(channels=8, seed=0, size=4, frames=T):
    return torch.randn(
        B, frames, channels, size, size, generator=torch.Generator().manual_seed(seed)
    ).double()


def network(module="none", stirred=False):
    """A thin ResNet-18 with a module, whose own weights do something where `stirred`."""
    torch.manual_seed(0)
    net = thin_resnet18(num_classes=5)
    own = set(net.state_dict())
    insert(net, module, T)
    net.double()
    if stirred:
        stir({name: value for name, value in net.named_parameters() if name not in own})
    return net.eval()


def stir(parameters):
    for value in parameters.values():
        nn.init.normal_(value, std=0.5)


def maps_of(net, batch):
    """The last maps of each frame of clips (B, T, 3, H, W)."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(batch.flatten(0, 1)))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x)))).unflatten(0, (-1, batch.shape[1]))


VIDEO = clips(3, seed=1, size=32)


# The place in the network.


@pytest.mark.parametrize(
    "make, plain, gsm, nonlocal_blocks", [(resnet34, 21.3, 21.4, 21.8), (resnet50, 23.6, 24.1, 31.0)]
)
def test_weights_of_the_resnet_keep_their_names_and_the_module_has_as_many_as_its_formula_says(
    make, plain, gsm, nonlocal_blocks
):
    """Millions of parameters as the table of the networks has them; 27 C + 2 + 2 C a gate."""
    with torch.device("meta"):
        single = make(num_classes=61)
        names, expected = set(single.state_dict()), {"gsm": gsm, "nonlocal": nonlocal_blocks, "tsm": plain}
        for module, millions in expected.items():
            net = make(num_classes=61)
            insert(net, module, 7)
            assert names <= set(net.state_dict())
            count = sum(value.numel() for value in net.parameters())
            assert round(count / 1e6, 1) == millions
            if module == "gsm":
                last = [conv for name, conv in net.named_modules() if name.endswith("gate.plane")]
                added = sum(29 * conv.in_channels + 2 for conv in last)
                assert count == sum(value.numel() for value in single.parameters()) + added
            if module == "nonlocal":
                blocks = [name for name, part in net.named_modules() if isinstance(part, NonLocal)]
                assert blocks == [f"layer2.after.{n}" for n in (1, 3)] + [
                    f"layer3.after.{n}" for n in (1, 3, 5)
                ]


@pytest.mark.parametrize("module,convolution", [("tsm", "conv1"), ("tsm-causal", "conv1"), ("gsm", "conv3")])
def test_shifts_lie_in_the_first_convolution_of_a_block_and_gates_behind_the_last(module, convolution):
    with torch.device("meta"):
        net = resnet50()
        insert(net, module, 7)
    found = [name for name, part in net.named_modules() if isinstance(part, ConvOverClips)]
    blocks = zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True)
    assert found == [f"layer{n}.{block}.{convolution}" for n, count in blocks for block in range(count)]


def test_other_networks_and_single_frames_have_no_place_for_a_module():
    with torch.device("meta"):
        with pytest.raises(UserError, match="VGG has no place for the module tsm"):
            insert(vgg11(), "tsm", 7)
        with pytest.raises(UserError, match="--frames 1 leaves none to join"):
            insert(resnet18(), "gsm", 1)
        with pytest.raises(
            UserError, match="no module is called 'tsn'; choose none or one of tsm, gsm, gsm-shuffled, gsf"
        ):
            insert(resnet18(), "tsn", 7)
    with pytest.raises(UserError, match="needs 8 channels or more, not 4"):
        ShiftedConv2d.take_over(nn.Conv2d(4, 4, 1), T)
    with pytest.raises(UserError, match="gsf needs 8 channels or more, not 6"):
        GateShiftFuse(6)
    with pytest.raises(UserError, match="multiple of 4 channels, not 6"):
        GateShift(6, shuffle=True)


@pytest.mark.parametrize("module", MODULES)
@torch.no_grad()
def test_frames_know_of_each_other_and_clips_do_not(module):
    net = network(module, stirred=True)
    whole = maps_of(net, VIDEO)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(maps_of(net, VIDEO[order]), whole[order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(maps_of(net, VIDEO[:1]), whole[:1], rtol=1e-9, atol=1e-9)
    other = VIDEO.clone()
    other[0, 1] += 1
    changed = (maps_of(net, other) - whole).abs().amax(dim=(2, 3, 4)) > 1e-9
    assert not changed[1:].any() and changed[0, 1:].all()
    assert bool(changed[0, 0]) is sees_ahead(module)


@pytest.mark.parametrize("module", MODULES)
@torch.no_grad()
def test_frames_of_no_whole_clips_are_refused(module):
    with pytest.raises(UserError, match="6 frames are no whole clips of 4"):
        maps_of(network(module), VIDEO.flatten(0, 1)[None, :6])
    with thin_networks():
        backbone = Backbone("resnet18", 5, module=module, frames=T).double().eval()
    with pytest.raises(UserError, match=f"clips of 8 frames: .* {module} and was built for clips of 4"):
        backbone(VIDEO[:2].flatten(0, 1)[None])


@pytest.mark.parametrize("module", MODULES)
@torch.no_grad()
def test_chunks_are_whole_clips(module):
    with thin_networks():
        backbone = Backbone("resnet18", 5, module=module, frames=T).double().eval()
    whole = backbone(VIDEO)
    backbone.CPU_CHUNK_PIXELS = 6 * 32 * 32  # a clip and a half
    for one, other in zip(whole, backbone(VIDEO), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


# Temporal shift.


@torch.no_grad()
def test_a_shift_takes_the_first_channels_of_the_next_frame_and_the_second_of_the_previous():
    ramp = torch.arange(1.0, T + 1)[None, :, None, None, None].expand(2, T, 8, 1, 1)
    expected = [
        [
            [2, 2, 0, 0, 1, 1, 1, 1],
            [3, 3, 1, 1, 2, 2, 2, 2],
            [4, 4, 2, 2, 3, 3, 3, 3],
            [0, 0, 3, 3, 4, 4, 4, 4],
        ]
    ] * 2
    assert shift(ramp, 2)[..., 0, 0].tolist() == expected
    single = shift(
        torch.ones(1, 1, 8, 1, 1), 2
    )  # a clip of one frame loses what would come from its neighbours
    assert single.flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@torch.no_grad()
def test_without_shifted_channels_it_is_the_network_of_single_frames():
    net = network("tsm")
    shifted = maps_of(net, VIDEO)
    for conv in net.modules():
        if isinstance(conv, ShiftedConv2d):
            assert conv.fold == conv.in_channels // 8
            conv.fold = 0
    single = maps_of(network(), VIDEO)
    assert maps_of(net, VIDEO).equal(single) and not shifted.allclose(single)


class Swapped(ShiftedConv2d):
    """The same with both directions swapped, written out frame by frame."""

    def forward(self, x):
        batch, moved = x.unflatten(0, (-1, T)), x.unflatten(0, (-1, T)).clone()
        f = self.fold
        for t in range(T):
            moved[:, t, :f] = batch[:, t - 1, :f] if t > 0 else 0
            moved[:, t, f : 2 * f] = batch[:, t + 1, f : 2 * f] if t + 1 < T else 0
        return nn.Conv2d.forward(self, moved.flatten(0, 1))


@torch.no_grad()
def test_a_reversed_clip_swaps_the_directions():
    net, swapped = network("tsm"), network("tsm")
    for conv in swapped.modules():
        if isinstance(conv, ShiftedConv2d):
            conv.__class__ = Swapped
    forth, back = maps_of(swapped, VIDEO), maps_of(net, VIDEO.flip(1)).flip(1)
    torch.testing.assert_close(forth, back, rtol=1e-12, atol=1e-12)
    assert not forth.allclose(maps_of(net, VIDEO))


@torch.no_grad()
def test_the_causal_shift_gives_frame_by_frame_the_bits_of_the_whole_clip():
    net = network("tsm-causal")
    whole = maps_of(net, VIDEO[:1])
    for _ in range(2):  # nothing of the first pass leaks into the second
        with frame_by_frame(net):
            frames = [maps_of(net, VIDEO[:1, t : t + 1]) for t in range(T)]
        assert torch.cat(frames, dim=1).equal(whole)
    assert maps_of(net, VIDEO[:1]).equal(whole)
    with (
        pytest.raises(UserError, match="only a network with --module tsm-causal"),
        frame_by_frame(network("tsm")),
    ):
        pass


@torch.no_grad()
def test_a_causal_backbone_streams_several_clips_at_once():
    with thin_networks():
        backbone = Backbone("resnet18", 5, module="tsm-causal", frames=T).double().eval()
    backbone.CPU_CHUNK_PIXELS = 32 * 32
    with frame_by_frame(backbone):
        frames = [backbone(VIDEO[:, t : t + 1]) for t in range(T)]
    for name, whole in backbone(VIDEO)._asdict().items():
        joined = torch.cat([getattr(maps, name) for maps in frames], dim=1)
        torch.testing.assert_close(joined, whole, rtol=1e-9, atol=1e-9)
    with pytest.raises(UserError, match="clips of 1 frames"):
        backbone(VIDEO[:, :1])


def test_no_gradient_comes_from_frames_after_a_causal_shift():
    video = VIDEO[:1].clone().requires_grad_()
    maps_of(network("tsm-causal"), video)[0, 1].sum().backward()
    assert [bool(frame.any()) for frame in video.grad[0]] == [True, True, False, False]


# Gates.


def gate_by_hand(module, x):
    """g of each half (B, 2, T, H, W): tanh of a 3 x 3 x 3 convolution of that half's ReLU(BN(x))."""
    norm, half = module.norm, x.shape[2] // 2
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    normed = F.relu((x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None])
    padded = F.pad(normed, (1, 1, 1, 1, 0, 0, 1, 1))  # time before and after, too
    planes = []
    for number, part in enumerate((slice(0, half), slice(half, None))):
        weight = module.plane.weight[number]  # (C/2, 3, 3, 3)
        plane = module.plane.bias[number] + torch.stack(
            [
                sum(F.conv2d(padded[:, t + d, part], weight[None, :, d])[:, 0] for d in range(3))
                for t in range(x.shape[1])
            ],
            dim=1,
        )
        planes.append(torch.tanh(plane))
    return torch.stack(planes, dim=1)


def parts_by_hand(module, x):
    """What arrives and what stays, a frame at a time."""
    g, half = gate_by_hand(module, x), x.shape[2] // 2
    g = torch.cat([g[:, :1].expand(-1, half, -1, -1, -1), g[:, 1:].expand(-1, half, -1, -1, -1)], dim=1)
    g = g.transpose(1, 2)  # (B, T, C, H, W)
    arrived = torch.zeros_like(x)
    for t in range(T):
        if t + 1 < T:
            arrived[:, t, :half] = (g * x)[:, t + 1, :half]
        if t > 0:
            arrived[:, t, half:] = (g * x)[:, t - 1, half:]
    return arrived, x - g * x


def stirred(module):
    torch.manual_seed(2)
    module = module.double().eval()
    stir(dict(module.named_parameters()))
    return module


@torch.no_grad()
def test_gate_shift_equals_its_equations():
    x, module = clips(), stirred(GateShift(8))
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    arrived, stayed = parts_by_hand(module, x)
    torch.testing.assert_close(module(x), arrived + stayed, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_an_open_gate_is_a_shift_of_all_channels_and_a_shut_one_leaves_the_network():
    x, gate = clips(), GateShift(8).double().eval()
    assert gate(x).equal(x)
    nn.init.constant_(gate.plane.bias, 50)
    assert gate(x).equal(shift(x, 4))
    assert maps_of(network("gsm"), VIDEO).equal(maps_of(network(), VIDEO))
    # As released, the next layer meets its channels in another order.
    assert GateShift(8, shuffle=True).double()(x).equal(x[:, :, [0, 2, 1, 3, 4, 6, 5, 7]])
    wide, order = clips(16), [0, 4, 1, 5, 2, 6, 3, 7]  # two quarters in turn, in each half
    order += [channel + 8 for channel in order]
    assert GateShift(16, shuffle=True).double().eval()(wide).allclose(wide[:, :, order])
    assert not maps_of(network("gsm-shuffled"), VIDEO).allclose(maps_of(network(), VIDEO))


@torch.no_grad()
def test_fusion_equals_its_equations():
    x, module = clips(16), stirred(GateShiftFuse(16))
    arrived, stayed = parts_by_hand(module.gate, x[:, :, :4])
    expected = x.clone()
    for half in range(2):
        channels = slice(2 * half, 2 * half + 2)
        picture = torch.stack(
            [arrived[:, :, channels].mean((3, 4)), stayed[:, :, channels].mean((3, 4))], dim=1
        )
        picture = picture.transpose(2, 3)  # (B, 2, C/2, T): channels by frames
        w = torch.sigmoid(
            F.conv2d(
                picture, module.fuse.weight[half : half + 1], module.fuse.bias[half : half + 1], padding=1
            )
        )
        w = w[:, 0].transpose(1, 2)[..., None, None]
        expected[:, :, channels] = w * arrived[:, :, channels] + (1 - w) * stayed[:, :, channels]
    torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-10)
    nn.init.zeros_(module.fuse.weight)
    nn.init.constant_(module.fuse.bias, -50)
    torch.testing.assert_close(module(x)[:, :, :4], stayed, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_fusion_begins_within_two_per_cent_of_the_network():
    x = clips(16)
    begun = GateShiftFuse(16).double().eval()(x)
    torch.testing.assert_close(begun[:, :, :4], x[:, :, :4] / (1 + torch.e**-4), rtol=1e-12, atol=0)
    assert begun[:, :, 4:].equal(x[:, :, 4:])


def test_the_batch_norms_inside_are_shared_between_processes():
    net = network("gsm", stirred=True)
    before = maps_of(net, VIDEO)
    share_batch_norm(net, Ranks(0, 2))
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all(type(norm) is SharedBatchNorm for norm in norms) and len(norms) == 20 + 8
    torch.testing.assert_close(maps_of(net, VIDEO), before, rtol=1e-9, atol=1e-9)


# Non-local blocks.


def looked_up(block, x, seen):
    """z = x + BN(W softmax(theta phi / sqrt(d)) g), by hand; `seen` (B, P, C) is what is looked at."""
    frames, (h, w) = x.unflatten(0, (-1, T)), x.shape[2:]

    def apply(conv, vectors):
        return vectors @ conv.weight[:, :, 0, 0].T + conv.bias

    cells = frames.permute(0, 1, 3, 4, 2).flatten(1, 3)  # (B, THW, C)
    theta, phi, g = apply(block.theta, cells), apply(block.phi, seen), apply(block.g, seen)
    scores = torch.exp(theta @ phi.transpose(1, 2) / theta.shape[-1] ** 0.5)
    y = apply(block.out, scores / scores.sum(-1, keepdim=True) @ g)
    y = y / (1 + block.norm.eps) ** 0.5 * block.norm.weight + block.norm.bias
    return (cells + y).unflatten(1, (T, h, w)).permute(0, 1, 4, 2, 3).flatten(0, 1)


@torch.no_grad()
def test_non_local_blocks_equal_their_equations():
    x = clips().flatten(0, 1)
    block, pyramid = stirred(NonLocal(8, T)), stirred(PyramidNonLocal(8, T))
    pooled = F.max_pool2d(x, 2).unflatten(0, (-1, T)).permute(0, 1, 3, 4, 2).flatten(1, 3)
    torch.testing.assert_close(block(x), looked_up(block, x, pooled), rtol=1e-10, atol=1e-10)
    grids = [
        torch.stack([cell.mean((2, 3)) for row in x.chunk(n, 2) for cell in row.chunk(n, 3)], dim=1)
        for n in (1, 2, 4)
    ]
    seen = torch.cat(grids, dim=1).unflatten(0, (-1, T)).flatten(1, 2)
    assert seen.shape[1] == 21 * T
    torch.testing.assert_close(pyramid(x), looked_up(pyramid, x, seen), rtol=1e-10, atol=1e-10)
    after = [
        F.max_pool2d(conv(x), 2) for conv in (block.phi, block.g)
    ]  # pooling after the projections differs
    assert not after[0].allclose(block.phi(F.max_pool2d(x, 2)))


def test_non_local_blocks_begin_with_small_weights():
    torch.manual_seed(0)
    block = NonLocal(64, T)
    for conv in (block.theta, block.phi, block.g, block.out):
        assert float(conv.weight.detach().std()) == pytest.approx(0.01, rel=0.1) and not conv.bias.any()


class Unpooled(NonLocal):
    def pool(self, x):
        return x


@torch.no_grad()
def test_permuted_positions_permute_what_a_non_local_block_gives():
    block = stirred(Unpooled(8, T))
    x = clips(size=3).flatten(0, 1)
    order = torch.randperm(T * 9, generator=torch.Generator().manual_seed(0))

    def permuted(frames):
        cells = frames.unflatten(0, (-1, T)).permute(0, 2, 1, 3, 4).flatten(2)[:, :, order]
        return cells.unflatten(2, (T, 3, 3)).permute(0, 2, 1, 3, 4).flatten(0, 1)

    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_query_of_zero_adds_the_mean():
    block = stirred(NonLocal(8, T))
    nn.init.zeros_(block.theta.weight)
    nn.init.zeros_(block.theta.bias)
    x = clips().flatten(0, 1)
    mean = block.g(F.max_pool2d(x, 2)).unflatten(0, (-1, T)).mean((1, 3, 4)).repeat_interleave(T, dim=0)
    expected = x + block.norm(block.out(mean[:, :, None, None]))
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("module", ["nonlocal", "pnl"])
@torch.no_grad()
def test_non_local_blocks_begin_as_the_network_of_single_frames(module):
    assert maps_of(network(module), VIDEO).equal(maps_of(network(), VIDEO))


# All of them, in the RGB stream.


def stream(module, **changes):
    torch.manual_seed(3)
    arguments = {"num_classes": 4, "backbone": "resnet18", "hidden": 4, "backbone_classes": 5}
    if module != "none":
        arguments |= {"module": module, "frames": T}
    return {"name": "EgoRNN", **arguments, **changes}


@pytest.mark.parametrize("module", MODULES)
def test_a_stream_with_a_module_learns_and_is_read_from_its_checkpoint(module):
    with thin_networks():
        architecture = stream(module)
        model = EgoRNN(**{key: value for key, value in architecture.items() if key != "name"}, dropout=0.0)
        stage = EgoRNN.stage("joint", "convlstm")
        stage.freeze(model)
        stage.set_modes(model)
        frames, labels = torch.randn(4, T, 3, 32, 32), torch.arange(4)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        before = {name: value.clone() for name, value in model.named_parameters()}
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(frames).logits, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.05
        inserted = [
            name for name in before if name.removeprefix("backbone.resnet.") in model.backbone.inserted
        ]
        assert bool(inserted) is (module in WITH_WEIGHTS)
        still = [name for name in inserted if model.get_parameter(name).equal(before[name])]
        assert not still, "every weight of a module learns"
        with torch.no_grad():
            logits = model.eval()(frames).logits
            assert logits.equal(model(frames).logits)
            again = build_trained(architecture, model.state_dict(), "the checkpoint").eval()
            assert again(frames).logits.equal(logits)
            with torch.autocast("cpu", torch.bfloat16):
                mixed = model(frames)
        assert mixed.maps["pre_activation"].dtype == torch.bfloat16
        assert (mixed.logits.float() - logits).abs().max() < 0.1 * (1 + logits.abs().max())


@pytest.mark.parametrize("module", MODULES)
def test_weights_of_single_frames_fit_and_those_of_another_network_do_not(module):
    with thin_networks():
        weights = {name: value + 1 for name, value in thin_resnet18(num_classes=5).state_dict().items()}
        backbone = Backbone("resnet18", 5, module=module, frames=T)
        begun = {name: value.clone() for name, value in backbone.resnet.state_dict().items()}
        load_backbone_weights(backbone, weights)
        for name, value in backbone.resnet.state_dict().items():
            assert value.equal(begun[name] if name in backbone.inserted else weights[name]), name
        # A network with the module fits itself, and none without.
        load_backbone_weights(backbone, begun)
        if module in WITH_WEIGHTS:
            with pytest.raises(UserError, match=r"missing \[\], not fitting \['layer"):
                load_backbone_weights(Backbone("resnet18", 5), begun)
        short = {name: value for name, value in weights.items() if not name.startswith("layer3")}
        with pytest.raises(UserError, match=r"missing \['layer3.0.conv1.weight', 'layer3"):
            load_backbone_weights(backbone, short)


def test_what_is_kept_of_a_frozen_trunk_is_told_from_that_of_another_module():
    """A shift has no weights by which kept outputs could be told apart."""
    with thin_networks():
        names = []
        for module in ("none", "tsm", "tsm-causal"):
            architecture = stream(module)
            architecture.pop("name")
            rgb = EgoRNN(**architecture).eval()
            joint = TwoStream(rgb, FlowStream(4, stack=2, backbone="resnet18"), 4)
            (trunk,) = joint.prefixes(TwoStream.stage("convlstm"))
            (kept,) = trunk.run(VIDEO.float()).values()
            assert kept.shape[:2] == (B, T) and rgb.after(layer3=kept).logits.equal(rgb(VIDEO.float()).logits)
            names.append(trunk.name)
        assert names == ["layer3", "layer3 tsm", "layer3 tsm-causal"]


def test_published_checkpoints_have_no_place_for_a_module():
    with thin_networks(), pytest.raises(UserError, match="no modules in the ResNet; a run with --module gsm"):
        EgoRNN(4, backbone="resnet18", hidden=2, module="gsm", frames=T).published_state()


def test_a_stage_trains_the_convolutions_of_layer4_and_not_the_gates_behind_them():
    with thin_networks():
        model = EgoRNN(4, backbone="resnet18", hidden=2, module="gsm", frames=T)
    stage: Stage = EgoRNN.stage(2, "convlstm")
    stage.freeze(model)
    learns = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert any(".layer4." in name and ".conv2." in name for name in learns)
    assert not [name for name in learns if ".gate." in name]
