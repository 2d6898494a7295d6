"""Heat of every source against a few plain lines, and against the package for Grad-CAM."""

import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.errors import UserError
from models import EgoRNN, FrameClassifier, TwoStream
from models.flow_stream import FlowStream
from models.temporal import HEADS
from models.video import NETWORKS
from tests.support.thin import thin_networks
from viz.heat import find_heat, require_heat

ACTION = 3
QUICK = {"resnet18", "early", "slowfusion", "i3d-resnet18", "csn26", "s3d"}
NETWORKS_EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.stress) for name in NETWORKS]


@cache
def classifier():
    torch.manual_seed(0)
    return FrameClassifier(5, backbone="resnet18").eval()


def picture():
    return torch.randn(1, 1, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def heat(name, model, inputs, action=ACTION):
    return find_heat(name, model, inputs, model(**inputs).heat, action)


@torch.no_grad()
def test_cam_is_the_share_of_what_speaks_for_the_action():
    net = classifier().backbone.resnet
    body = torch.nn.Sequential(*list(net.children())[:-2])
    evidence = np.maximum(np.tensordot(net.fc.weight[ACTION].numpy(), body(picture()[0])[0].numpy(), 1), 0)
    assert 0 < (evidence == 0).sum() < 9, "some cells should speak against it"
    found = heat("cam", classifier(), {"frames": picture()})
    np.testing.assert_allclose(found, evidence[None] / evidence.sum(), atol=1e-6)


@torch.no_grad()
def test_where_nothing_speaks_for_the_action_there_is_no_heat():
    torch.manual_seed(0)
    model = FrameClassifier(5, backbone="resnet18").eval()
    model.backbone.resnet.fc.weight[ACTION] = -1.0
    assert (heat("cam", model, {"frames": picture()}) == 0).all()


def test_gradcam_of_a_single_frame_is_the_packages_own():
    """The package as its manual has it: the whole torchvision network, and its last block as the layer."""
    package = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = classifier().backbone.resnet
    with package.GradCAM(net, [net.layer4[-1]]) as cam:
        theirs = cam(picture()[0], [ClassifierOutputTarget(ACTION)])[0]  # (96, 96) in [0, 1]
    ours = heat("gradcam", classifier(), {"frames": picture()})[0]
    assert ours.sum() == pytest.approx(1, abs=1e-6)
    large = cv2.resize(ours, (96, 96), interpolation=cv2.INTER_LINEAR)  # as the package gives its own
    np.testing.assert_allclose(large / large.max(), theirs, atol=1e-5)
    assert all(parameter.grad is None for parameter in classifier().parameters())


def test_gradcam_follows_the_attention_through_the_recurrence():
    """By hand: gradients of the score in what the recurrence sees, averaged over the cells."""
    pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    torch.manual_seed(2)
    model = EgoRNN(5, backbone="resnet18", hidden=4, backbone_classes=7).eval()
    inputs = {"frames": torch.randn(1, 3, 3, 96, 96)}
    seen, cam = model.attend(model.backbone(inputs["frames"]))
    attention = cam.flatten(2).softmax(dim=2).view_as(cam)
    attended = (seen * attention[:, :, None])[0].detach().requires_grad_()
    score = model.classifier(model.temporal.cell(attended[None]).mean(dim=(2, 3)))[0, ACTION]
    (gradient,) = torch.autograd.grad(score, attended)
    evidence = (gradient.mean(dim=(2, 3), keepdim=True) * attended).sum(dim=1).relu().detach().numpy()
    above = evidence - evidence.min(axis=(1, 2), keepdims=True)
    found, total = heat("gradcam", model, inputs), above.sum(axis=(1, 2), keepdims=True)
    assert total.max() > 0
    np.testing.assert_allclose(found * total, above, atol=1e-4 * total.max())


def gradcam_by_hand(model, inputs, action):
    """Gradients of the score in the last maps, averaged over the cells; the lowest cell counts 0."""
    maps, logits = model.last_maps(inputs)
    maps = maps.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logits(maps)[0, action], maps)
    evidence = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu().detach().numpy()
    return evidence - evidence.min(axis=(1, 2), keepdims=True)


def assert_gradcam(model, frames):
    pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    action = int(model(frames).logits.argmax())  # for which something speaks
    above = gradcam_by_hand(model, {"frames": frames}, action)
    found, total = heat("gradcam", model, {"frames": frames}, action), above.sum(axis=(1, 2), keepdims=True)
    assert found.shape == above.shape and len(found) == frames.shape[1] and total.max() > 0
    np.testing.assert_allclose(found * total, above, atol=2e-4 * total.max())


@pytest.mark.parametrize("name", HEADS)
def test_gradcam_behind_every_head(name):
    torch.manual_seed(3)
    with thin_networks():
        hidden = HEADS[name].hidden_step * max(1, 8 // HEADS[name].hidden_step)
        options = {"backbone": "resnet18", "hidden": hidden, "backbone_classes": 7, "frames": 4}
        model = EgoRNN(5, temporal=name, **options).eval()
    assert_gradcam(model, torch.randn(1, 4, 3, 96, 96))


@pytest.mark.parametrize("name", NETWORKS_EACH)
def test_gradcam_of_every_network_over_clips(name):
    torch.manual_seed(4)
    frames, size = (16, 224) if name == "mvit_v2_s" else (5, 64)
    with thin_networks():
        model = NETWORKS[name](name, 5, frames=frames).eval()
    assert_gradcam(model, torch.randn(1, frames, 3, size, size))


def test_what_each_network_has_and_what_it_says_instead():
    options = {"backbone": "resnet18", "hidden": 4, "backbone_classes": 7}
    lstm = EgoRNN(5, attention="none", temporal="lstm", **options)
    assert classifier().heats() == ("attention", "cam", "gradcam")
    assert EgoRNN(5, attention="none", **options).heats() == ("cam", "gradcam")
    assert TwoStream(lstm, FlowStream(5, backbone="resnet18"), 5).heats() == ("gradcam",)
    with pytest.raises(UserError, match="--attention none.* it can show --heat gradcam$"):
        require_heat("attention", lstm, Path("runs/lstm"))
    with pytest.raises(UserError, match="runs/lstm joins pooled frames by an LSTM"):
        require_heat("cam", lstm, Path("runs/lstm"))


def test_without_the_package_the_message_has_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match="pip install --no-deps grad-cam ttach"):
        require_heat("gradcam", classifier(), Path("runs/frame"))
