"""What a published file holds is told from its names and shapes."""

import pytest
import torch

from core.errors import UserError
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream, reference_state
from models.build import published_architecture, read_published
from tests.support.thin import thin_networks


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_an_rgb_network_is_recognised(backbone):
    with torch.device("meta"):  # shapes are all that is asked
        state = reference_state(EgoRNN(61, backbone=backbone, hidden=32, backbone_classes=11))
    found = published_architecture(state)
    sizes = {"num_classes": 61, "backbone": backbone, "hidden": 32, "backbone_classes": 11}
    assert found.items() >= sizes.items() and found["name"] == "EgoRNN"


@thin_networks()
def test_a_two_stream_network_is_read_with_its_weights():
    torch.manual_seed(0)
    rgb = EgoRNN(4, backbone="resnet18", hidden=3, backbone_classes=6)
    source = TwoStream(rgb, FlowStream(4, stack=2, backbone="resnet18"), 4).eval()
    content = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in reference_state(source).items()}}
    architecture, model = read_published(content)
    assert architecture["flow"] == {
        "name": "FlowStream",
        "num_classes": 4,
        "backbone": "resnet18",
        "stack": 2,
    }
    frames, flow = torch.randn(1, 2, 3, 32, 32), torch.randn(1, 4, 32, 32)
    assert torch.equal(model.eval()(frames, flow).logits, source(frames, flow).logits)


@thin_networks()
def test_an_incomplete_flow_network_names_the_first_five_keys():
    state = reference_state(FlowStream(61, backbone="resnet18"))
    for key in [key for key in state if key.startswith("layer2")]:
        del state[key]
    with pytest.raises(UserError, match=r"keys missing \['layer2.0.conv1.weight', ('layer2[^']*'(, )?){4}\]"):
        read_published(state)


def test_what_is_no_published_network():
    with pytest.raises(UserError, match=r"no published Ego-RNN network.*conv1\.weight"):
        read_published(dict(FrameClassifier(4, backbone="resnet18").backbone.resnet.state_dict()))
    with pytest.raises(UserError, match=r"tensors by name; \['epoch'\]"):
        read_published({"fc_action.weight": torch.zeros(4, 512), "epoch": 3})
