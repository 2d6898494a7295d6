"""Class activation maps as spatial attention (Ego-RNN, section 3.1).

Axes: any leading axes, such as clips and frames; C channels, h w cells, L backbone classes.
"""

from torch import Tensor


def class_activation_map(layer4: Tensor, logits: Tensor, class_weight: Tensor) -> Tensor:
    """M(i) = sum over l of w_l^c f_l(i), for the class c that the backbone scores highest in each frame.

    The choice of c is an arg max and passes no gradient; the map passes it to `layer4` and `class_weight`.

    Args:
        layer4: `f`, the last block's output. Shape: (..., C, h, w).
        logits: The backbone's class scores. Shape: (..., L).
        class_weight: Weight of the backbone's own classifier. Shape: (L, C).

    Returns:
        The map before its softmax. Shape: (..., h, w).
    """
    winner = class_weight[logits.argmax(dim=-1)]  # (..., C)
    return (winner[..., None, None] * layer4).sum(dim=-3)


def spatial_attention(activation: Tensor) -> Tensor:
    """Softmax over the cells of each frame, (..., h, w): non-negative, summing to 1 over a frame."""
    return activation.flatten(-2).softmax(dim=-1).view_as(activation)
