"""What every network of the project returns.

Axes: B clips, T frames, C channels, h w feature cells, K classes.
"""

from typing import NamedTuple

from torch import Tensor


class ClipOutput(NamedTuple):
    """Result of one forward pass over a batch of clips.

    Attributes:
        logits: Class scores before the softmax. Shape: (B, K).
        features: What the classifier sees, before dropout. Shape: (B, hidden).
        heat: The network's own attention, non-negative, summing to 1 over the cells of a frame; None when
            the network has none. Shape: (B, T, h, w).
        maps: Feature maps of the backbone by name, each of shape (B, T, C, h, w).
        motion: Scores of the motion heads by the name of their feature map, see `selfsup.MotionHead`.
    """

    logits: Tensor
    features: Tensor
    heat: Tensor | None = None
    maps: dict[str, Tensor] = {}
    motion: dict[str, Tensor] = {}


def by_clip(frames: Tensor, clips: int) -> Tensor:
    """Unfold the frame axis: (B*T, ...) to (B, T, ...)."""
    return frames.reshape(clips, -1, *frames.shape[1:])
