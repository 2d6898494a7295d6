"""Class activation maps of actions: they add up to the score, and equal a few lines over plain weights."""

from functools import cache
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from models import ClipModel, EgoRNN, FlowStream, FrameClassifier, TwoStream
from tests.support.thin import FEATURES
from viz.heat import require_heat

FRAMES, CLASSES = 3, 5


def ego_rnn(attention="cam", temporal="convlstm"):
    options = {"backbone": "resnet18", "hidden": 6, "backbone_classes": 7}
    return EgoRNN(CLASSES, attention=attention, temporal=temporal, **options)


def flow_stream():
    return FlowStream(CLASSES, stack=2, backbone="resnet18")


BUILDERS = {
    "frames": lambda: FrameClassifier(CLASSES, backbone="resnet18"),
    "flow": flow_stream,
    "joint": lambda: TwoStream(ego_rnn(), flow_stream(), CLASSES),
    "cam convlstm": ego_rnn,
    "none convlstm": lambda: ego_rnn("none"),
    "cam avgpool": lambda: ego_rnn(temporal="avgpool"),
    "none avgpool": lambda: ego_rnn("none", "avgpool"),
    "none lstm": lambda: ego_rnn("none", "lstm"),
    "cam lstm": lambda: ego_rnn(temporal="lstm"),
}
WITHOUT_MAP = {"cam lstm", "none lstm"}


pytestmark = pytest.mark.usefixtures("thin")


@cache
def network(name):
    torch.manual_seed(0)
    return BUILDERS[name]().eval()


def clip(model):
    rng = torch.Generator().manual_seed(3)
    frames = torch.randn(1, FRAMES, 3, 64, 64, generator=rng)
    flow = torch.randn(1, FRAMES, 4, 64, 64, generator=rng)
    return {name: {"frames": frames, "flow": flow}[name] for name in model.takes}


@pytest.mark.parametrize("name", BUILDERS)
@torch.no_grad()
def test_what_follows_the_last_maps_gives_the_networks_own_scores(name):
    model = network(name)
    maps, logits = model.last_maps(clip(model))
    assert maps.shape == (FRAMES, FEATURES, 2, 2)
    torch.testing.assert_close(logits(maps), model(**clip(model)).logits)


@pytest.mark.parametrize("name", sorted(BUILDERS.keys() - WITHOUT_MAP))
@torch.no_grad()
def test_the_map_adds_up_to_the_score(name):
    """Its mean, after the last frame or over all, is the score less the bias, and less the other stream."""
    model = network(name)
    inputs, output = clip(model), model(**clip(model))
    found = model.evidence(inputs, 2)
    assert found.shape == (FRAMES, 2, 2)
    layer = model.backbone.resnet.fc if name in ("frames", "flow") else model.classifier
    rest = layer.bias[2]
    if name == "joint":
        rest = rest + layer.weight[2, :FEATURES] @ output.features[0, :FEATURES]
    last = found[-1:] if name == "joint" or "convlstm" in name else found
    torch.testing.assert_close(last.mean() + rest, output.logits[0, 2])


def test_only_an_lstm_over_pooled_frames_has_no_map():
    assert {name for name in BUILDERS if "cam" not in network(name).heats()} == WITHOUT_MAP
    assert {
        name for name in BUILDERS if network(name).evidence(clip(network(name)), 0) is None
    } == WITHOUT_MAP


@torch.no_grad()
def test_the_map_after_each_frame_is_that_of_the_clip_cut_there():
    model = network("cam convlstm")
    found, weight = model.evidence(clip(model), 4), model.classifier.weight[4]
    for length in range(1, FRAMES + 1):
        maps = model.backbone(clip(model)["frames"][:, :length])
        seen, cam = model.attend(maps)
        attention = cam.flatten(2).softmax(dim=2).view_as(cam)
        state = model.temporal.cell(seen * attention[:, :, None])[0]
        by_hand = sum(w * channel for w, channel in zip(weight, state, strict=True))
        torch.testing.assert_close(found[length - 1], by_hand)


@torch.no_grad()
def test_attention_weighs_the_evidence_of_averaged_frames():
    model = network("cam avgpool")
    output = model(**clip(model))
    weight = model.classifier.weight[1]
    by_hand = 4 * output.heat[0] * (weight[:, None, None] * output.maps["pre_activation"][0]).sum(dim=1)
    torch.testing.assert_close(model.evidence(clip(model), 1), by_hand)


def test_a_network_that_says_nothing_of_heat_shows_none():
    class Silent(ClipModel):
        takes = ("frames",)

    assert Silent().heats() == () and Silent().evidence({}, 0) is None
    with pytest.raises(UserError, match="runs/silent is of a kind without heat maps.* it can show none$"):
        require_heat("cam", Silent(), Path("runs/silent"))
