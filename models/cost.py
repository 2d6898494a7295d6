"""What a network costs, and a temporal head apart from the backbone that all heads share.

Axes: B clips, T frames, C channels, h w cells.
"""

import copy
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.base import make_no_heat
from models.temporal import HEADS, TemporalName, build_temporal
from models.temporal.base import TemporalHead

_CLIPS = 8
_REPEATS, _SECONDS = 10, 3.0
"""A step is repeated so often, or for so long."""


def network_cost(architecture: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    """Count a network's parameters and operations; nothing is computed.

    Args:
        architecture: As for `models.build_model`.
        shapes: Of what it takes of one clip, by the names of its arguments.

    Returns:
        parameters; gmac, 10^9 multiplications with their additions of matrix products and convolutions in a
        forward pass, which papers call GFLOPs.
    """
    from models.build import build_model  # which loads every network

    with torch.device("meta"):
        model = build_model(architecture).eval()
        make_no_heat(model)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(**{name: torch.empty(1, *shape) for name, shape in shapes.items()})
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gmac": counter.get_total_flops() / 2e9,
    }


def head_cost(
    head: TemporalHead, device: torch.device, shape: tuple[int, int, int, int], attends: bool
) -> dict[str, float]:
    """Measure a head where it is; it, and all random numbers, stay as they are.

    Args:
        head: The head.
        device: Where it is.
        shape: Of the maps of a clip (T, C, h, w).
        attends: Whether it is given a class activation map.

    Returns:
        head_parameters; head_gflop_per_frame, of one forward pass, 10^9 additions and multiplications of
        matrix products and convolutions alone; head_ms_per_clip, of a forward and a backward pass in train
        mode and float32 over 8 clips, the fastest of several.
    """
    T, _, *cells = shape
    twin = copy.deepcopy(head).train()
    operations = count_operations(copy.deepcopy(twin).to("meta"), (1, *shape), attends)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        maps = torch.randn(_CLIPS, *shape, device=device)
        cam = torch.randn(_CLIPS, T, *cells, device=device) if attends else None

        def step() -> None:
            output = twin(maps, cam)
            if output.requires_grad:
                output.sum().backward()

        times = [_seconds(step, device)]
        while len(times) <= _REPEATS and sum(times) < _SECONDS:
            times.append(_seconds(step, device))
    return {
        "head_parameters": sum(parameter.numel() for parameter in head.parameters()),
        "head_gflop_per_frame": operations / T / 1e9,
        "head_ms_per_clip": 1000 * min(times) / _CLIPS,
    }


def count_operations(head: TemporalHead, shape: tuple[int, ...], attends: bool) -> int:
    """Count the floating-point operations of a forward pass over maps (B, T, C, h, w).

    Args:
        head: On the meta device, where nothing is computed and no fused kernel hides its operations.
        shape: Of the maps.
        attends: Whether it is given a class activation map.
    """
    B, T, _, *cells = shape
    maps = torch.empty(shape, device="meta")
    cam: Tensor | None = torch.empty(B, T, *cells, device="meta") if attends else None
    with FlopCounterMode(display=False) as counter:
        head(maps, cam)
    return int(counter.get_total_flops())


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def count_parameters(name: TemporalName, channels: int, hidden: int, frames: int) -> int:
    """Count the parameters of a head over maps of `channels`, for clips of `frames`, without making them."""
    with torch.device("meta"):
        head = build_temporal(name, channels, hidden, frames)
    return sum(parameter.numel() for parameter in head.parameters())


def matching_width(name: TemporalName, channels: int, frames: int, parameters: int) -> int | None:
    """Find the width at which a head comes closest to a number of parameters.

    Args:
        name: The head.
        channels: Channels C of its maps.
        frames: Frames T of a clip.
        parameters: The number to come close to.

    Returns:
        A width that the head can have, with at most a tenth more or fewer parameters; None where there is
        none, as for heads that have few whatever their width.

    Examples:
        >>> matching_width("lstm", 512, 7, count_parameters("convlstm", 512, 64, 7))
        374
        >>> matching_width("avgpool", 512, 7, 1_000_000) is None
        True
    """
    step, largest = HEADS[name].hidden_step, HEADS[name].largest_hidden or 4096
    widths = range(step, largest + 1, step)

    def count(hidden: int) -> int:
        return count_parameters(name, channels, hidden, frames)

    place = bisect_left(widths, parameters, key=count)  # the first that has as many or more
    found = min(widths[max(place - 1, 0) : place + 1], key=lambda hidden: abs(count(hidden) - parameters))
    return found if abs(count(found) - parameters) <= parameters / 10 else None
