"""Measures besides accuracy: attention on masks, motion heads on motion maps, and cost."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from core.run_dir import read_evaluation
from reporting.charts import Chart, Mark, Panel, dot_plot, of_seeds
from reporting.collect import Finished, FoundTable, Row
from reporting.page import Figure, Section
from reporting.tables import Table, interval, number, p_value, spread, words

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
        Section(
            name.capitalize(),
            [_ATTENTION[name]],
            found,
            chart=attention_chart(table.shown, name),
            key=name,
        )
        for name, found in tables.items()
        if found
    ]
    lacking = [run for row in table.shown for run in row.finished if lacks_attention(run)]
    note = ""
    if lacking:
        note = (
            f"Not measured yet: {', '.join(run.folder.name for run in lacking)}; report.py --attention does "
            f"it, and so does: python evaluate.py --run {lacking[0].folder} --data TREE"
        )
    if not parts and not note:
        return None
    return Section("Does attention fall on what matters?", note=note, parts=parts, key="attention")


def attention_chart(rows: Sequence[Row], measure: str) -> Chart:
    """Draw how well each row's attention falls on each mask, beside a Gaussian about the centre.

    Args:
        rows: Those without measured attention are left out.
        measure: "pointing" or "share".
    """
    measured = {row.name: list(map(measured_attention, row.finished)) for row in rows}
    measured = {name: seeds for name, seeds in measured.items() if any(seeds)}
    masks = dict.fromkeys(mask for seeds in measured.values() for seed in seeds for mask in seed)

    def mark(seeds: Sequence[Mapping[str, Any]], mask: str) -> Mark | None:
        found = [seed[mask][measure]["heat"] for seed in seeds if mask in seed]
        ends = [mean(heat[key] for heat in found) for key in ("low", "high")] if found else None
        return of_seeds([heat["mean"] for heat in found], None if ends is None else (ends[0], ends[1]))

    panels = []
    for mask in masks:
        marks = [mark(seeds, mask) for seeds in measured.values()]
        prior = mean(
            seed[mask][measure]["centre_prior"]["mean"]
            for seeds in measured.values()
            for seed in seeds
            if mask in seed
        )
        panels.append(Panel(f"on {mask.replace('_', ' ')}, %", marks, chance=prior))
    caption = (
        f"{measure.capitalize()}, with the 95 % interval over clips; small dots are the seeds. Dashed: a "
        "Gaussian about the centre, which sees no frame."
    )
    return dot_plot(list(measured), panels, caption)


def measured_attention(run: Finished) -> Mapping[str, Any]:
    """Read what evaluate.py measured of a run's attention, by mask; empty where it has not."""
    found = read_evaluation(run.folder, "test").get("attention", {})
    return {mask: quality for mask, quality in found.items() if "pointing" in quality}


def lacks_attention(run: Finished) -> bool:
    """Whether a run with attention has not been measured by evaluate.py yet."""
    return has_attention(run.settings) and not read_evaluation(run.folder, "test")


def has_attention(settings: Mapping[str, Any]) -> bool:
    """Whether the network of a run with these settings has attention that evaluate.py measures."""
    network, temporal = settings.get("network"), settings.get("temporal")
    if network is None:
        return settings.get("attention") == "cam"
    from models.temporal import HEADS  # which loads torch
    from models.video import NETWORKS

    if network not in tuple(NETWORKS) or temporal not in (None, *HEADS):
        return False  # of another version, or damaged
    return NETWORKS[network].lies_on_cells(settings)


def attention_table(rows: Sequence[Row], measure: str) -> Table:
    """Compare attention with the baselines that see no frame, a line a row and mask.

    Args:
        rows: Those without measured attention are left out.
        measure: "pointing" or "share".
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}  # of each line, a measurement a seed
    for row in rows:
        for quality in map(measured_attention, row.finished):
            for mask in quality:
                found.setdefault((row.name, mask), []).append(quality[mask][measure])

    def values(source: str, key: str) -> list[list[float]]:
        return [[one[source][key] for one in seeds] for seeds in found.values()]

    def ends(source: str) -> list[tuple[float, float]]:
        return list(zip(map(mean, values(source, "low")), map(mean, values(source, "high")), strict=True))

    advantages = [
        column
        for name, key in (("even heat", "above_uniform"), ("centre", "above_centre_prior"))
        for column in (
            number(f"above {name}, points", map(mean, values(key, "points")), "+.1f"),
            interval(f"above {name}, 95 %", ends(key), "+.1f"),
            p_value(f"above {name}, p", map(max, values(key, "p"))),
        )
    ]
    return Table.of(
        words("row", [row for row, _ in found]),
        words("on", [mask for _, mask in found]),
        number("seeds", map(len, found.values()), ".0f"),
        spread(f"{measure} %", values("heat", "mean")),
        interval("95 % interval", ends("heat")),
        number("even heat %", map(mean, values("uniform", "mean"))),
        number("centre prior %", map(mean, values("centre_prior", "mean"))),
        *advantages,
    )


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
    pictures = [Figure(file, name) for name, file in files.items() if file.exists()]
    drawn = Section("True and predicted maps of some clips", figures=pictures, folded=True, key="maps")
    parts = [drawn] if pictures else []
    return Section("Do motion heads know what moves?", [_MOTION], found, parts=parts, key="motion")


def motion_table(rows: Sequence[Row]) -> Table:
    """List each motion head; rows without one are left out."""
    layers = ("layer3", "layer4")
    heads = [(row, layer) for row in rows for layer in layers if row.values(f"motion_{layer}_accuracy")]
    return Table.of(
        words("row", [row.name for row, _ in heads]),
        words("head on", [layer for _, layer in heads]),
        *(
            spread(
                f"{measure} %{baseline}", [row.values(f"motion_{layer}_{key}{end}") for row, layer in heads]
            )
            for measure, key in _MEASURES.items()
            for baseline, end in _BASELINES.items()
        ),
    )


def cost_section(table: FoundTable) -> Section:
    """What the trainings of the rows cost."""
    text = (
        "Of each row's own training, without the trainings it starts from. Minutes are those of all epochs, "
        "with their measurements; items a second are the median over training epochs, an item being a clip, "
        "or a picture where single frames are learned. GMAC are 10^9 multiplications with their additions in "
        "a forward pass over what the network sees at a time: the frames of a clip or of one view, or one "
        "stack of flow, of which a test may average several. Memory is the most that the process held, on a "
        "GPU also the most that tensors held there. Runs that shared a machine slowed each other down."
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

    def millions(row: Row) -> float | None:
        count = peak(row, "parameters")
        return None if count is None else count / 1e6

    return Table.of(
        words("trained", [row.name for row in rows]),
        number("epochs", [max(run.epochs["epoch"].iloc[-1] for run in row.finished) for row in rows], ".0f"),
        spread("minutes a run", [list(map(minutes, row.finished)) for row in rows]),
        spread("items/s", [list(map(speed, row.finished)) for row in rows], ".0f"),
        number("parameters, 10^6", [millions(row) for row in rows]),
        number("GMAC a pass", [peak(row, "gmac") for row in rows], ".2f"),
        number("memory, GiB", [peak(row, "peak_memory_gib") for row in rows]),
        number("GPU memory, GiB", [peak(row, "peak_gpu_memory_gib") for row in rows]),
        words("device", [", ".join(dict.fromkeys(map(device, row.finished))) for row in rows]),
    )


def device(run: Finished) -> str:
    """Name the device of a run; for runs that did not record it, infer it from what their machine had."""
    if "device" in run.cost:
        return str(run.cost["device"])
    gpu = run.environment.get("gpu") if run.settings.get("device") != "cpu" else None
    return str(gpu or f"CPU, {run.environment.get('threads', '?')} threads")
