"""How fast training is beside a plain frame-by-frame loop, how exact, and how its cost grows.

`python -m benchmarks.run --tree GTEA61 --write docs/performance.md` makes the tables and the picture of
docs/performance.md. Ways are timed in alternation in one process, so that what else the machine does disturbs
all alike; numbers are medians.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from pydantic import Field
from tqdm import tqdm

from benchmarks.alternate import alternate
from benchmarks.compiling import measure_compiling
from benchmarks.epochs import decoding_ways, epoch_ways
from benchmarks.pages import insert_tables, read_page
from benchmarks.peak import measure_peak_memory
from benchmarks.recipes import measure_recipes
from benchmarks.steps import (
    BF16,
    KEPT,
    PARTS,
    PLAIN,
    WAYS,
    PartName,
    Size,
    build,
    gradient,
    gradient_error,
    in_double,
)
from benchmarks.tables import TABLES, draw_growth, write_tables
from benchmarks.work import measure_peak, measure_work, row_of
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.files import read_json, write_json, write_text
from core.seeding import set_up_numerics

GROWTH: tuple[PartName, ...] = ("stage 1", "stage 2")
TableName = Literal[
    "machine",
    "steps",
    "work",
    "evaluation",
    "compiling",
    "exactness",
    "memory",
    "epochs",
    "decoding",
    "growth",
    "clips",
    "recipes",
]
Found = dict[str, Any]


class BenchmarkConfig(Config):
    """Measure training steps, epochs and memory against a plain loop."""

    tree: Path | None = None
    """Tree of clips to measure epochs and decoding on; left out, these are not measured."""
    clips: int = Field(64, ge=8)
    """So many of its clips."""
    rounds: int = Field(5, ge=1)
    """Rounds of alternation."""
    batch: int = Field(8, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips a step."""
    lengths: tuple[int, ...] = Field((7, 16), min_length=1)
    """Frames a clip."""
    tables: tuple[TableName, ...] = ()
    """Measure these alone; with --write the others stay as they are. Left out, all are measured."""
    quick: bool = False
    """A small network and one round, to see that it works; the numbers mean nothing."""
    write: Path | None = None
    """Markdown file to put the tables in, between its marks; beside it go a JSON file and a picture."""

    @property
    def size(self) -> Size:
        """The size of a step at the first length."""
        size = Size(self.batch, self.lengths[0])
        return replace(size, side=64, hidden=16, backbone="resnet18") if self.quick else size


def main(config: BenchmarkConfig) -> None:
    """Measure, print, and write if asked to."""
    page = read_page(config.write, TABLES) if config.write else ""
    set_up_numerics()
    found = _measured_before(config)
    for name in config.tables or MEASURES:
        print(f"measuring: {name}", flush=True)
        found[name] = MEASURES[name](config)
        if config.write:
            write_json(config.write.with_suffix(".json"), found)  # an hour's work is not lost to a crash
    tables = write_tables(found)
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if config.write:
        write_text(config.write, insert_tables(page, tables))
        draw_growth(found, config.write.with_suffix(".png"))


def _measured_before(config: BenchmarkConfig) -> Found:
    """Read what is to stay as it is, and refuse to mix machines.

    Raises:
        UserError: It was measured elsewhere, or it can't be read.
    """
    if not config.tables or config.write is None:
        return {}
    path = config.write.with_suffix(".json")
    found: Found = read_json(path)
    before, here = found["machine"], measure_machine(config)
    for key in ("cpu", "threads", "torch"):
        if before[key] != here[key]:
            raise UserError(
                f"{path}: measured with {key} {before[key]}, and here it is {here[key]}; measure all tables"
            )
    return found


def measure_machine(_: BenchmarkConfig) -> Found:
    """Say what is measured on, and measure how fast it convolves."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cpu": _cpu(),
        "peak": measure_peak(),
    }


def measure_steps(config: BenchmarkConfig) -> Found:
    """Time a training step of each stage and length in every way: seconds of each round."""
    found: Found = {}
    for part in PARTS:
        for frames in config.lengths if part != "flow" else config.lengths[:1]:
            steps = {way: build(part, way, replace(config.size, frames=frames)) for way in WAYS}
            timed = alternate({way: step.train for way, step in steps.items()}, config.rounds)
            found[row_of(part, frames)] = timed
    return found


def measure_evaluation(config: BenchmarkConfig) -> Found:
    """Time an evaluation step after stage 1."""
    steps = {way: build("stage 1", way, config.size) for way in WAYS}
    for step in steps.values():
        step.model.eval()
    return {
        f"after stage 1, {config.size.frames} frames": alternate(
            {way: step.evaluate for way, step in steps.items()}, config.rounds
        )
    }


def measure_exactness(config: BenchmarkConfig) -> Found:
    """Compare loss and gradient of every way with the plain loop in float64."""
    small = replace(config.size, batch=2)
    found: Found = {}
    for part in PARTS:
        reference = in_double(build(part, PLAIN, small))
        loss, true = float(reference.loss().detach()), gradient(reference)
        for way, precision in [(way, "float32") for way in WAYS] + [(KEPT, "float16")]:
            step = build(part, way, small, precision)  # type: ignore[arg-type]
            name = way if precision == "float32" else f"{way} as float16"
            errors = {
                "loss": abs(float(step.loss().detach()) - loss) / loss,
                "gradient": gradient_error(gradient(step), true),
            }
            found.setdefault(part, {})[name] = errors
    return found


def measure_memory(config: BenchmarkConfig) -> Found:
    """Measure the peak memory of each stage in every way, MiB."""
    return {
        part: {way: measure_peak_memory(part, way, config.size, min(config.rounds, 3)) for way in WAYS}
        for part in tqdm(() if config.quick else PARTS, "memory")
    }


def measure_epochs(config: BenchmarkConfig) -> Found:
    """Time epochs over the tree, with loading: seconds of each round."""
    if config.tree is None:
        return {}
    found: Found = {}
    for part in GROWTH:
        with tempfile.TemporaryDirectory(prefix="egornn-epochs-") as folder:
            ways = epoch_ways(part, config.tree, config.clips, config.size, Path(folder))
            found[part] = alternate(ways, min(config.rounds, 3))
    return found


def measure_decoding(config: BenchmarkConfig) -> Found:
    """Time passes over the tree's frames without training: milliseconds a clip, by way and workers."""
    found: Found = {}
    if config.tree is None:
        return found
    for workers in (0, 1, 2):
        with tempfile.TemporaryDirectory(prefix="egornn-frames-") as folder:
            ways = decoding_ways(config.tree, config.clips, config.size, Path(folder), workers)
            for name, seconds in alternate(ways, min(config.rounds, 3)).items():
                found.setdefault(name, {})[str(workers)] = 1000 * median(seconds) / config.clips
    return found


def measure_clips(config: BenchmarkConfig) -> Found:
    """Time epochs of stage 1 over a quarter, half and all of the clips: seconds of each round."""
    found: Found = {}
    if config.tree is None:
        return found
    for share in (4, 2, 1):
        with tempfile.TemporaryDirectory(prefix="egornn-epochs-") as folder:
            clips = config.clips // share
            ways = epoch_ways("stage 1", config.tree, clips, config.size, Path(folder), (PLAIN, BF16))
            found[str(clips)] = alternate(ways, min(config.rounds, 3))
    return found


def measure_growth(config: BenchmarkConfig) -> Found:
    """Time steps of more frames and of more clips, plain and fastest: milliseconds a step."""
    batch, frames = config.size.batch, config.size.frames
    sizes = [(batch, longer) for longer in (frames, 16, 25)] + [(clips, frames) for clips in (2, 4, 16)]
    found: Found = {}
    for part in GROWTH:
        for clips, longer in sorted(set(sizes)):
            size = replace(config.size, batch=clips, frames=longer)
            ways = {way: build(part, way, size).train for way in (PLAIN, BF16)}
            timed = alternate(ways, min(config.rounds, 3))
            milliseconds = {way: 1000 * median(seconds) for way, seconds in timed.items()}
            found.setdefault(part, []).append({"clips": clips, "frames": longer, **milliseconds})
    return found


MEASURES: dict[str, Callable[[BenchmarkConfig], Found]] = {
    "machine": measure_machine,
    "steps": measure_steps,
    "work": lambda config: measure_work(config.size),
    "evaluation": measure_evaluation,
    "compiling": lambda config: {} if config.quick else measure_compiling(config.size, config.rounds),
    "exactness": measure_exactness,
    "memory": measure_memory,
    "epochs": measure_epochs,
    "decoding": measure_decoding,
    "growth": measure_growth,
    "clips": measure_clips,
    "recipes": lambda config: measure_recipes(config.size, config.lengths, min(config.rounds, 3)),
}


def _cpu() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else "CPU"


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.run")
