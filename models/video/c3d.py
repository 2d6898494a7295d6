"""C3D: eight 3D convolutions (Tran et al., ICCV 2015).

Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from typing import ClassVar

from torch import Tensor, nn

from models.video.base import VideoNetwork
from models.video.inflate import initialise

# Channels of each convolution, and where a pool follows: pairs of pixels, and of frames but for the first.
_LAYERS = (64, "pool1", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool5")


class C3D(VideoNetwork):
    """Eight convolutions of 3x3x3 with pools between them, and the mean of the last maps.

    Three things differ from the published network: batch norm after each convolution, as in its authors'
    later code, without which it hardly learns from scratch; the mean in place of two layers of 4096, which
    hold 84 of its 112 million parameters and fix clips at 16 frames of 112 pixels; and pools along time that
    keep their last, smaller part, or 7 frames would leave none.

    Args:
        network: "c3d".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).
        width: Channels of the first convolution, 64 as published.

    Examples:
        >>> import torch
        >>> C3D("c3d", 5, frames=7, width=2).eval()(torch.zeros(1, 7, 3, 32, 32)).features.shape
        torch.Size([1, 16])
    """

    STEP: ClassVar[int | None] = 16

    def __init__(
        self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5, width: int = 64
    ) -> None:
        super().__init__(network, num_classes, features=8 * width, frames=frames, dropout=dropout)
        layers, inputs = list[nn.Module](), 3
        for layer in _LAYERS:
            if isinstance(layer, int):
                outputs = layer * width // 64
                layers += [
                    nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm3d(outputs, eps=1e-3),
                    nn.ReLU(inplace=True),
                ]
                inputs = outputs
            else:
                time = 1 if layer == "pool1" else 2
                padding = (0, 1, 1) if layer == "pool5" else 0
                layers.append(nn.MaxPool3d((time, 2, 2), padding=padding, ceil_mode=True))
        self.net = nn.Sequential(*layers)
        initialise(self.net)

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        maps: Tensor = self.net(clips)
        return maps
