"""A ResNet-18 an eighth as wide, for tests of what is around the network: all layers by their names."""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from models.backbones.resnet import RESNETS

FEATURES = 64


def thin_resnet18(weights: None = None, num_classes: int = 1000) -> ResNet:
    """Build what torchvision's `resnet18` does, with 8, 16, 32 and 64 channels for 64 to 512."""
    assert weights is None
    net = ResNet.__new__(ResNet)  # which would first make, and draw, one of full width
    nn.Module.__init__(net)
    net.conv1 = nn.Conv2d(3, 8, kernel_size=7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(8)
    net.relu = nn.ReLU(inplace=True)
    net.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    net.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
    net.layer2 = halving_layer(8, 16)
    net.layer3 = halving_layer(16, 32)
    net.layer4 = halving_layer(32, FEATURES)
    net.avgpool = nn.AdaptiveAvgPool2d((1, 1))
    net.fc = nn.Linear(FEATURES, num_classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def halving_layer(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two residual blocks, the first of which halves the map's sides."""
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    first = BasicBlock(in_channels, out_channels, stride=2, downsample=shortcut)
    return nn.Sequential(first, BasicBlock(out_channels, out_channels))


@contextmanager
def thin_networks() -> Iterator[None]:
    """Build every resnet18 thin, here and in processes forked from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RESNETS, "resnet18", thin_resnet18)
        yield


if __name__ == "__main__":  # python tests/support/thin.py SCRIPT WORDS...: a script as a process of its own
    sys.argv = sys.argv[1:]
    with thin_networks():
        runpy.run_path(sys.argv[0], run_name="__main__")
