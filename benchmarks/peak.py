"""Peak memory of one way to train a stage, in a process of its own.

`python -m benchmarks.peak --part "stage 1" --way "frame by frame"` prints MiB twice. Of the process, by the
kernel's count (Linux): with the network, Python, and what the allocator does not give back. And of the
tensors that a step makes, by PyTorch's count, which is the same every time.
"""

import json
import re
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from statistics import median

from torch.profiler import profile

from benchmarks.steps import PartName, Size, Step, build
from core.cli import run
from core.config import Config
from core.seeding import set_up_numerics


class PeakConfig(Config):
    """Print the peak memory of three training steps in MiB."""

    part: PartName
    """The stage."""
    way: str
    """How it is trained."""
    batch: int = 8
    """Clips."""
    frames: int = 7
    """Frames a clip."""
    side: int = 224
    """Pixels a side."""


def measure_peak_memory(part: PartName, way: str, size: Size, rounds: int) -> dict[str, float]:
    """Measure in new processes: MiB of the "process", the median of some rounds, and of "tensors"."""
    words = {
        "part": part,
        "way": way,
        "batch": size.batch,
        "frames": size.frames,
        "side": size.side,
    }
    flags = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.peak", *flags]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    ]
    return {name: median(round[name] for round in found) for name in found[0]}


def main(config: PeakConfig) -> None:
    """Measure and print."""
    set_up_numerics()
    step = build(config.part, config.way, Size(config.batch, config.frames, config.side))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    for _ in range(3):
        step.train()
    kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kib is not None
    print(json.dumps({"process": int(kib[1]) / 1024, "tensors": tensor_peak(step) / 2**20}))


def tensor_peak(step: Step) -> int:
    """Give the most bytes that the tensors made by a training step hold together, gradients among them."""
    step.optimizer.zero_grad(set_to_none=True)
    with profile(profile_memory=True) as profiler:
        step.train()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held: list[int] = list(accumulate(change for _, change in changes))
    return max(held)


if __name__ == "__main__":
    run(main, PeakConfig, prog="python -m benchmarks.peak")
