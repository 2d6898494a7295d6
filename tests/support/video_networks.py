"""Small networks over whole clips, clips for them, and 2D networks for them to begin as."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.checkpoint import save_checkpoint
from models.backbones.resnet import RESNETS
from models.video import NETWORKS

K, T, SIZE = 5, 5, 32


@cache
def network(name: str, frames: int = T, **options: Any) -> Any:
    torch.manual_seed(0)
    return NETWORKS[name](name, K, frames=frames, dropout=0.0, **options).eval()


def clips(number: int = 2, frames: int = T, size: int = SIZE) -> torch.Tensor:
    return torch.randn(number, frames, 3, size, size, generator=torch.Generator().manual_seed(frames))


@cache
def flat(name: str) -> nn.Module:
    """A 2D ResNet whose batch norms have seen something."""
    torch.manual_seed(1)
    net: nn.Module = RESNETS[name](weights=None, num_classes=7).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.get_buffer("running_mean"), 0, 0.1)
            nn.init.uniform_(part.get_buffer("running_var"), 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    return net


def started(name: str, backbone: str, folder: Path, frames: int = T, **options: Any) -> Any:
    """A network that begins with a 2D one's weights, read from a file in the folder."""
    save_checkpoint(folder / "flat.pth", flat(backbone).state_dict())
    model = network.__wrapped__(name, frames, **options)
    model.start(str(folder / "flat.pth"))
    return model.eval()


def lateral_off(model: Any) -> None:
    """Let nothing pass from SlowFast's fast pathway to the slow one."""
    for part in model.lateral.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.zeros_(part.weight)
        elif isinstance(part, nn.BatchNorm3d):
            nn.init.zeros_(part.bias)
