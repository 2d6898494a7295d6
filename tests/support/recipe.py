"""The motion-segmentation task written again from its description, in loops over frames and places.

Shares nothing with the project's modules but the names of a head's weights.
"""

import torch
from torch import Tensor


def target(maps: Tensor, cells: int, threshold: float | None) -> Tensor:
    """Mean grey level of each block of pixels in [0, 1], or whether it is above the threshold."""
    side = maps.shape[-1] // cells
    places = torch.zeros(*maps.shape[:2], cells, cells, dtype=torch.float64)
    for clip, frame, row, column in torch.cartesian_prod(*(torch.arange(n) for n in places.shape)).tolist():
        block = maps[clip, frame, 0, row * side : (row + 1) * side, column * side : (column + 1) * side]
        share = float(block.double().mean()) / 255
        places[clip, frame, row, column] = share if threshold is None else float(share > threshold)
    return places


def scores(weights: dict[str, Tensor], features: Tensor, planes: int) -> Tensor:
    """ReLU, 1x1 convolution, flatten, linear, frame by frame. Shape: (B, T, planes, n, n)."""
    filters, bias = weights["reduce.weight"][:, :, 0, 0], weights["reduce.bias"]
    clips = []
    for clip in features:
        frames = []
        for frame in clip:
            positive = torch.where(frame > 0, frame, torch.zeros_like(frame))
            reduced = torch.einsum("kc,chw->khw", filters, positive) + bias[:, None, None]
            flat = weights["linear.weight"] @ reduced.reshape(-1) + weights["linear.bias"]
            frames.append(flat.reshape(planes, *frame.shape[1:]))
        clips.append(torch.stack(frames))
    return torch.stack(clips)


def cross_entropy(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all places of -log of the softmax over static (0) and moving (1), at the true one."""
    static, moving = found[:, :, 0], found[:, :, 1]
    right, wrong = torch.where(wanted > 0, moving, static), torch.where(wanted > 0, static, moving)
    return torch.log(1 + torch.exp(wrong - right)).mean()


def squared_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all places."""
    return ((found[:, :, 0] - wanted) ** 2).mean()
