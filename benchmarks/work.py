"""What bounds a step: the operations it does, beside the fastest that this machine convolves."""

from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.alternate import alternate
from benchmarks.pages import markdown
from benchmarks.steps import BF16, PARTS, WAYS, Size, build

_ROUNDS = 9


def measure_work(
    size: Size, peak: Mapping[str, float], milliseconds: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Count what a training step of each stage computes in every way, and how near the peak that is.

    Args:
        size: Size of the step.
        peak: Of `measure_peak`.
        milliseconds: What the step takes a clip, by stage and way.

    Returns:
        By stage and way: 10^9 operations a clip, and their rate as a share of the peak of their precision.
    """
    found: dict[str, Any] = {}
    for part in PARTS:
        for way in WAYS:
            step = build(part, way, size)
            with FlopCounterMode(display=False) as counter:
                step.train()
            operations = counter.get_total_flops() / 1e9 / size.batch
            rate = operations / milliseconds[part][way] * 1000
            share = rate / peak["bfloat16" if way == BF16 else "float32"]
            found.setdefault(part, {})[way] = {"operations": operations, "share": share}
    return found


def measure_peak() -> dict[str, float]:
    """Time a convolution that suits the machine, alone: 10^9 operations a second in float32 and bfloat16."""
    channels, side, batch = 256, 28, 8
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    maps = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    operations = 2 * 9 * channels**2 * side**2 * batch
    found = {}
    with torch.inference_mode():
        for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            layer, given = convolution.to(kind), maps.to(kind)
            seconds = alternate({name: lambda layer=layer, given=given: layer(given)}, _ROUNDS)[name]  # type: ignore[misc]
            found[name] = operations / median(seconds) / 1e9
    return found


def work_table(found: Mapping[str, Any]) -> str:
    """Show the operations of each way's step, and what share of the peak they are done at."""
    rows = [
        [part, *(f"{work['operations']:.0f} ({100 * work['share']:.0f} %)" for work in ways.values())]
        for part, ways in found.items()
    ]
    return markdown(["10^9 operations a clip (share of the peak)", *WAYS], rows)
