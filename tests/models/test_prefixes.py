"""Kept outputs: which layers a stage leaves alone, and that going on from them gives the same scores."""

import pytest
import torch

from core.stage import Group, Stage
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream, build_model
from models.base import Entry
from selfsup.head import describe_heads
from tests.support.thin import FEATURES

FRAMES, FLOW = torch.randn(2, 3, 3, 64, 64), torch.randn(2, 4, 64, 64)


pytestmark = pytest.mark.usefixtures("thin")


def stream(attention: str = "cam", temporal: str = "convlstm", motion: tuple[str, ...] = ()) -> EgoRNN:
    torch.manual_seed(0)
    model = EgoRNN(
        4, backbone="resnet18", attention=attention, temporal=temporal, hidden=3, backbone_classes=6
    )
    if motion:
        model.motion = build_model(describe_heads(motion, "regression", channels=FEATURES, image_size=64))
    return model.eval()


def kept(model, stage) -> dict[str, torch.Tensor]:
    """Outputs of the last prefix, every one run on those of the one before."""
    outputs = {"frames": FRAMES}
    for prefix in model.prefixes(stage):
        outputs = prefix.run(next(iter(outputs.values())))
        assert all(output.shape[:2] == (2, 3) for output in outputs.values())
        assert set(prefix.exact) <= outputs.keys()
    return outputs


@pytest.mark.parametrize("attention", ["cam", "none"])
@pytest.mark.parametrize("number, names", [(1, {"recurrent_input", "cam"}), (2, {"layer3"})])
@torch.no_grad()
def test_an_rgb_stream_goes_on_from_kept_outputs(number, names, attention):
    model = stream(attention)
    outputs = kept(model, EgoRNN.stage(number, "convlstm"))
    assert outputs.keys() == names - ({"cam"} if attention == "none" else set())
    whole, found = model(FRAMES), model.after(**outputs)
    assert torch.equal(found.logits, whole.logits)
    assert found.heat is whole.heat or torch.equal(found.heat, whole.heat)


@torch.no_grad()
def test_two_streams_go_on_from_the_rgb_streams_trunk():
    model = TwoStream(stream(), FlowStream(4, stack=2, backbone="resnet18"), 4).eval()
    outputs = kept(model, TwoStream.stage("convlstm"))
    assert outputs.keys() == {"layer3"}
    found = model.after(**outputs, flow=FLOW)
    assert torch.equal(found.logits, model(FRAMES, FLOW).logits)
    (trunk,), (first, _) = (
        model.prefixes(TwoStream.stage("convlstm")),
        model.rgb.prefixes(EgoRNN.stage(1, "convlstm")),
    )
    assert trunk.name == first.name and trunk.modules == first.modules, "both share what is kept"


def test_nothing_is_kept_of_layers_that_learn():
    assert stream().prefixes(EgoRNN.stage("joint", "convlstm")) == ()
    headed = stream(motion=("layer3",))
    assert headed.prefixes(EgoRNN.stage(2, "convlstm", ("layer3",))) == ()
    assert [p.name for p in headed.prefixes(EgoRNN.stage(2, "convlstm"))] == ["layer3"]
    assert FlowStream(4, backbone="resnet18").prefixes(FlowStream.STAGE) == ()
    assert FrameClassifier(4, backbone="resnet18").prefixes(FrameClassifier.STAGE) == ()


def test_motion_heads_read_maps_that_only_the_trunk_leaves_them():
    headed = stream(motion=("layer4",))
    (prefix,) = headed.prefixes(EgoRNN.stage(1, "convlstm"))
    assert prefix.name == "layer3"


def test_batch_norm_that_counts_is_not_kept():
    model = stream()
    counting = Stage(
        "counts", (Group(("classifier.*",)),), ("backbone.resnet.layer2",), "sgd", 0.1, 0.0, None, 1.0, 1
    )
    assert model.prefixes(counting) == ()


@torch.no_grad()
def test_the_entry_takes_inputs_or_kept_outputs_and_leaves_the_names_of_weights():
    model = stream()
    entry, stage = Entry(model), EgoRNN.stage(1, "convlstm")
    expected = model(FRAMES).logits
    assert torch.equal(entry(frames=FRAMES).logits, expected)
    assert torch.equal(entry(**kept(model, stage)).logits, expected)
    assert entry.model is model and set(entry.state_dict()) == {
        f"model.{name}" for name in model.state_dict()
    }
