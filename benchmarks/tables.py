"""What the page on speed shows of what was measured: its tables, and the picture of how the cost grows."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

from benchmarks.alternate import speedup
from benchmarks.compiling import compiling_table
from benchmarks.marks import marks_table
from benchmarks.pages import markdown
from benchmarks.recipes import recipes_table
from benchmarks.steps import BF16, PLAIN, WAYS
from benchmarks.work import work_table
from core.files import atomic_path

Found = Mapping[str, Any]
NOT_MEASURED = "Not measured."


class Line:
    """Milliseconds at several sizes, and the straight line through them."""

    def __init__(self, name: str, points: dict[float, float]) -> None:
        """Take the milliseconds by size."""
        self.name = name
        self.at = sorted(points)
        self.milliseconds = [points[size] for size in self.at]

    def fit(self) -> tuple[float, float]:
        """Give what is fixed, and what each more costs."""
        slope, start = np.polyfit(self.at, self.milliseconds, 1)
        return float(start), float(slope)


def write_tables(found: Found) -> dict[str, str]:
    """Write every table of the page from what was measured."""
    return {
        name: write(found) if all(map(found.get, _NEEDED.get(name, (name,)))) else NOT_MEASURED
        for name, write in _WRITERS.items()
    }


def machine_table(found: Found) -> str:
    """Say what was measured on, and how fast it can be."""
    machine = found["machine"]
    peak = machine["peak"]
    return (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}. A convolution that suits "
        f"it (256 channels, 28 x 28, channels last) runs at {peak['float32']:.0f} GFLOP/s in float32 and "
        f"{peak['bfloat16']:.0f} in bfloat16."
    )


def steps_table(timed: Found, what: str = "training or evaluation step") -> str:
    """Show the time of the plain loop's step, and how many times faster the other ways are."""
    header = [what, f"{PLAIN}, ms", *(f"{way}, times faster" for way in WAYS[1:])]
    rows = []
    for name, ways in timed.items():
        ratios = [f"{speedup(ways[PLAIN], ways[way]):.2f}" for way in WAYS[1:]]
        rows.append([name, f"{1000 * median(ways[PLAIN]):.0f}", *ratios])
    return markdown(header, rows)


def exactness_table(found: Found) -> str:
    """Show relative errors of loss and gradient."""
    exact = found["exactness"]
    header = ["relative error of the gradient (of the loss)", *next(iter(exact.values()))]
    rows = [
        [part, *(f"{errors['gradient']:.0e} ({errors['loss']:.0e})" for errors in by_way.values())]
        for part, by_way in exact.items()
    ]
    return markdown(header, rows)


def memory_table(found: Found) -> str:
    """Show peak memory."""
    rows = [
        [part, *(f"{ways[way]['process']:.0f} ({ways[way]['tensors']:.0f})" for way in WAYS)]
        for part, ways in found["memory"].items()
    ]
    return markdown(["MiB of the process (of a step's tensors)", *WAYS], rows)


def decoding_table(found: Found) -> str:
    """Show decoding, and reading what was kept."""
    rows = [
        [f"{name}, {workers} workers", f"{milliseconds:.1f}"]
        for name, by_workers in found["decoding"].items()
        for workers, milliseconds in by_workers.items()
    ]
    return markdown(["frames of a clip", "ms"], rows)


def growth_table(found: Found) -> str:
    """Show how a step's time grows with frames and with the clips of a batch."""
    rows = [
        [f"{line.name}, by {what}", *(f"{value:.0f}" for value in line.fit())]
        for what in ("frames", "clips of a batch")
        for line in step_lines(found, what)
    ]
    return markdown(["milliseconds of a step", "fixed", "for each more"], rows)


def clips_table(found: Found) -> str:
    """Show how an epoch's time grows with the clips of a tree."""
    rows = [[line.name, *(f"{value:.0f}" for value in line.fit())] for line in epoch_lines(found)]
    return markdown(["milliseconds of an epoch", "fixed", "for each clip"], rows)


def step_lines(found: Found, what: str) -> Iterator[Line]:
    """Give a step's time in the plain and in the fastest way, by "frames" or by "clips of a batch"."""
    varied, other = ("frames", "clips") if what == "frames" else ("clips", "frames")
    for part, points in found["growth"].items():
        values = [point[other] for point in points]
        usual = max(values, key=values.count)
        for way in (PLAIN, BF16):
            yield Line(
                f"{part}, {way}", {point[varied]: point[way] for point in points if point[other] == usual}
            )


def epoch_lines(found: Found) -> Iterator[Line]:
    """Give the time of an epoch of stage 1 by the clips of its tree."""
    for way in (PLAIN, BF16):
        at = {float(clips): 1000 * median(ways[way]) for clips, ways in found["clips"].items()}
        yield Line(f"stage 1, {way}", at)


def draw_growth(found: Found, path: Path) -> None:
    """Draw how time grows with frames, clips of a batch, clips of a tree and workers."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axis, what in zip(axes[0], ("frames", "clips of a batch"), strict=True):
        for line in step_lines(found, what):
            axis.plot(line.at, line.milliseconds, "o-" if BF16 in line.name else "o--", label=line.name)
        axis.set(xlabel=what, ylabel="ms a step", ylim=(0, None))
    if found.get("clips"):
        for line in epoch_lines(found):
            axes[1][0].plot(line.at, line.milliseconds, "o-" if BF16 in line.name else "o--", label=line.name)
        for name, by_workers in found["decoding"].items():
            axes[1][1].plot(list(by_workers), list(by_workers.values()), "o-", label=name)
    axes[1][0].set(xlabel="clips of the tree", ylabel="ms an epoch", ylim=(0, None))
    axes[1][1].set(xlabel="workers", ylabel="ms to load a clip's frames", ylim=(0, None))
    for axis in axes.flat:
        if axis.lines:
            axis.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


_PICTURE = "![Time over frames, clips of a batch, clips of a tree and workers](performance.png)"


_WRITERS: dict[str, Callable[[Found], str]] = {
    "machine": machine_table,
    "steps": lambda found: steps_table(found["steps"]),
    "work": work_table,
    "marks": marks_table,
    "evaluation": lambda found: steps_table(found["evaluation"]),
    "compiling": compiling_table,
    "exactness": exactness_table,
    "memory": memory_table,
    "epochs": lambda found: steps_table(found["epochs"], "epoch of training"),
    "decoding": decoding_table,
    "growth": lambda found: f"{_PICTURE}\n\n{growth_table(found)}",
    "clips": clips_table,
    "recipes": lambda found: recipes_table(found["recipes"]),
}
_NEEDED = {"work": ("work", "steps", "machine"), "marks": ("steps",)}  # the others need their own
TABLES = tuple(_WRITERS)
