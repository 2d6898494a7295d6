"""The networks and optimisers written again from the equations, over plain dictionaries of tensors.

One frame, one gate and one block at a time; shares nothing with the project's modules but the names of their
weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def batch_norm(w: Weights, name: str, x: Tensor, counting: bool) -> Tensor:
    """Normalise by the saved statistics, or by the batch's own, which are then mixed into the saved ones."""
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    if counting:
        count = x.numel() // x.shape[1]
        mean = x.mean(dim=(0, 2, 3))
        var = ((x - mean[:, None, None]) ** 2).mean(dim=(0, 2, 3))
        with torch.no_grad():
            w[f"{name}.running_mean"] = 0.9 * w[f"{name}.running_mean"] + 0.1 * mean
            w[f"{name}.running_var"] = 0.9 * w[f"{name}.running_var"] + 0.1 * var * count / (count - 1)
            w[f"{name}.num_batches_tracked"] = w[f"{name}.num_batches_tracked"] + 1
    scale = w[f"{name}.weight"] / torch.sqrt(var + 1e-5)
    return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]


def resnet18(w: Weights, net: str, x: Tensor, counting: tuple[str, ...] = ()) -> tuple[Tensor, Tensor]:
    """f and g of the last block; `counting` names the parts whose batch norm uses the batch's statistics."""
    x = F.conv2d(x, w[f"{net}conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(batch_norm(w, f"{net}bn1", x, "stem" in counting)), 3, stride=2, padding=1)
    for layer in range(1, 5):
        on = f"layer{layer}" in counting
        for block in range(2):
            name = f"{net}layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(batch_norm(w, f"{name}.bn1", y, on)), w[f"{name}.conv2.weight"], padding=1)
            residual = x
            if stride == 2:
                residual = F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2)
                residual = batch_norm(w, f"{name}.downsample.1", residual, on)
            g = y + residual
            x = F.relu(batch_norm(w, f"{name}.bn2", y, on) + residual)
    return x, g


def rgb_features(w: Weights, stream: str, clips: Tensor) -> Tensor:
    """Pooled c_T of clips (B, T, 3, H, W), frame by frame."""
    return torch.stack([_clip_feature(w, stream, clip) for clip in clips])


def _clip_feature(w: Weights, stream: str, frames: Tensor) -> Tensor:
    net, cell = f"{stream}backbone.resnet.", f"{stream}temporal.cell."
    wx, bx = w[f"{cell}input_conv.weight"], w[f"{cell}input_conv.bias"]
    wh = w[f"{cell}hidden_conv.weight"]
    depth = wh.shape[1]
    c: Tensor | None = None
    for frame in frames:
        f, g = resnet18(w, net, frame[None])
        scores = w[f"{net}fc.weight"] @ f.mean(dim=(2, 3))[0] + w[f"{net}fc.bias"]
        m = torch.einsum("c,chw->hw", w[f"{net}fc.weight"][scores.argmax()], f[0])
        a = torch.exp(m - m.max().detach())
        u = g * (a / a.sum())
        if c is None:
            h = c = torch.zeros(1, depth, *m.shape, dtype=frames.dtype)

        def gate(number: int, h: Tensor = h, u: Tensor = u) -> Tensor:
            rows = slice(number * depth, (number + 1) * depth)
            return F.conv2d(u, wx[rows], bx[rows], padding=1) + F.conv2d(h, wh[rows], padding=1)

        c = torch.sigmoid(gate(0)) * torch.tanh(gate(2)) + torch.sigmoid(gate(1)) * c
        h = torch.sigmoid(gate(3)) * torch.tanh(c)
    assert c is not None, "a clip has frames"
    return c.mean(dim=(2, 3))[0]


def flow_features(w: Weights, stream: str, flow: Tensor, counting: tuple[str, ...] = ()) -> Tensor:
    """Pooled layer4 of stacks (B, 2 * stack, H, W)."""
    return resnet18(w, f"{stream}backbone.resnet.", flow, counting)[0].mean(dim=(2, 3))


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    """W x, and b where there is one."""
    product = x @ w[f"{name}.weight"].T
    return product + w[f"{name}.bias"] if f"{name}.bias" in w else product


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Normalise the last axis."""
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: Weights, name: str, tokens: Tensor, heads: int, causal: bool = False) -> Tensor:
    """Attention of tokens (B, N, D) to each other, every token and head by itself."""
    q, k, v = (tokens @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]).chunk(3, dim=2)
    size, rows = q.shape[2] // heads, []
    for place in range(tokens.shape[1]):
        seen = place + 1 if causal else tokens.shape[1]
        parts = []
        for head in range(heads):
            of = slice(head * size, (head + 1) * size)
            scores = torch.einsum("bd,bsd->bs", q[:, place, of], k[:, :seen, of]) / size**0.5
            parts.append(torch.einsum("bs,bsd->bd", scores.softmax(dim=1), v[:, :seen, of]))
        rows.append(torch.cat(parts, dim=1))
    return linear(w, f"{name}.out_proj", torch.stack(rows, dim=1))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax at the true class."""
    return (logits.logsumexp(dim=1) - logits[torch.arange(len(labels)), labels]).mean()


class SGD:
    """v <- m v + (g + d p); p <- p - lr v, with v = g + d p in the first step."""

    def __init__(self, momentum: float, decay: float) -> None:
        self.momentum, self.decay = momentum, decay
        self.velocity: dict[str, Tensor] = {}

    def step(self, name: str, p: Tensor, gradient: Tensor, lr: float) -> Tensor:
        push = gradient + self.decay * p
        if name in self.velocity:
            push = self.momentum * self.velocity[name] + push
        self.velocity[name] = push
        return p - lr * push


class Adam:
    """Kingma and Ba, with the weight decay added to the gradient."""

    def __init__(self, decay: float, eps: float) -> None:
        self.decay, self.eps = decay, eps
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.steps: dict[str, int] = {}

    def step(self, name: str, p: Tensor, gradient: Tensor, lr: float) -> Tensor:
        g = gradient + self.decay * p
        first, second = self.moments.get(name, (torch.zeros_like(p), torch.zeros_like(p)))
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        t = self.steps[name] = self.steps.get(name, 0) + 1
        self.moments[name] = first, second
        return p - lr * (first / (1 - 0.9**t)) / (torch.sqrt(second / (1 - 0.999**t)) + self.eps)
