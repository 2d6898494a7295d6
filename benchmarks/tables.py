"""The tables and the picture of docs/performance.md, made from what was measured, and their places on a page.

A page has `<!-- NAME -->` and `<!-- end of NAME -->` around each table.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

from benchmarks.measures import speedup
from benchmarks.steps import BF16, PLAIN, WAYS
from core.errors import UserError
from core.files import atomic_path

Found = Mapping[str, Any]
NOT_MEASURED = "Not measured."
_PICTURE = "![Time over frames, clips of a batch, clips of a tree and workers](performance.png)"


def read_page(path: Path, names: Iterable[str]) -> str:
    """Read the page that the tables go to, before minutes are spent on measuring.

    Raises:
        UserError: It is missing, or has no place for a table.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for name in names:
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if not all(mark in text for mark in marks):
            raise UserError(
                f"--write {path} has no lines {' and '.join(marks)}; put them where the table goes"
            )
    return text


def insert_tables(text: str, tables: Mapping[str, str]) -> str:
    """Put each table in its place, instead of the one that is there."""
    for name, table in tables.items():
        marks = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        before, *rest = re.split(marks, text, flags=re.DOTALL)
        assert len(rest) == 3, f"the page should have one place for the table {name}"
        text = f"{before}{rest[0]}{table}\n{rest[1]}{rest[2]}"
    return text


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text and the others numbers."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_tables(found: Found) -> dict[str, str]:
    """Write every table of the page from the measured rounds."""
    return {
        name: write(found) if all(map(found.get, _NEEDED.get(name, (name,)))) else NOT_MEASURED
        for name, write in _WRITERS.items()
    }


def machine_table(found: Found) -> str:
    """Describe the machine."""
    machine, peak = found["machine"], found["machine"]["peak"]
    return (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}. A convolution that suits "
        f"it (256 channels, 28 x 28, channels last) runs at {peak['float32']:.0f} GFLOP/s in float32 and "
        f"{peak['bfloat16']:.0f} in bfloat16."
    )


def steps_table(timed: Found, what: str = "training or evaluation step") -> str:
    """Show the plain loop's time, and the speed-up of the other ways."""
    header = [what, f"{PLAIN}, ms", *(f"{way}, times faster" for way in WAYS[1:])]
    rows = []
    for name, ways in timed.items():
        ratios = [f"{speedup(ways[PLAIN], ways[way]):.2f}" for way in WAYS[1:]]
        rows.append([name, f"{1000 * median(ways[PLAIN]):.0f}", *ratios])
    return markdown(header, rows)


def work_table(found: Found) -> str:
    """Show each way's operations, and the share of the machine's peak at which it does them."""
    peak, rows = found["machine"]["peak"], []
    for part, work in found["work"].items():
        row = [part]
        for way, operations in work["operations"].items():
            rate = operations / median(found["steps"][work["row"]][way])
            share = rate / peak["bfloat16" if way == BF16 else "float32"]
            row.append(f"{operations / work['clips']:.0f} ({100 * share:.0f} %)")
        rows.append(row)
    return markdown(["10^9 operations a clip (share of the peak)", *WAYS], rows)


def compiling_table(found: Found) -> str:
    """Show the time to compile, and the speed-up of a step afterwards."""
    rows = []
    for name, step in found["compiling"].items():
        plain, ratio = median(step["as it is"]), speedup(step["as it is"], step["compiled"])
        rows.append([name, f"{step['seconds']:.0f}", f"{1000 * plain:.0f}", f"{ratio:.2f}"])
    return markdown(["training step", "to compile, s", "as it is, ms", "compiled, times faster"], rows)


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
    """Show the time to decode frames, or to read kept ones."""
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
    return f"{_PICTURE}\n\n{markdown(['milliseconds of a step', 'fixed', 'for each more'], rows)}"


def clips_table(found: Found) -> str:
    """Show how an epoch's time grows with the clips of a tree."""
    rows = [[line.name, *(f"{value:.0f}" for value in line.fit())] for line in epoch_lines(found)]
    return markdown(["milliseconds of an epoch", "fixed", "for each clip"], rows)


def recipes_table(found: Found) -> str:
    """Show the cost of the recipes."""
    recipes = found["recipes"]
    header = ["recipe", *next(iter(recipes.values()))]
    rows = [
        [f"`{name}.yaml`", *(f"{value:.0f}" for value in costs.values())] for name, costs in recipes.items()
    ]
    return markdown(header, rows)


class Line:
    """Milliseconds at several sizes, and the straight line through them."""

    def __init__(self, name: str, points: dict[float, float]) -> None:
        """Sort the milliseconds by size."""
        self.name = name
        self.at = sorted(points)
        self.milliseconds = [points[size] for size in self.at]

    def fit(self) -> tuple[float, float]:
        """Return the fixed part, and the cost of each unit of size."""
        slope, start = np.polyfit(self.at, self.milliseconds, 1)
        return float(start), float(slope)


def step_lines(found: Found, what: str) -> Iterator[Line]:
    """Yield a step's time in the plain and in the fastest way, by "frames" or by "clips of a batch"."""
    varied, other = ("frames", "clips") if what == "frames" else ("clips", "frames")
    for part, points in found["growth"].items():
        values = [point[other] for point in points]
        usual = max(values, key=values.count)
        for way in (PLAIN, BF16):
            at = {point[varied]: point[way] for point in points if point[other] == usual}
            yield Line(f"{part}, {way}", at)


def epoch_lines(found: Found) -> Iterator[Line]:
    """Yield the time of an epoch of stage 1 by the clips of its tree."""
    for way in (PLAIN, BF16):
        at = {float(clips): 1000 * median(ways[way]) for clips, ways in found["clips"].items()}
        yield Line(f"stage 1, {way}", at)


def draw_growth(found: Found, path: Path) -> None:
    """Draw how time grows with frames, clips of a batch, clips of a tree and workers."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    lines = {what: list(step_lines(found, what)) for what in ("frames", "clips of a batch")}
    lines["clips of the tree"] = list(epoch_lines(found)) if found.get("clips") else []
    for axis, (what, shown) in zip(axes.flat, lines.items(), strict=False):
        for line in shown:
            axis.plot(line.at, line.milliseconds, "o-" if BF16 in line.name else "o--", label=line.name)
        axis.set(xlabel=what, ylabel=f"ms {'an epoch' if 'tree' in what else 'a step'}", ylim=(0, None))
    for name, by_workers in found.get("decoding", {}).items():
        axes[1][1].plot(list(by_workers), list(by_workers.values()), "o-", label=name)
    axes[1][1].set(xlabel="workers", ylabel="ms to load a clip's frames", ylim=(0, None))
    for axis in axes.flat:
        if axis.lines:
            axis.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


_WRITERS: dict[str, Callable[[Found], str]] = {
    "machine": machine_table,
    "steps": lambda found: steps_table(found["steps"]),
    "work": work_table,
    "evaluation": lambda found: steps_table(found["evaluation"]),
    "compiling": compiling_table,
    "exactness": exactness_table,
    "memory": memory_table,
    "epochs": lambda found: steps_table(found["epochs"], "epoch of training"),
    "decoding": decoding_table,
    "growth": growth_table,
    "clips": clips_table,
    "recipes": recipes_table,
}
_NEEDED = {"work": ("work", "steps", "machine")}  # the others need their own measurement alone
TABLES = tuple(_WRITERS)
