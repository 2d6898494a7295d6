"""What each row took: time, speed, memory, device."""

from collections.abc import Sequence
from statistics import median

from reporting.collect import Finished, Row
from reporting.table import Cell, Table, number, spread, without_gaps, words

HOW_TO_READ = (
    "Of each row's own training, without the trainings it starts from. Minutes are those of all epochs, "
    "measuring included; clips a second those of a training epoch, the median. Memory is the most that the "
    "process held, on a GPU also the most that tensors held there. Runs that shared a machine slowed each "
    "other."
)
_HEADER = ("trained", "epochs", "minutes a run", "clips/s", "memory, GiB", "GPU memory, GiB", "device")


def cost_table(rows: Sequence[Row]) -> Table:
    """Give one line a row; columns that nothing is known of are left out."""
    return without_gaps(Table(_HEADER, [_line(row) for row in rows]))


def _line(row: Row) -> list[Cell]:
    runs = row.finished
    seconds = [sum(epoch["seconds"] for epoch in run.epochs) for run in runs]
    speeds = [median(e["clips_per_sec"] for e in run.epochs if e["split"] == "train") for run in runs]
    return [
        words(row.name),
        number(max(run.epochs[-1]["epoch"] for run in runs), ".0f"),
        spread([value / 60 for value in seconds]),
        spread(speeds, ".0f"),
        *(_peak(runs, key) for key in ("peak_memory_gib", "peak_gpu_memory_gib")),
        words(", ".join(dict.fromkeys(map(device, runs)))),
    ]


def _peak(runs: Sequence[Finished], key: str) -> Cell:
    return number(max((float(run.cost[key]) for run in runs if run.cost.get(key) is not None), default=None))


def device(run: Finished) -> str:
    """Name what a run was computed on; runs that did not record it are known by what their machine had."""
    if "device" in run.cost:
        return str(run.cost["device"])
    gpu = run.environment.get("gpu") if run.settings.get("device") != "cpu" else None
    return str(gpu or f"CPU, {run.environment.get('threads', '?')} threads")
