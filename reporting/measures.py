"""Measures besides accuracy: attention on masks, motion heads on motion maps, and cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from core.errors import UserError
from core.run_dir import read_eval
from reporting.collect import Finished, FoundTable, Row
from reporting.page import Picture, Section
from reporting.tables import Column, Interval, Number, PValue, Spread, Table, Words

_ATTENTION = {
    "pointing": (
        "Pointing: how often the hottest cell of a frame lies on the mask, compared with two baselines that "
        "see no frame: even heat, and a Gaussian about the centre. Advantages are computed clip by "
        "clip. Over several seeds, the ends of intervals are the means of the seeds' own, and p is the "
        "largest of the seeds'."
    ),
    "share": "Share: how much of a frame's attention lies on the mask. Read it like the table above.",
}


def attention_section(table: FoundTable) -> Section | None:
    """Attention compared with the baselines, and the runs where it has not been measured."""
    tables = {name: attention_table(table.shown, name) for name in _ATTENTION}
    parts = [
        Section(name.capitalize(), [_ATTENTION[name]], found, key=name)
        for name, found in tables.items()
        if found
    ]
    lacking = [run for row in table.shown for run in row.finished if lacks_attention(run)]
    note = ""
    if lacking:
        note = (
            f"{len(lacking)} runs with attention have not been measured; report.py --attention does it, and "
            f"so does: python evaluate.py --run {lacking[0].folder} --data TREE"
        )
    if not parts and not note:
        return None
    return Section("Does attention fall on what matters?", note=note, parts=parts, key="attention")


def measured_attention(run: Finished) -> Mapping[str, Any]:
    """Read what evaluate.py measured of a run's attention, by mask; empty where it has not."""
    try:
        found = read_eval(run.folder / "evaluation" / "test-last").get("attention", {})
    except UserError:
        return {}
    return {mask: quality for mask, quality in found.items() if "pointing" in quality}


def lacks_attention(run: Finished) -> bool:
    """Whether a run with attention has not been measured by evaluate.py yet."""
    unmeasured = not (run.folder / "evaluation" / "test-last" / "eval.json").exists()
    return run.settings.get("attention") == "cam" and unmeasured


class _OnMask(NamedTuple):
    """A measure of a row's attention on one mask, for each seed that has it."""

    row: Row
    mask: str
    found: list[Mapping[str, Any]]

    def values(self, source: str, key: str) -> list[float]:
        """Collect a number of one source of heat, or of its advantage, a value a seed."""
        return [one[source][key] for one in self.found]

    def ends(self, source: str) -> tuple[float, float]:
        """Average the ends of an interval over seeds."""
        return mean(self.values(source, "low")), mean(self.values(source, "high"))


def attention_table(rows: Sequence[Row], measure: str) -> Table:
    """Compare attention with the baselines that see no frame.

    Args:
        rows: Those without measured attention are left out.
        measure: "pointing" or "share".
    """
    lines = []
    for row in rows:
        found = [quality for run in row.finished if (quality := measured_attention(run))]
        for mask in dict.fromkeys(mask for quality in found for mask in quality):
            lines.append(_OnMask(row, mask, [each[mask][measure] for each in found if mask in each]))
    columns: dict[Column, Callable[[_OnMask], Any]] = {
        Words("row"): lambda line: line.row.name,
        Words("on"): lambda line: line.mask,
        Number("seeds", ".0f"): lambda line: len(line.found),
        Spread(f"{measure} %"): lambda line: line.values("heat", "mean"),
        Interval("95 % interval"): lambda line: line.ends("heat"),
        Number("even heat %"): lambda line: mean(line.values("uniform", "mean")),
        Number("centre prior %"): lambda line: mean(line.values("centre_prior", "mean")),
    }
    return Table.of(
        lines, columns | _advantage("even heat", "above_uniform") | _advantage("centre", "above_centre_prior")
    )


def _advantage(baseline: str, key: str) -> dict[Column, Callable[[_OnMask], Any]]:
    return {
        Number(f"above {baseline}, points", "+.1f"): lambda line: mean(line.values(key, "points")),
        Interval(f"above {baseline}, 95 %", "+.1f"): lambda line: line.ends(key),
        PValue(f"above {baseline}, p"): lambda line: max(line.values(key, "p")),
    }


_MOTION = (
    "Cells of the frame that move, predicted by the head on the test clips and compared with their motion "
    "maps. Average precision needs no threshold and is the measure to go by; balanced accuracy counts "
    "moving and static cells equally. The mean map predicts for every frame how often each cell moved in "
    "training; all static predicts that nothing ever moves. A head that does not beat the mean map knows "
    "where motion usually is, and nothing about the frame."
)
_MEASURES = {"average precision": "average_precision", "balanced": "balanced_accuracy", "IoU": "iou"}
_BASELINES = {"": "", ", mean map": "_mean_map", ", all static": "_all_static"}


def motion_section(table: FoundTable) -> Section | None:
    """Motion heads compared with predictors that see no frame, and folded some of their maps."""
    found = motion_table(table.shown)
    if not found:
        return None
    files = {row.name: row.finished[0].folder / "motion.png" for row in table.shown}
    pictures = [Picture(file, name) for name, file in files.items() if file.exists()]
    drawn = Section("True and predicted maps of some clips", pictures=pictures, folded=True, key="maps")
    parts = [drawn] if pictures else []
    return Section("Do motion heads know what moves?", [_MOTION], found, parts=parts, key="motion")


def motion_table(rows: Sequence[Row]) -> Table:
    """List each motion head; rows without one are left out."""
    heads = [
        (row, layer)
        for row in rows
        for layer in ("layer3", "layer4")
        if row.values(f"motion_{layer}_accuracy")
    ]
    columns: dict[Column, Callable[[tuple[Row, str]], Any]] = {
        Words("row"): lambda head: head[0].name,
        Words("head on"): lambda head: head[1],
    }
    for measure, key in _MEASURES.items():
        for baseline, ending in _BASELINES.items():
            columns[Spread(f"{measure} %{baseline}")] = partial(_motion_values, key + ending)
    return Table.of(heads, columns)


def _motion_values(measure: str, head: tuple[Row, str]) -> list[float]:
    row, layer = head
    return row.values(f"motion_{layer}_{measure}")


def cost_section(table: FoundTable) -> Section:
    """What the trainings of the rows cost."""
    text = (
        "Of each row's own training, without the trainings it starts from. Minutes are those of all epochs, "
        "with their measurements; clips a second are the median over training epochs. Memory is the most "
        "that the process held, on a GPU also the most that tensors held there. Runs that shared a machine "
        "slowed each other down."
    )
    return Section("Cost", [text], cost_table(table.shown))


def cost_table(rows: Sequence[Row]) -> Table:
    """List time, speed, memory and device of each row."""

    def minutes(run: Finished) -> float:
        return float(run.epochs["seconds"].sum()) / 60

    def speed(run: Finished) -> float:
        return float(run.epochs["clips_per_sec"][run.epochs["split"] == "train"].median())

    def peak(row: Row, key: str) -> float | None:
        return max((float(r.cost[key]) for r in row.finished if r.cost.get(key) is not None), default=None)

    return Table.of(
        rows,
        {
            Words("trained"): lambda row: row.name,
            Number("epochs", ".0f"): lambda row: max(run.epochs["epoch"].iloc[-1] for run in row.finished),
            Spread("minutes a run"): lambda row: [minutes(run) for run in row.finished],
            Spread("clips/s", ".0f"): lambda row: [speed(run) for run in row.finished],
            Number("memory, GiB"): lambda row: peak(row, "peak_memory_gib"),
            Number("GPU memory, GiB"): lambda row: peak(row, "peak_gpu_memory_gib"),
            Words("device"): lambda row: ", ".join(dict.fromkeys(map(device, row.finished))),
        },
    )


def device(run: Finished) -> str:
    """Name the device of a run; for runs that did not record it, infer it from what their machine had."""
    if "device" in run.cost:
        return str(run.cost["device"])
    gpu = run.environment.get("gpu") if run.settings.get("device") != "cpu" else None
    return str(gpu or f"CPU, {run.environment.get('threads', '?')} threads")
