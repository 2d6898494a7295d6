"""How well attention falls on what matters, over the seeds of each row, from what evaluate.py measured."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from core.errors import UserError
from core.run_dir import read_eval
from reporting.collect import Finished, Row
from reporting.table import Cell, Table, interval, number, p_value, spread, words

HOW_TO_READ = {
    "pointing": (
        "Pointing: how often the hottest cell of a frame lies on the mask. Beside it stand two rivals that "
        "see no frame: even heat, and a Gaussian about the centre. Advantages are clip by clip. Over several "
        "seeds, the intervals' ends are the means of the seeds' own, and p is the largest of the seeds'."
    ),
    "share": "Share: how much of a frame's heat lies on the mask. To be read as the table above.",
}


def measured_attention(run: Finished) -> Mapping[str, Any]:
    """Give what evaluate.py measured of a run's attention, by mask; empty without any."""
    try:
        found = read_eval(run.folder / "evaluation" / "test-last").get("attention", {})
    except UserError:
        return {}
    return {mask: quality for mask, quality in found.items() if "pointing" in quality}


def lacks_attention(run: Finished) -> bool:
    """Whether a run with attention has not been measured by evaluate.py yet."""
    unmeasured = not (run.folder / "evaluation" / "test-last" / "eval.json").exists()
    return run.settings.get("attention") == "cam" and unmeasured


def attention_table(rows: Sequence[Row], measure: str) -> Table:
    """Set heat beside its rivals.

    Args:
        rows: Those without measured attention are left out.
        measure: "pointing" or "share".
    """
    header = ["row", "on", "seeds", f"{measure} %", "95 % interval", "even heat %", "centre prior %"]
    header += [
        f"above {rival}, {what}" for rival in ("even heat", "centre") for what in ("points", "95 %", "p")
    ]
    lines = []
    for row in rows:
        found = [quality for run in row.finished if (quality := measured_attention(run))]
        masks = dict.fromkeys(mask for quality in found for mask in quality)
        for mask in masks:
            lines.append(
                [words(row.name), words(mask), *_cells([q[mask][measure] for q in found if mask in q])]
            )
    return Table(header, lines)


def _cells(found: Sequence[Mapping[str, Any]]) -> list[Cell]:
    heat = [quality["heat"] for quality in found]
    cells = [number(len(found), ".0f"), spread([one["mean"] for one in heat]), _ends(heat)]
    cells += [
        number(mean(quality[rival]["mean"] for quality in found)) for rival in ("uniform", "centre_prior")
    ]
    for rival in ("above_uniform", "above_centre_prior"):
        above = [quality[rival] for quality in found]
        points = number(mean(one["points"] for one in above), "+.1f")
        cells += [points, _ends(above, "+.1f"), p_value(max(one["p"] for one in above))]
    return cells


def _ends(found: Sequence[Mapping[str, float]], spec: str = ".1f") -> Cell:
    return interval(mean(one["low"] for one in found), mean(one["high"] for one in found), spec)
