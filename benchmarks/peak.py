"""Peak memory of one way to train a stage, in a process of its own.

`python -m benchmarks.peak --part "stage 1" --way "frame by frame"` prints MiB. Linux: the peak is counted
from when the network is built and its first batch is there.
"""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.steps import PartName, Size, build
from engine.cli import run
from engine.config import Config
from engine.seeding import set_up_numerics


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


def peak_mib(part: PartName, way: str, size: Size) -> float:
    """Measure in a new process."""
    words = (
        "--part",
        part,
        "--way",
        way,
        "--batch",
        size.batch,
        "--frames",
        size.frames,
        "--side",
        size.side,
    )
    command = [sys.executable, "-m", "benchmarks.peak", *map(str, words)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(config: PeakConfig) -> None:
    """Measure and print."""
    set_up_numerics()
    step = build(config.part, config.way, Size(config.batch, config.frames, config.side))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    for _ in range(3):
        step.train()
    kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kib is not None
    print(f"{int(kib[1]) / 1024:.0f}")


if __name__ == "__main__":
    run(main, PeakConfig, prog="python -m benchmarks.peak")
