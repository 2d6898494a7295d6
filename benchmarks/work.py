"""What bounds a step: the operations it does, beside the fastest that this machine convolves."""

from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.alternate import alternate
from benchmarks.pages import markdown
from benchmarks.steps import BF16, PARTS, WAYS, PartName, Size, build

_ROUNDS = 9


def measure_work(size: Size) -> dict[str, Any]:
    """Count what a training step of each stage computes in every way.

    Returns:
        By stage and way: 10^9 operations a step. Beside them the row of the steps' table with their time.
    """
    found: dict[str, Any] = {}
    for part in PARTS:
        ways = {}
        for way in WAYS:
            step = build(part, way, size)
            with FlopCounterMode(display=False) as counter:
                step.train()
            ways[way] = counter.get_total_flops() / 1e9
        found[part] = {"row": row_of(part, size.frames), "clips": size.batch, "operations": ways}
    return found


def row_of(part: PartName, frames: int) -> str:
    """Name a training step as the table of steps does."""
    return part if part == "flow" else f"{part}, {frames} frames"


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
    """Show the operations of each way's step, and what share of their precision's peak they are done at."""
    peak, rows = found["machine"]["peak"], []
    for part, work in found["work"].items():
        row = [part]
        for way, operations in work["operations"].items():
            rate = operations / median(found["steps"][work["row"]][way])
            share = rate / peak["bfloat16" if way == BF16 else "float32"]
            row.append(f"{operations / work['clips']:.0f} ({100 * share:.0f} %)")
        rows.append(row)
    return markdown(["10^9 operations a clip (share of the peak)", *WAYS], rows)
