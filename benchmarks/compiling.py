"""What `--compile` costs and gives: a step as it is, and compiled by torch.compile."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch

from benchmarks.alternate import alternate, speedup
from benchmarks.pages import markdown
from benchmarks.steps import BF16, EXACT, PartName, Size, build

_STEPS: tuple[tuple[PartName, str], ...] = (
    ("stage 1", EXACT),
    ("stage 1", BF16),
    ("stage 2", EXACT),
    ("stage 2", BF16),
    ("flow", BF16),
)


def measure_compiling(size: Size, rounds: int) -> dict[str, Any]:
    """Time steps as they are and compiled.

    Args:
        size: Size of the step.
        rounds: Rounds of alternation.

    Returns:
        By step: "seconds" until the first compiled step is done, and those of each round "as it is" and
        "compiled".
    """
    torch._dynamo.config.suppress_errors = True  # as with --compile
    found: dict[str, Any] = {}
    for part, way in _STEPS:
        plain, compiled = build(part, way, size), build(part, way, size)
        compiled.model.compile()
        start = time.perf_counter()
        compiled.train()
        seconds = time.perf_counter() - start
        timed = alternate({"as it is": plain.train, "compiled": compiled.train}, rounds)
        found[f"{part}, {way}"] = {"seconds": seconds, **timed}
        torch._dynamo.reset()
    return found


def compiling_table(found: Mapping[str, Any]) -> str:
    """Show what compiling takes once, and how many times faster a step is then."""
    rows = [
        [
            name,
            f"{step['seconds']:.0f}",
            f"{1000 * median(step['as it is']):.0f}",
            f"{speedup(step['as it is'], step['compiled']):.2f}",
        ]
        for name, step in found["compiling"].items()
    ]
    return markdown(["training step", "to compile, s", "as it is, ms", "compiled, times faster"], rows)
