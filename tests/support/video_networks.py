"""Small networks over whole clips, clips for them, and 2D networks for them to begin as."""

from functools import cache

import torch
from torch import nn

from core.checkpoint import save_checkpoint
from models.backbones.resnet import RESNETS
from models.video import NETWORKS

K, T, SIZE = 5, 5, 32


@cache
def network(name: str, frames: int = T, **options: object):
    torch.manual_seed(0)
    return NETWORKS[name](name, K, frames=frames, dropout=0.0, **options).eval()


def clips(number: int = 2, frames: int = T, size: int = SIZE) -> torch.Tensor:
    return torch.randn(number, frames, 3, size, size, generator=torch.Generator().manual_seed(frames))


@cache
def flat(name: str) -> nn.Module:
    """A 2D ResNet whose batch norms have seen something."""
    torch.manual_seed(1)
    net = RESNETS[name](weights=None, num_classes=7).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    return net


def started(name: str, backbone: str, folder, frames: int = T, **options: object):
    save_checkpoint(folder / "flat.pth", flat(backbone).state_dict())
    model = network.__wrapped__(name, frames, **options)
    model.start(str(folder / "flat.pth"))
    return model.eval()


def lateral_off(model):
    for part in model.lateral.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.zeros_(part.weight)
        elif isinstance(part, nn.BatchNorm3d):
            nn.init.zeros_(part.bias)
