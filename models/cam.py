"""Class activation maps as spatial attention (Ego-RNN, section 3.1).

Axes: N frames, C channels, h w cells, L backbone classes.
"""

from torch import Tensor


def class_activation_map(layer4: Tensor, logits: Tensor, class_weight: Tensor) -> Tensor:
    """M(i) = sum over l of w_l^c f_l(i), for the class c each frame looks most like to the backbone.

    The choice of c is an arg max and passes no gradient; the map passes it to `layer4` and `class_weight`.

    Args:
        layer4: `f`, the last block's output. Shape: (N, C, h, w).
        logits: The backbone's class scores. Shape: (N, L).
        class_weight: Weight of the backbone's own classifier. Shape: (L, C).

    Returns:
        The unnormalised map. Shape: (N, h, w).
    """
    winner = class_weight[logits.argmax(dim=1)]  # (N, C)
    return (winner[:, :, None, None] * layer4).sum(dim=1)


def spatial_attention(activation: Tensor) -> Tensor:
    """Softmax over the cells of each frame.

    Args:
        activation: A map of any real values. Shape: (N, h, w).

    Returns:
        Attention, non-negative and summing to 1 over a frame's cells. Shape: (N, h, w).
    """
    return activation.flatten(1).softmax(dim=1).view_as(activation)
