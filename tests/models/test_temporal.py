"""Every head of the list, a new one by its line there: what all heads hold, whatever joins the frames."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from models import EgoRNN
from models.temporal import HEADS, build_temporal
from models.temporal.base import TemporalHead
from tests.support.thin import thin_networks
from viz.heat import find_heat

B, T, C, SIDE = 2, 4, 6, 3
BAGS = ("avgpool", "maxpool", "tavlad", "nonlocal")  # of frames, by their equations
EVERY = pytest.mark.parametrize("name", HEADS)
# With the CAM, and without it where the head can do without.
BOTH_WAYS = pytest.mark.parametrize(
    "name, attends",
    [(name, True) for name in HEADS] + [(n, False) for n, head in HEADS.items() if not head.needs_attention],
)


def width(name: str) -> int:
    """The least width from 4 up that the head can have."""
    step = HEADS[name].hidden_step
    return step * -(-4 // step)


def built(name: str, seed: int = 0) -> TemporalHead:
    """A head in float64 and train mode without dropout, all of its weights off their start."""
    torch.manual_seed(seed)
    head = build_temporal(name, C, width(name), T).double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return head


def clips(attends: bool = True, frames: int = T, seed: int = 1) -> tuple[Tensor, Tensor | None]:
    """Maps and their CAM."""
    torch.manual_seed(seed)
    maps = torch.randn(B, frames, C, SIDE, SIDE, dtype=torch.float64)
    cam = torch.randn(B, frames, SIDE, SIDE, dtype=torch.float64)
    return maps, cam if attends else None


def part(given: tuple[Tensor, Tensor | None], *where: slice) -> list[Tensor | None]:
    """Some clips, or some frames, of maps and CAM."""
    return [None if tensor is None else tensor[where] for tensor in given]


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@BOTH_WAYS
@torch.no_grad()
def test_states_are_the_features_of_the_clip_cut_after_each_frame(name, attends):
    head, given = built(name), clips(attends)
    states = head.states(*given)
    assert states.shape == (B, T, head.features) and states.isfinite().all()
    for end in range(1, T + 1):
        near(states[:, end - 1], head(*part(given, slice(None), slice(end))))
    for maps in given:
        if maps is not None:
            maps[:, 2:] += 1
    near(head.states(*given)[:, :2], states[:, :2])


@BOTH_WAYS
@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch(name, attends):
    head, given = built(name), clips(attends)
    together = head(*given)
    for item in range(B):
        near(together[item : item + 1], head(*part(given, slice(item, item + 1))))


@EVERY
def test_gradients_reach_every_parameter_and_are_those_of_small_differences(name):
    head, (maps, cam) = built(name), clips()
    weights = dict(head.named_parameters())
    maps, cam = maps.requires_grad_(), cam.requires_grad_()
    (head(maps, cam) * torch.randn(head.features, dtype=torch.float64)).sum().backward()
    reached = [key for key, weight in weights.items() if weight.grad is not None and weight.grad.any()]
    assert sorted(weights.keys() - set(reached)) == sorted(head.untrained)

    def feature(maps, cam, flat):  # all weights as one, or each would cost evaluations of its own
        parts = flat.split([weight.numel() for weight in weights.values()])
        shaped = {key: part.view_as(weights[key]) for key, part in zip(weights, parts, strict=True)}
        return torch.func.functional_call(head, shaped, (maps, cam))

    if not weights:
        assert torch.autograd.gradcheck(head, (maps, cam), fast_mode=True)
    else:
        flat = torch.cat([weight.detach().flatten() for weight in weights.values()]).requires_grad_()
        assert torch.autograd.gradcheck(feature, (maps, cam, flat), fast_mode=True)


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if not head.own_attention])
@torch.no_grad()
def test_attention_decides_which_cells_count(name):
    """What the CAM leaves alone may be anything; what it points at may not."""
    head, (maps, cam) = built(name), clips()
    cam[:, :, 0, 1] = -1e4
    before = head(maps, cam)
    maps[:, :, :, 0, 1] += 5
    near(head(maps, cam), before)
    cam[:, :, 1, 1] = 3
    assert (head(maps, cam) - before).abs().max() > 1e-3 * before.abs().max()
    assert head.attention(None) is None
    near(head.attention(cam).sum(dim=(2, 3)), torch.ones(B, T, dtype=torch.float64))


@BOTH_WAYS
@torch.no_grad()
def test_what_lies_behind_the_cut_gives_the_feature(name, attends):
    head, given = built(name), clips(attends)
    maps, feature = head.cut(*given)
    assert maps.shape == given[0].shape
    near(feature(maps), head(*given))


@BOTH_WAYS
@torch.no_grad()
def test_features_on_cells_add_up_to_the_feature(name, attends):
    """Their mean is the feature after each frame, or over all frames that of the clip."""
    head, given = built(name), clips(attends)
    cells = head.cell_features(*given)
    assert head.lies_on_cells == (cells is not None)
    assert head.lies_on_cells or not attends or head.no_cells != TemporalHead.no_cells
    if cells is not None:
        assert cells.shape == (B, T, head.features, SIDE, SIDE)
        means = cells.mean(dim=(3, 4))
        if torch.allclose(means[:, -1], head(*given)):
            near(means, head.states(*given))
        else:
            near(means.mean(dim=1), head(*given))


@EVERY
@torch.no_grad()
def test_a_clip_played_backwards_is_another_to_all_but_bags_of_frames(name):
    head, (maps, cam) = built(name), clips()
    difference = (head(maps.flip(1), cam.flip(1)) - head(maps, cam)).abs().max()
    assert difference < 1e-10 if name in BAGS else difference > 1e-6


@pytest.mark.stress
@EVERY
def test_what_comes_first_is_learned_by_all_but_bags_of_frames(name):
    """A channel rises or falls at one cell; the CAM points there, and everything else is noise."""

    def draw(seed):
        rng, number, frames, side = torch.Generator().manual_seed(seed), 512, 7, 4
        maps = 0.5 * torch.randn(number, frames, 16, side**2, generator=rng)
        cam = torch.randn(number, frames, side**2, generator=rng)
        labels = torch.randint(2, (number,), generator=rng)
        place = torch.arange(number), slice(None), torch.randint(side**2, (number,), generator=rng)
        maps[:, :, 0][place] += torch.linspace(-3, 3, frames) * (2 * labels - 1)[:, None]
        cam[place] += 3
        return maps.unflatten(3, (side, side)), cam.unflatten(2, (side, side)), labels

    torch.manual_seed(0)
    head = build_temporal(name, 16, 16, 7)
    classifier = nn.Linear(head.features, 2)
    optimizer = torch.optim.Adam([*head.parameters(), *classifier.parameters()], lr=3e-3, eps=1e-4)
    learned, tested = draw(0), draw(1)
    for _ in range(12):
        for items in torch.randperm(512).split(64):
            maps, cam, labels = (tensor[items] for tensor in learned)
            optimizer.zero_grad()
            nn.functional.cross_entropy(classifier(head(maps, cam)), labels).backward()
            optimizer.step()
    with torch.no_grad():
        right = (classifier(head.eval()(*tested[:2])).argmax(dim=1) == tested[2]).double().mean()
    assert 0.4 < right < 0.6 if name in BAGS else right > 0.9


@EVERY
@torch.no_grad()
def test_a_head_says_itself_what_it_is(name):
    head = built(name)
    assert head.learns == any(True for _ in head.parameters())
    assert head.needs_train_mode == any(isinstance(module, nn.RNNBase) for module in head.modules())


@pytest.mark.parametrize(
    "name, millions",
    [("tavlad", 0.066), ("convtt", 9.70), ("horst", 19.0), ("horst1", 19.0), ("mpnnel", 11.1), ("avt", 6.83)],
)
def test_published_sizes_have_as_many_weights(name, millions):
    """At 512 channels and 512 features, counted without memory for them."""
    with torch.device("meta"):
        head = build_temporal(name, 512, 512, frames=7)
    found = sum(parameter.numel() for parameter in head.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.05 if millions > 10 else 0.005)


@EVERY
@torch.no_grad()
def test_clips_of_one_and_two_frames(name):
    for frames in (1, 2):
        head = built(name).eval()
        feature = head(*clips(frames=frames))
        assert feature.shape == (B, head.features) and feature.isfinite().all()


@EVERY
@torch.no_grad()
def test_weights_bring_back_the_head(name):
    saved, other, given = built(name), built(name, seed=2), clips()
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(*given), saved(*given))


@EVERY
def test_half_as_many_bits_give_nearly_the_same(name):
    torch.manual_seed(0)
    head = build_temporal(name, C, width(name), T).eval()
    maps, cam = (tensor.float() for tensor in clips())
    exact = head(maps, cam)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(maps, cam)
        found.float().sum().backward() if head.learns else None
    assert (found.float() - exact).norm() < 0.05 * exact.norm()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in head.parameters())


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if not head.needs_train_mode])
def test_a_head_stays_on_its_device(name):
    """Tried with tensors that have a device and no content, which cuDNN's LSTM does not take."""
    gpu = torch.device("cuda", 0)
    head = built(name).eval()
    with FakeTensorMode() as fake:
        for module in head.modules():
            for key, weight in list(module.named_parameters(recurse=False)):
                setattr(module, key, nn.Parameter(fake.from_tensor(weight).detach().to(gpu)))
            for key, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, key, fake.from_tensor(buffer).to(gpu))
        maps, cam = (fake.from_tensor(tensor).to(gpu) for tensor in clips(frames=2))
        assert head(maps, cam).device == gpu


@pytest.mark.stress
@EVERY
def test_a_compiled_head_is_the_same_head(name):
    head, given = built(name).eval(), clips()
    expected = head(*given)
    torch._dynamo.reset()
    whole = not head.needs_train_mode  # what needs it is cuDNN's, which is no part of a graph
    found = torch.compile(head, backend="aot_eager", fullgraph=whole)(*given)
    near(found, expected)


@EVERY
@torch.no_grad()
def test_every_heat_map_that_a_network_names_can_be_had(name):
    with thin_networks():
        torch.manual_seed(0)
        options = {"backbone": "resnet18", "backbone_classes": 7, "hidden": width(name), "frames": T}
        model = EgoRNN(5, temporal=name, **options).eval()
    inputs = {"frames": torch.randn(1, 3, 3, 64, 64)}
    output = model(**inputs)
    assert ("attention" in model.heats()) == (output.heat is not None)
    assert ("cam" in model.heats()) == model.temporal.lies_on_cells and "gradcam" in model.heats()
    for heat in model.heats():
        if heat != "gradcam":  # which needs a package; what it looks at is tried below
            shares = find_heat(heat, model, inputs, output.heat, action=2)
            assert shares.shape == (3, 2, 2) and (shares >= 0).all()
            sums = shares.sum(axis=(1, 2))
            assert ((abs(sums - 1) < 1e-5) | (sums == 0)).all()
    with torch.enable_grad():
        maps, logits = model.last_maps(inputs)
        assert maps.shape[0] == 3 and maps.shape[2:] == (2, 2)
        maps = maps.detach().requires_grad_()
        score = logits(maps)[0, 2]
        assert torch.autograd.grad(score, maps)[0].any()
    torch.testing.assert_close(score, output.logits[0, 2])
    if "cam" in model.heats():
        maps, bias = model.evidence(inputs, 2), model.classifier.bias[2]
        assert any(torch.allclose(found.mean() + bias, score, atol=1e-5) for found in (maps, maps[-1]))
