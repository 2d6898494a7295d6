"""The flow stream: several stacks, its first layer, its stage; steps are checked in test_training_steps."""

import pytest
import torch
from torch import nn

from core.errors import UserError
from models import EgoRNN, FlowStream, FrameClassifier, build_model
from models.weights import cross_modality, load_backbone_body, read_backbone_weights
from tests.support.thin import FEATURES

pytestmark = pytest.mark.usefixtures("thin")


def stream(seed: int = 0, **changes) -> FlowStream:
    torch.manual_seed(seed)
    return FlowStream(4, **({"stack": 3, "backbone": "resnet18"} | changes))


def test_it_is_torchvisions_resnet_over_ten_channels():
    model = FlowStream(61).eval().double()
    assert model.backbone.resnet.conv1.weight.shape == (64, 10, 7, 7)
    assert len(model.backbone.resnet.layer3) == 6, "resnet34"
    flow = torch.randn(2, 10, 64, 64).double()
    torch.testing.assert_close(model(flow).logits, model.backbone.resnet(flow))


def test_several_stacks_are_the_mean_of_their_logits():
    model = stream().eval()
    stacks = torch.randn(2, 5, 6, 64, 64)
    output = model(stacks)
    single = [model(stacks[:, number]) for number in range(5)]
    torch.testing.assert_close(output.logits, torch.stack([one.logits for one in single]).mean(dim=0))
    torch.testing.assert_close(output.features, torch.stack([one.features for one in single]).mean(dim=0))
    assert output.maps["layer4"].shape == (2, 5, FEATURES, 2, 2) and output.heat.shape == (2, 5, 2, 2)
    torch.testing.assert_close(output.heat[:, 3], single[3].heat[:, 0])


def test_dropout_stands_before_the_classifier_and_leaves_the_features():
    model = stream(dropout=0.5).train()
    net = model.backbone.resnet
    nn.init.ones_(net.fc.weight)
    nn.init.zeros_(net.fc.bias)
    flow = torch.randn(2, 6, 32, 32)
    torch.manual_seed(1)
    output = model(flow)
    torch.manual_seed(1)
    kept = nn.functional.dropout(torch.ones(2, FEATURES), 0.5)
    torch.testing.assert_close(output.logits[:, 0], (output.features * kept).sum(dim=1))
    dropped = output.features[kept == 0]
    assert dropped.count_nonzero() > 0, "features are given before dropout"


def test_the_first_layer_is_the_rgb_mean_repeated_without_rescaling():
    rgb = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2)
    ours = cross_modality(rgb, 10)
    assert ours.shape == (2, 10, 2, 2)
    for channel in range(10):
        assert torch.equal(ours[:, channel], (rgb[:, 0] + rgb[:, 1] + rgb[:, 2]) / 3)
    assert torch.equal(cross_modality(rgb, 3), rgb)
    assert torch.equal(cross_modality(ours, 10), ours), "weights of a flow stream are taken as they are"


def test_weights_of_an_rgb_backbone(tmp_path):
    source = FrameClassifier(7, backbone="resnet18").backbone.resnet.state_dict()
    torch.save(source, tmp_path / "rgb.pth")
    model = stream(1)
    classifier = model.backbone.resnet.fc.weight.clone()
    load_backbone_body(model.backbone, read_backbone_weights(str(tmp_path / "rgb.pth"), "resnet18"))
    state = model.backbone.resnet.state_dict()
    assert torch.equal(state["fc.weight"], classifier) and state["fc.weight"].shape == (4, FEATURES)
    for key in source.keys() - {"conv1.weight", "fc.weight", "fc.bias"}:
        assert torch.equal(state[key], source[key]), key
    assert torch.equal(state["conv1.weight"][:, 4], source["conv1.weight"].mean(dim=1))


def test_weights_of_another_stack_or_backbone_are_refused():
    with pytest.raises(UserError, match="conv1.weight"):
        load_backbone_body(stream(stack=5).backbone, stream(stack=3).backbone.resnet.state_dict())
    with pytest.raises(UserError, match="--backbone"):
        load_backbone_body(stream().backbone, EgoRNN(4).backbone.resnet.state_dict())


def test_everything_learns():
    model = stream()
    FlowStream.STAGE.freeze(model)
    FlowStream.STAGE.set_modes(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for name, module in model.named_modules() if name)
    settings = FlowStream.STAGE.build_optimizer(model).param_groups
    assert [group["lr"] for group in settings] == [1e-2]
    assert (settings[0]["momentum"], settings[0]["weight_decay"]) == (0.9, 5e-4)
    assert (FlowStream.STAGE.milestones, FlowStream.STAGE.gamma, FlowStream.STAGE.epochs) == (
        (150, 300, 500),
        0.5,
        750,
    )


def test_chunks_are_not_made_where_batch_norm_counts():
    """On a CPU frames pass in chunks; a batch that counts must pass whole, layer by layer."""
    flow = torch.randn(4, 6, 64, 64)
    models = [stream().double() for _ in range(2)]
    models[1].backbone.CPU_CHUNK_PIXELS = 64 * 64
    for mode in ("layer4", "all"):
        for model in models:
            model.eval()
            (model.backbone if mode == "all" else model.backbone.resnet.layer4).train()
        one, other = (model(flow.double()) for model in models)
        torch.testing.assert_close(one.features, other.features)
    state = models[1].state_dict()
    for key, value in models[0].state_dict().items():
        torch.testing.assert_close(value, state[key], msg=key)


def test_a_checkpoint_builds_it_again():
    arguments = {"num_classes": 4, "stack": 3, "backbone": "resnet18", "dropout": 0.2}
    model = build_model({"name": "FlowStream", **arguments})
    model.load_state_dict(stream().state_dict())
    assert model.dropout.p == 0.2
