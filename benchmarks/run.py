"""How fast training is compared with a plain frame-by-frame loop, how exact, and how its cost grows.

`python -m benchmarks.run --tree RENDERED --write docs/performance.md` makes the tables and the picture of
docs/performance.md. Numbers are medians over rounds. Steps on random clips are measured here, epochs over the
files of a tree in `benchmarks.epochs`.
"""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.profiler import profile
from torch.utils.benchmark import Timer
from tqdm import tqdm

from benchmarks.commands import measure_rows, measure_start, measure_together
from benchmarks.epochs import measure_clips, measure_decoding, measure_epochs, measure_recipes
from benchmarks.loop import measure_loop
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
    alternate,
    build,
    build_ways,
    count_operations,
    gradient,
    gradient_error,
    in_double,
)
from benchmarks.tables import ON_PAGE, draw_growth, insert_tables, read_page, write_tables
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.files import read_json, write_json, write_text
from core.seeding import choose_device, set_up_numerics

TableName = Literal[
    "machine", "steps", "work", "evaluation", "compiling", "exactness",
    "memory", "epochs", "decoding", "loop", "start", "growth", "clips", "recipes", "together", "rows",
]  # fmt: skip
Found = dict[str, Any]
ON_GPU: tuple[TableName, ...] = ("steps", "evaluation", "loop", "start", "together", "rows")
"""Tables that --device cuda measures."""


class BenchmarkConfig(Config):
    """Measure training steps, epochs and memory in comparison with a plain loop."""

    tree: Path | None = None
    """Tree of clips to measure epochs and decoding on; without one these are not measured."""
    clips: int = Field(64, ge=8)
    """Number of its clips to use."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute; the page of --write holds a CPU's tables, and a GPU's are printed: steps, evaluation,
    loop, start, together, rows."""
    rounds: int = Field(5, ge=1)
    """Rounds of alternation."""
    batch: int = Field(8, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips a step."""
    lengths: tuple[int, ...] = Field((7, 16), min_length=1)
    """Frames a clip."""
    tables: tuple[TableName, ...] = ()
    """Measure only these (all); with --write the others stay as they are."""
    quick: bool = False
    """A small network and one round, to see that everything works; the numbers mean nothing."""
    write: Path | None = None
    """Markdown file that has places for the tables; a JSON file and a picture are written next to it."""

    @property
    def size(self) -> Size:
        """The size of a step at the first length."""
        size = Size(self.batch, self.lengths[0], device=self.device)
        return replace(size, side=64, hidden=16, backbone="resnet18") if self.quick else size

    @model_validator(mode="after")
    def _tables_of_the_device(self) -> Self:
        if self.device == "cuda" and (others := sorted({*self.tables} - {*ON_GPU})):
            raise ValueError(
                f"--tables {' '.join(others)}: on a GPU these are not measured, {', '.join(ON_GPU)} are"
            )
        if self.device == "cpu" and not self.quick and (days := sorted({*self.tables} - {*ON_PAGE})):
            raise ValueError(f"--tables {' '.join(days)}: a CPU takes days; add --device cuda or --quick")
        if self.device == "cuda" and self.write is not None:
            raise ValueError("--write takes the page of a CPU's tables; a GPU's are printed")
        return self

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return min(self.rounds, 3)


def main(config: BenchmarkConfig) -> None:
    """Measure and print the tables, and write them to the page of --write.

    Raises:
        UserError: The page has no place for a table, or what was measured before can't be read or comes from
            another machine.
    """
    page = read_page(config.write, ON_PAGE) if config.write else ""
    if choose_device(config.device).type == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    set_up_numerics()
    found: Found = {}
    if config.write and config.tables:
        found = read_json(path := config.write.with_suffix(".json"))
        before, here = found["machine"], MEASURES["machine"](config)
        for key in ("cpu", "threads", "torch"):
            if before[key] != here[key]:
                was, now = f"measured with {key} {before[key]}", f"here it is {here[key]}"
                raise UserError(f"{path}: {was}, and {now}; measure all tables")
    for name in config.tables or (ON_GPU if config.device == "cuda" else ON_PAGE):
        print(f"measuring: {name}", flush=True)
        found[name] = MEASURES[name](config)
        if config.write:
            write_json(config.write.with_suffix(".json"), found)  # an hour's work is not lost to a crash
    tables = write_tables(found)
    for name in config.tables or tables:
        print(f"\n{name}\n{tables[name]}")
    if config.write:
        write_text(config.write, insert_tables(page, {name: tables[name] for name in ON_PAGE}))
        draw_growth(found, config.write.with_suffix(".png"))


def measure_machine() -> Found:
    """Describe the machine, and time a convolution that suits it: 10^9 operations a second, its peak."""
    channels, side, batch = 256, 28, 8
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    maps = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    operations = 2 * 9 * channels**2 * side**2 * batch
    peak = {}
    with torch.inference_mode():
        for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            inputs = {"layer": convolution.to(kind), "maps": maps.to(kind)}
            timer = Timer("layer(maps)", globals=inputs, num_threads=torch.get_num_threads())
            peak[name] = operations / timer.blocked_autorange(min_run_time=0.5).median / 1e9
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    cpu = names[0] if names else "CPU"
    return {"threads": torch.get_num_threads(), "torch": torch.__version__, "cpu": cpu, "peak": peak}


def row_of(part: PartName, frames: int) -> str:
    """Name a training step as the table of steps does."""
    return part if part == "flow" else f"{part}, {frames} frames"


def measure_steps(size: Size, lengths: Sequence[int], rounds: int) -> Found:
    """Time a training step of each stage and length in every way: seconds of each round."""
    found: Found = {}
    for part in PARTS:
        for frames in lengths if part != "flow" else lengths[:1]:
            steps = build_ways(part, replace(size, frames=frames))
            found[row_of(part, frames)] = alternate({way: step.train for way, step in steps.items()}, rounds)
    return found


def measure_work(size: Size) -> Found:
    """Count the operations of a training step of each stage in every way.

    Returns:
        By stage: its row in the table of steps, its clips, and 10^9 operations a step by way.
    """
    found: Found = {}
    for part in PARTS:
        operations = {way: count_operations(step.train) for way, step in build_ways(part, size).items()}
        found[part] = {"row": row_of(part, size.frames), "clips": size.batch, "operations": operations}
    return found


def measure_evaluation(size: Size, rounds: int) -> Found:
    """Time an evaluation step after stage 1: seconds of each round."""
    steps = build_ways("stage 1", size)
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
    steps: list[tuple[PartName, str]] = [("stage 1", EXACT), ("stage 1", BF16)]
    steps += [("stage 2", EXACT), ("stage 2", BF16), ("flow", BF16)]
    found: Found = {}
    for part, way in steps:
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
        steps = build_ways(part, small)
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
    parts: tuple[PartName, ...] = ("stage 1", "stage 2")
    found: Found = {part: [] for part in parts}
    for part in parts:
        for clips, frames in sorted(sizes):
            one = replace(size, batch=clips, frames=frames)
            timed = alternate({way: build(part, way, one).train for way in (PLAIN, BF16)}, rounds)
            milliseconds = {way: 1000 * median(seconds) for way, seconds in timed.items()}
            found[part].append({"clips": clips, "frames": frames, **milliseconds})
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
    return int(max(accumulate(change for _, change in changes)))


def _on_tree(measure: Callable[..., Found]) -> Callable[[BenchmarkConfig], Found]:
    """Measure on the clips of --tree; nothing without one."""
    return lambda config: measure(config.tree, config.clips, config.size, config.few) if config.tree else {}


MEASURES: dict[str, Callable[[BenchmarkConfig], Found]] = {
    "machine": lambda config: measure_machine(),
    "steps": lambda config: measure_steps(config.size, config.lengths, config.rounds),
    "work": lambda config: measure_work(config.size),
    "evaluation": lambda config: measure_evaluation(config.size, config.rounds),
    "compiling": lambda config: {} if config.quick else measure_compiling(config.size, config.rounds),
    "exactness": lambda config: measure_exactness(config.size),
    "memory": lambda config: {} if config.quick else measure_memory(config.size, config.few),
    "epochs": _on_tree(measure_epochs),
    "decoding": _on_tree(measure_decoding),
    "loop": _on_tree(measure_loop),
    "start": lambda config: measure_start(config.tree, config.size) if config.tree else {},
    "growth": lambda config: measure_growth(config.size, config.few),
    "clips": _on_tree(measure_clips),
    "recipes": lambda config: measure_recipes(config.size, config.lengths, config.few),
    "together": lambda config: (
        measure_together(config.tree, config.size, *((2, 2, (1, 2)) if config.quick else (50,)))
        if config.tree
        else {}
    ),
    "rows": lambda config: (
        measure_rows(config.tree, config.size, 1 if config.quick else None) if config.tree else {}
    ),
}


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.run")
