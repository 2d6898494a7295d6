"""A ResNet-18 an eighth as wide, for tests of what is around the network: all layers by their names."""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

import models.backbone

FEATURES = 64


def thin_resnet18(weights: None = None, num_classes: int = 1000) -> ResNet:
    """Build what torchvision's `resnet18` does, with 8, 16, 32 and 64 channels for 64 to 512."""
    assert weights is None
    with torch.device("meta"):  # of this one nothing stays but its forward
        net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=1)
    net.inplanes = 8
    net.conv1 = nn.Conv2d(3, 8, kernel_size=7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(8)
    net.layer1 = net._make_layer(BasicBlock, 8, 2)
    net.layer2 = net._make_layer(BasicBlock, 16, 2, stride=2)
    net.layer3 = net._make_layer(BasicBlock, 32, 2, stride=2)
    net.layer4 = net._make_layer(BasicBlock, FEATURES, 2, stride=2)
    net.fc = nn.Linear(FEATURES, num_classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


@contextmanager
def thin_networks() -> Iterator[None]:
    """Build every resnet18 thin, here and in processes forked from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.backbone.BACKBONES, "resnet18", thin_resnet18)
        yield


if __name__ == "__main__":  # python tests/support/thin.py SCRIPT WORDS...: a script as a process of its own
    sys.argv = sys.argv[1:]
    with thin_networks():
        runpy.run_path(sys.argv[0], run_name="__main__")
