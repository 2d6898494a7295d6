"""Non-local blocks behind residual blocks: each cell of a clip looks at all cells of all its frames.

Wang et al., Non-local Neural Networks, CVPR 2018: z = x + BN(W y) with y = softmax(theta(x) phi(x) / sqrt(d))
g(x) and d = C / 2. The scale 1 / sqrt(d) is that of the authors' code; the paper has none. The batch norm's
factor begins at 0, so that the network begins as the one of single frames.

Axes: B clips, T frames of a clip, N = B * T, C channels, d inner channels, H W cells, P positions.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.seeding import deterministic_attention
from models.inserts.base import clips_of

GRIDS = (1, 2, 4)
"""Cells a side of the coarse maps that the pyramid looks at."""


class NonLocal(nn.Module):
    """Embedded Gaussian, with phi and g on maps pooled by 2 x 2 (maximum) beforehand, as the authors have it.

    `theta`, `phi`, `g` and `out` (W) are the paper's; weights begin as N(0, 0.01), biases at 0.

    Args:
        channels: C.
        length: Frames T of a clip.

    Examples:
        >>> block = NonLocal(8, length=5)
        >>> x = torch.randn(10, 8, 6, 6)
        >>> block.eval()(x).equal(x)
        True
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.length = length
        inner = channels // 2
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=0.01)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add to each cell what it takes from all others of its clip. Shape: (N, C, H, W), kept."""
        pooled = self.pool(x)
        queries = _positions(clips_of(self.theta(x), self.length))  # (B, THW, d)
        keys, values = (_positions(clips_of(conv(pooled), self.length)) for conv in (self.phi, self.g))
        with deterministic_attention():
            y = F.scaled_dot_product_attention(queries, keys, values)  # (B, THW, d), scaled by 1 / sqrt(d)
        maps = y.reshape(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)  # (N, d, H, W)
        added: Tensor = self.norm(self.out(maps))
        return x + added

    def pool(self, x: Tensor) -> Tensor:
        """Choose what the cells look at, of frames (N, C, H, W): (N, C, h, w)."""
        return F.max_pool2d(x, 2)


class PyramidNonLocal(NonLocal):
    """After the idea of the pyramid non-local block: cells look at coarse maps of several scales at once.

    No code of the authors is public, and only the abstract's idea is followed: phi and g see the means over
    grids of 1 x 1, 2 x 2 and 4 x 4 cells, joined along positions. A clip has 21 T such positions whatever its
    size, so that the block costs far less than looking at every cell. Nothing says that it equals theirs.

    Examples:
        >>> block = PyramidNonLocal(8, length=5)
        >>> block.pool(torch.zeros(10, 8, 14, 14)).shape
        torch.Size([10, 8, 21, 1])
    """

    def pool(self, x: Tensor) -> Tensor:
        """Average frames (N, C, H, W) over each grid: (N, C, 21, 1)."""
        scales = [F.adaptive_avg_pool2d(x, grid).flatten(2) for grid in GRIDS]
        return torch.cat(scales, dim=2)[..., None]


class NonLocalLayer(nn.Sequential):
    """A ResNet's layer with non-local blocks behind some of its blocks, whose names stay.

    Attributes:
        after: The non-local blocks, by the name of the block that they follow.

    Examples:
        >>> layer = nn.Sequential(nn.Identity(), nn.ReLU())
        >>> NonLocalLayer.take_over(layer, {"1": NonLocal(8, length=5)})(torch.zeros(10, 8, 6, 6)).shape
        torch.Size([10, 8, 6, 6])
    """

    after: nn.ModuleDict

    @classmethod
    def take_over(cls, layer: nn.Module, after: dict[str, nn.Module]) -> Self:
        """Turn a layer of a ResNet into this one, in its place."""
        assert type(layer) is nn.Sequential, "each layer is taken over once"
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.after = nn.ModuleDict(after)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Run frames (N, C, H, W) through the blocks."""
        for name, block in self.named_children():
            if name == "after":
                continue
            x = block(x)
            if name in self.after:
                x = self.after[name](x)
        return x


def _positions(clips: Tensor) -> Tensor:
    """Turn maps (B, T, d, h, w) into vectors at positions (B, T*h*w, d)."""
    return clips.flatten(3).transpose(2, 3).flatten(1, 2)
