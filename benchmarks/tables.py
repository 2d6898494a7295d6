"""The tables and the picture of docs/performance.md, made from what was measured, and their places on a page.

A page has `<!-- NAME -->` and `<!-- end of NAME -->` around each table.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

from benchmarks.first_step import PARTS
from benchmarks.steps import BF16, KEPT, PLAIN, WAYS, speedup
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


def _of(
    name: str, header: Sequence[str], cells: Callable[[Any], Iterable[str]], key: str = "{}"
) -> Callable[[Found], str]:
    """Make the writer of a table with a row for each entry of a measurement: its key and its cells."""
    return lambda found: markdown(header, [[key.format(k), *cells(v)] for k, v in found[name].items()])


def _speed(name: str, what: str) -> Callable[[Found], str]:
    """Make the writer of a table with the plain loop's time, and the speed-up of the other ways."""
    header = [what, f"{PLAIN}, ms", *(f"{way}, times faster" for way in WAYS[1:])]
    return _of(name, header, lambda ways: [
        f"{1000 * median(ways[PLAIN]):.0f}",
        *(f"{speedup(ways[PLAIN], ways[way]):.2f}" for way in WAYS[1:]),
    ])  # fmt: skip


def _machine(found: Found) -> str:
    machine, peak = found["machine"], found["machine"]["peak"]
    return (
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}. A convolution that suits "
        f"it (256 channels, 28 x 28, channels last) runs at {peak['float32']:.0f} GFLOP/s in float32 and "
        f"{peak['bfloat16']:.0f} in bfloat16."
    )


def _work(found: Found) -> str:
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


def _decoding(found: Found) -> str:
    rows = [
        [f"{name}, {workers} workers", f"{milliseconds:.1f}"]
        for name, by_workers in found["decoding"].items()
        for workers, milliseconds in by_workers.items()
    ]
    return markdown(["frames of a clip", "ms"], rows)


def _loop(found: Found) -> str:
    """Milliseconds of a step and an epoch, and how many times the crops alone they take."""
    steps, seconds = found["loop"]["steps"], found["loop"]["seconds"]
    crops = next(iter(seconds.values()))
    rows = [
        [name, *(f"{1000 * median(way) / by:.1f}" for by in (steps, 1)), f"{1 / speedup(crops, way):.2f}"]
        for name, way in seconds.items()
    ]
    return markdown(["a network that does nothing", "ms a step", "ms an epoch", "times the crops"], rows)


def _start(found: Found) -> str:
    """Seconds of each part of the way to the first step, and of all but decoding and the step itself."""
    named, aside = PARTS[:2], PARTS[2:]
    rows = []
    for name, seconds in found["start"].items():
        apart, parts = [seconds[part] for part in aside], [seconds[part] for part in named]
        before = seconds["in all"] - sum(apart)
        values = (*parts, before - sum(parts), before, *apart)
        rows.append([name, *(f"{value:.1f}" for value in values)])
    return markdown(["a training, s", *named, "all else", "together", *aside], rows)


def _together(found: Found) -> str:
    rows = []
    for jobs, timed in found["together"].items():
        memory = "—" if timed["memory"] is None else f"{timed['memory']:.1f}"
        each = f"{timed['seconds'] / timed['trainings']:.1f}"
        rows.append([jobs, f"{timed['seconds']:.0f}", each, f"{timed['epoch']:.2f}", memory])
    header = ["trainings at a time", "s, all of them", "s for each", "s an epoch", "GPU memory of each, GiB"]
    return markdown(header, rows)


def _rows(found: Found) -> str:
    """Seconds of each training's epochs, and of everything between the command and the report."""
    timed, rows, learning = found["rows"], [], 0.0
    for name, seconds in timed["trainings"].items():
        learning += sum(seconds)
        rows.append([name, str(len(seconds)), f"{median(seconds):.2f}", f"{sum(seconds):.0f}"])
    rows.append(["starts and ends", "", "", f"{timed['grid'] - learning:.0f}"])
    rows.append(["report", "", "", f"{timed['report']:.0f}"])
    rows.append(["from command to report", "", "", f"{timed['grid'] + timed['report']:.0f}"])
    return markdown(["training", "epochs", "s an epoch", "seconds"], rows)


def _growth(found: Found) -> str:
    rows = [
        [f"{name}, by {what}", *(f"{value:.0f}" for value in fit_line(points))]
        for what in ("frames", "clips of a batch")
        for name, points in step_lines(found, what).items()
    ]
    return f"{_PICTURE}\n\n{markdown(['milliseconds of a step', 'fixed', 'for each more'], rows)}"


def _clips(found: Found) -> str:
    rows = [[name, *(f"{value:.0f}" for value in fit_line(at))] for name, at in epoch_lines(found).items()]
    return markdown(["milliseconds of an epoch", "fixed", "for each clip"], rows)


_WRITERS: dict[str, Callable[[Found], str]] = {
    "machine": _machine,
    "steps": _speed("steps", "training or evaluation step"),
    "work": _work,
    "evaluation": _speed("evaluation", "training or evaluation step"),
    "compiling": _of(
        "compiling",
        ["training step", "to compile, s", "as it is, ms", "compiled, times faster"],
        lambda step: [
            f"{step['seconds']:.0f}",
            f"{1000 * median(step['as it is']):.0f}",
            f"{speedup(step['as it is'], step['compiled']):.2f}",
        ],
    ),
    "exactness": _of(
        "exactness",
        ["relative error of the gradient (of the loss)", *WAYS, f"{KEPT} as float16"],
        lambda ways: [f"{errors['gradient']:.0e} ({errors['loss']:.0e})" for errors in ways.values()],
    ),
    "memory": _of(
        "memory",
        ["MiB of the process (of a step's tensors)", *WAYS],
        lambda ways: [f"{ways[way]['process']:.0f} ({ways[way]['tensors']:.0f})" for way in WAYS],
    ),
    "epochs": _speed("epochs", "epoch of training"),
    "decoding": _decoding,
    "loop": _loop,
    "start": _start,
    "growth": _growth,
    "clips": _clips,
    "recipes": _of(
        "recipes",
        ["recipe", "trainings", "hours in float32", "hours at the fastest", "10^15 operations"],
        lambda costs: [f"{cost:.0f}" for cost in costs.values()],
        "`{}.yaml`",
    ),
    "together": _together,
    "rows": _rows,
}
_NEEDED = {"work": ("work", "steps", "machine")}  # the others need their own measurement alone
TABLES = tuple(_WRITERS)
ON_PAGE = tuple(name for name in TABLES if name not in ("together", "rows"))  # which take a CPU days


def step_lines(found: Found, what: str) -> dict[str, dict[int, float]]:
    """Pick a step's milliseconds, plain and fastest, by "frames" or "clips of a batch", the other fixed."""
    varied, other = ("frames", "clips") if what == "frames" else ("clips", "frames")
    lines = {}
    for part, points in found["growth"].items():
        values = [point[other] for point in points]
        usual = max(values, key=values.count)
        chosen = sorted((point for point in points if point[other] == usual), key=lambda point: point[varied])
        for way in (PLAIN, BF16):
            lines[f"{part}, {way}"] = {point[varied]: point[way] for point in chosen}
    return lines


def epoch_lines(found: Found) -> dict[str, dict[int, float]]:
    """Pick the milliseconds of an epoch of stage 1 by the clips of its tree."""
    epochs = sorted((int(clips), ways) for clips, ways in found["clips"].items())
    return {
        f"stage 1, {way}": {clips: 1000 * median(ways[way]) for clips, ways in epochs}
        for way in (PLAIN, BF16)
    }


def fit_line(points: Mapping[int, float]) -> tuple[float, float]:
    """Fit a straight line to values by size: its fixed part, and the cost of each unit of size."""
    slope, start = np.polyfit(list(points), list(points.values()), 1)
    return float(start), float(slope)


def draw_growth(found: Found, path: Path) -> None:
    """Draw how time grows with frames, clips of a batch, clips of a tree and workers."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    lines = {what: step_lines(found, what) for what in ("frames", "clips of a batch")}
    lines["clips of the tree"] = epoch_lines(found) if found.get("clips") else {}
    for axis, (what, shown) in zip(axes.flat, lines.items(), strict=False):
        for name, at in shown.items():
            axis.plot(list(at), list(at.values()), "o-" if BF16 in name else "o--", label=name)
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
