"""The measurements of docs/performance.md on random clips: time, work, exactness and memory of a step.

Ways are timed in alternation in one process, so that whatever else the machine does disturbs all alike.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.profiler import profile
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.steps import (
    BF16,
    EXACT,
    KEPT,
    PARTS,
    PLAIN,
    WAYS,
    PartName,
    Size,
    Step,
    build,
    gradient,
    gradient_error,
    in_double,
)
from core.seeding import set_up_numerics

Found = dict[str, Any]
Way = Callable[[], object]

GROWTH: tuple[PartName, ...] = ("stage 1", "stage 2")
_COMPILED: tuple[tuple[PartName, str], ...] = (
    ("stage 1", EXACT),
    ("stage 1", BF16),
    ("stage 2", EXACT),
    ("stage 2", BF16),
    ("flow", BF16),
)


def alternate(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Time each way once a round, after one round that does not count.

    Args:
        ways: What to time, by name.
        rounds: Number of rounds.

    Returns:
        Seconds of every round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def speedup(base: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times faster the other is: the median over rounds of the ratio within a round."""
    return median(slow / fast for slow, fast in zip(base, other, strict=True))


def count_operations(way: Way) -> float:
    """Count the floating-point operations of one call, in 10^9."""
    with FlopCounterMode(display=False) as counter:
        way()
    return float(counter.get_total_flops()) / 1e9


def row_of(part: PartName, frames: int) -> str:
    """Name a training step as the table of steps does."""
    return part if part == "flow" else f"{part}, {frames} frames"


def measure_machine() -> Found:
    """Describe the machine, and measure how fast it convolves."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cpu": names[0] if names else "CPU",
        "peak": convolution_peak(),
    }


def convolution_peak() -> dict[str, float]:
    """Time a convolution that suits the machine: 10^9 operations a second in float32 and bfloat16."""
    channels, side, batch = 256, 28, 8
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    maps = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    operations = 2 * 9 * channels**2 * side**2 * batch
    found = {}
    with torch.inference_mode():
        for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            inputs = {"layer": convolution.to(kind), "maps": maps.to(kind)}
            timer = Timer("layer(maps)", globals=inputs, num_threads=torch.get_num_threads())
            found[name] = operations / timer.blocked_autorange(min_run_time=0.5).median / 1e9
    return found


def measure_steps(size: Size, lengths: Sequence[int], rounds: int) -> Found:
    """Time a training step of each stage and length in every way: seconds of each round."""
    found: Found = {}
    for part in PARTS:
        for frames in lengths if part != "flow" else lengths[:1]:
            ways = {way: build(part, way, replace(size, frames=frames)).train for way in WAYS}
            found[row_of(part, frames)] = alternate(ways, rounds)
    return found


def measure_work(size: Size) -> Found:
    """Count the operations of a training step of each stage in every way.

    Returns:
        By stage: its row in the table of steps, its clips, and 10^9 operations a step by way.
    """
    found: Found = {}
    for part in PARTS:
        operations = {way: count_operations(build(part, way, size).train) for way in WAYS}
        found[part] = {"row": row_of(part, size.frames), "clips": size.batch, "operations": operations}
    return found


def measure_evaluation(size: Size, rounds: int) -> Found:
    """Time an evaluation step after stage 1: seconds of each round."""
    steps = {way: build("stage 1", way, size) for way in WAYS}
    for step in steps.values():
        step.model.eval()
    timed = alternate({way: step.evaluate for way, step in steps.items()}, rounds)
    return {f"after stage 1, {size.frames} frames": timed}


def measure_compiling(size: Size, rounds: int) -> Found:
    """Time steps as they are and compiled by torch.compile.

    Returns:
        By step: "seconds" until the first compiled step is done, and those of each round "as it is" and
        "compiled".
    """
    torch._dynamo.config.suppress_errors = True  # as with --compile
    found: Found = {}
    for part, way in _COMPILED:
        plain, compiled = build(part, way, size), build(part, way, size)
        compiled.model.compile()
        start = time.perf_counter()
        compiled.train()
        seconds = time.perf_counter() - start
        timed = alternate({"as it is": plain.train, "compiled": compiled.train}, rounds)
        found[f"{part}, {way}"] = {"seconds": seconds, **timed}
        torch._dynamo.reset()
    return found


def measure_exactness(size: Size) -> Found:
    """Compare loss and gradient of every way with the plain loop in float64, as relative errors."""
    small, found = replace(size, batch=2), Found()
    for part in PARTS:
        reference = in_double(build(part, PLAIN, small))
        loss, true = float(reference.loss().detach()), gradient(reference)
        steps = {way: build(part, way, small) for way in WAYS}
        steps[f"{KEPT} as float16"] = build(part, KEPT, small, "float16")
        found[part] = {
            name: {
                "loss": abs(float(step.loss().detach()) - loss) / loss,
                "gradient": gradient_error(gradient(step), true),
            }
            for name, step in steps.items()
        }
    return found


def measure_growth(size: Size, rounds: int) -> Found:
    """Time steps of more frames and of more clips, plain and fastest: milliseconds a step."""
    sizes = {(size.batch, frames) for frames in (size.frames, 16, 25)}
    sizes |= {(clips, size.frames) for clips in (2, 4, 16)}
    found: Found = {}
    for part in GROWTH:
        for clips, frames in sorted(sizes):
            one = replace(size, batch=clips, frames=frames)
            timed = alternate({way: build(part, way, one).train for way in (PLAIN, BF16)}, rounds)
            milliseconds = {way: 1000 * median(seconds) for way, seconds in timed.items()}
            found.setdefault(part, []).append({"clips": clips, "frames": frames, **milliseconds})
    return found


def measure_memory(size: Size, rounds: int) -> Found:
    """Measure the peak memory of each stage in every way, in new processes: see `peak_memory`."""
    found: Found = {}
    for part in tqdm(PARTS, "memory"):
        found[part] = {}
        for way in WAYS:
            peaks = []
            for _ in range(rounds):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    peaks.append(process.submit(peak_memory, part, way, size).result())
            found[part][way] = {name: median(peak[name] for peak in peaks) for name in peaks[0]}
    return found


def peak_memory(part: PartName, way: str, size: Size) -> dict[str, float]:
    """Take three training steps and return their peak memory in MiB, by two counts.

    "process" is the kernel's (Linux): with the network, Python, and what the allocator does not give back.
    "tensors" is PyTorch's, of the tensors that a step makes, which is the same every time.
    """
    set_up_numerics()
    step = build(part, way, size)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    for _ in range(3):
        step.train()
    kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kib is not None
    return {"process": int(kib[1]) / 1024, "tensors": tensor_peak(step) / 2**20}


def tensor_peak(step: Step) -> int:
    """Return the most bytes held at once by tensors that a training step makes, gradients among them."""
    step.optimizer.zero_grad(set_to_none=True)
    with profile(profile_memory=True) as profiler:
        step.train()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held: list[int] = list(accumulate(change for _, change in changes))
    return max(held)
