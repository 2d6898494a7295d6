"""How fast training is beside a plain frame-by-frame loop, how exact, and how its cost grows.

`python -m benchmarks.run --tree GTEA61 --write docs/performance.md` makes the tables and the picture of
docs/performance.md. Ways are timed in alternation in one process, so that what else the machine does disturbs
all alike; numbers are medians.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np
import torch
from pydantic import Field
from tqdm import tqdm

from benchmarks.alternate import alternate, speedup
from benchmarks.epochs import decoding_ways, epoch_ways
from benchmarks.marks import marks_table
from benchmarks.pages import insert_tables, markdown, read_page
from benchmarks.peak import peak_mib
from benchmarks.recipes import measure_recipes, recipes_table
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
from benchmarks.work import measure_peak, measure_work, work_table
from engine.cli import run
from engine.config import Config
from engine.files import atomic_path, write_json, write_text
from engine.seeding import set_up_numerics

TABLES = (
    "machine",
    "steps",
    "work",
    "marks",
    "evaluation",
    "exactness",
    "memory",
    "epochs",
    "decoding",
    "growth",
    "recipes",
)
_NO_TREE = "Not measured: no --tree was given."
GROWTH: tuple[PartName, ...] = ("stage 1", "stage 2")


class BenchmarkConfig(Config):
    """Measure training steps, epochs and memory against a plain loop."""

    tree: Path | None = None
    """Tree of clips to measure epochs and decoding on; left out, these are not measured."""
    clips: int = Field(64, ge=8)
    """So many of its clips."""
    rounds: int = Field(5, ge=1)
    """Rounds of alternation."""
    batch: int = Field(8, ge=1)
    """Clips a step."""
    lengths: tuple[int, ...] = Field((7, 16), min_length=1)
    """Frames a clip."""
    quick: bool = False
    """A small network and one round, to see that it works; the numbers mean nothing."""
    write: Path | None = None
    """Markdown file to put the tables in, between its marks; beside it go a JSON file and a picture."""

    @property
    def size(self) -> Size:
        """The size of a step at the first length."""
        size = Size(self.batch, self.lengths[0])
        return replace(size, side=64, hidden=16, backbone="resnet18") if self.quick else size


Found = dict[str, Any]


def main(config: BenchmarkConfig) -> None:
    """Measure, print, and write if asked to."""
    page = read_page(config.write, TABLES) if config.write else ""
    set_up_numerics()
    peak, steps = measure_peak(), measure_steps(config)
    found: Found = {
        "machine": {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "cpu": _cpu(),
            "peak": peak,
        },
        "steps": steps,
        "work": measure_work(config.size, peak, _clip_times(config, steps)),
        "evaluation": measure_evaluation(config),
        "exactness": measure_exactness(config),
        "memory": {} if config.quick else measure_memory(config),
        "epochs": measure_epochs(config),
        "decoding": measure_decoding(config),
        "growth": measure_growth(config),
        "recipes": measure_recipes(config.size, config.lengths, min(config.rounds, 3)),
    }
    tables = write_tables(found)
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if config.write:
        picture = config.write.with_suffix(".png")
        tables["growth"] = (
            f"![Time of a step over frames and over clips]({picture.name})\n\n{tables['growth']}"
        )
        write_text(config.write, insert_tables(page, tables))
        write_json(config.write.with_suffix(".json"), found)
        draw_growth(found["growth"], picture)


def measure_steps(config: BenchmarkConfig) -> Found:
    """Time a training step of each stage and length in every way: seconds of each round."""
    found: Found = {}
    for part in PARTS:
        for frames in config.lengths if part != "flow" else config.lengths[:1]:
            steps = {way: build(part, way, replace(config.size, frames=frames)) for way in WAYS}
            timed = alternate({way: step.train for way, step in steps.items()}, config.rounds)
            found[part if part == "flow" else f"{part}, {frames} frames"] = timed
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
    return {part: {way: peak_mib(part, way, config.size) for way in WAYS} for part in tqdm(PARTS, "memory")}


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
    """Time passes over the tree's frames without training: milliseconds a clip."""
    if config.tree is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="egornn-frames-") as folder:
        ways = decoding_ways(config.tree, config.clips, config.size, Path(folder), (0, 1, 2))
        timed = alternate(ways, min(config.rounds, 3))
    return {name: 1000 * median(seconds) / config.clips for name, seconds in timed.items()}


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


def machine_table(found: Found) -> str:
    """Say what was measured on, and how fast it can be."""
    return (
        f"{found['cpu']}, {found['threads']} threads, torch {found['torch']}. A convolution that suits it "
        "(256 channels, 28 x 28, channels last) runs at "
        f"{found['peak']['float32']:.0f} GFLOP/s in float32 and {found['peak']['bfloat16']:.0f} in bfloat16."
    )


def _clip_times(config: BenchmarkConfig, steps: Found) -> dict[str, dict[str, float]]:
    """Milliseconds a clip of each stage's training step at the first length, by way."""
    return {
        part: {
            way: 1000 * median(seconds) / config.batch
            for way, seconds in steps[
                part if part == "flow" else f"{part}, {config.size.frames} frames"
            ].items()
        }
        for part in PARTS
    }


def steps_table(found: Found) -> str:
    """Show the time of the plain loop's step, and how many times faster the other ways are."""
    header = ["training or evaluation step", f"{PLAIN}, ms", *(f"{way}, times faster" for way in WAYS[1:])]
    rows = []
    for name, timed in found.items():
        ratios = [f"{speedup(timed[PLAIN], timed[way]):.2f}" for way in WAYS[1:]]
        rows.append([name, f"{1000 * median(timed[PLAIN]):.0f}", *ratios])
    return markdown(header, rows)


def exactness_table(found: Found) -> str:
    """Show relative errors of loss and gradient."""
    ways = next(iter(found.values()))
    header = ["relative error of the gradient (of the loss)", *ways]
    rows = [
        [part, *(f"{errors['gradient']:.0e} ({errors['loss']:.0e})" for errors in by_way.values())]
        for part, by_way in found.items()
    ]
    return markdown(header, rows)


def memory_table(found: Found) -> str:
    """Show peak memory."""
    if not found:
        return "Not measured."
    return markdown(
        ["peak memory, MiB", *WAYS],
        [[part, *(f"{ways[way]:.0f}" for way in WAYS)] for part, ways in found.items()],
    )


def epochs_table(found: Found) -> str:
    """Show epochs with loading."""
    return (
        steps_table(found).replace("step |", "epoch |", 1) if found else "Not measured: no --tree was given."
    )


def decoding_table(found: Found) -> str:
    """Show decoding and reading what was kept."""
    if not found:
        return _NO_TREE
    return markdown(["frames of a clip", "ms"], [[name, f"{ms:.1f}"] for name, ms in found.items()])


def growth_table(found: Found) -> str:
    """Show how a step's time grows with frames: fits a + b T, and with clips."""
    rows = []
    for part, points in found.items():
        for what in ("frames", "clips"):
            for way in (PLAIN, BF16):
                at, ms = _line(points, what, way)
                slope, start = np.polyfit(at, ms, 1)
                rows.append([f"{part}, {way}, by {what}", f"{start:.0f}", f"{slope:.0f}"])
    return markdown(["milliseconds of a step", "fixed", "for each more"], rows)


WRITERS = {
    "machine": machine_table,
    "steps": steps_table,
    "work": work_table,
    "evaluation": steps_table,
    "exactness": exactness_table,
    "memory": memory_table,
    "epochs": epochs_table,
    "decoding": decoding_table,
    "growth": growth_table,
    "recipes": recipes_table,
}


def write_tables(found: Found) -> dict[str, str]:
    """Write every table of the page from what was measured."""
    return {name: write(found[name]) for name, write in WRITERS.items()} | {"marks": marks_table(found)}


def draw_growth(found: Found, path: Path) -> None:
    """Draw the time of a step over frames and over clips."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for axis, what in zip(axes, ("frames", "clips"), strict=True):
        for part, points in found.items():
            for way, style in ((PLAIN, "o--"), (BF16, "o-")):
                at, ms = _line(points, what, way)
                axis.plot(at, ms, style, label=f"{part}, {way}")
        axis.set(xlabel=what, ylabel="ms a step", ylim=(0, None))
    axes[0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def _line(points: Sequence[Found], what: str, way: str) -> tuple[list[int], list[float]]:
    """Give the points that differ from the smallest in `what` alone."""
    other = "clips" if what == "frames" else "frames"
    fixed = points[0][other] if what == "clips" else _shared(points, other)
    chosen = sorted((point[what], point[way]) for point in points if point[other] == fixed)
    return [at for at, _ in chosen], [ms for _, ms in chosen]


def _shared(points: Sequence[Found], key: str) -> int:
    values = [int(point[key]) for point in points]
    return max(values, key=values.count)


def _cpu() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else "CPU"


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.run")
