"""How well heat falls on what matters: pointing game and share of heat, beside heat that sees no frame.

Everything is computed on the cells of the heat. Axes: T frames, h w cells, N clips.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from metrics.accuracy import Floats
from metrics.bootstrap import bootstrap_interval
from metrics.paired import paired_difference

CENTRE_SIGMA = 0.25
"""Standard deviation of the centre prior, as a share of the side of what the network sees."""


class Seen(NamedTuple):
    """A clip's heat and a mask on the same cells.

    Attributes:
        heat: Non-negative, summing to more than 0 over a frame's cells. Shape: (T, h, w).
        covered: Share of each cell that the mask covers, in [0, 1]. Shape: (T, h, w).
    """

    heat: Floats
    covered: Floats


def share_on_mask(heat: Floats, covered: Floats) -> Floats:
    """Share of each frame's heat that lies on the mask, a cell's heat being spread evenly over the cell.

    Args:
        heat: As of `Seen`. Shape: (T, h, w).
        covered: As of `Seen`. Shape: (T, h, w).

    Returns:
        Values in [0, 1]. Shape: (T,).
    """
    shares: Floats = (heat * covered).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    return shares


def pointing_hits(heat: Floats, covered: Floats, level: float) -> Floats:
    """Pointing game (Zhang et al., ECCV 2016): whether the hottest cell of each frame is on the mask.

    Args:
        heat: As of `Seen`. Shape: (T, h, w).
        covered: As of `Seen`. Shape: (T, h, w).
        level: A cell is on the mask when more than this share of it is covered.

    Returns:
        1 or 0, and between them the mean over cells that are equally hot. Shape: (T,).
    """
    hottest = heat == heat.max(axis=(1, 2), keepdims=True)
    hits: Floats = (hottest & (covered > level)).sum(axis=(1, 2)) / hottest.sum(axis=(1, 2))
    return hits


def uniform(heat: Floats) -> Floats:
    """Heat that is the same everywhere, summing to 1 over a frame. Shape: as given, (T, h, w)."""
    return np.full(heat.shape, 1 / np.prod(heat.shape[1:]))


def centre_prior(heat: Floats) -> Floats:
    """A Gaussian about the centre, summing to 1 over a frame. Shape: as given, (T, h, w)."""
    y, x = ((2 * np.arange(size) + 1 - size) / (2 * size) for size in heat.shape[1:])
    falloff = np.exp(-(y[:, None] ** 2 + x**2) / (2 * CENTRE_SIGMA**2))
    return np.broadcast_to(falloff / falloff.sum(), heat.shape)


SOURCES: dict[str, Callable[[Floats], Floats]] = {
    "heat": lambda heat: heat,
    "uniform": uniform,
    "centre_prior": centre_prior,
}


def attention_quality(clips: Sequence[Seen], level: float) -> dict[str, Any]:
    """Measure heat against a mask, with 95 % bootstrap intervals over clips, everything in per cent.

    Counted are frames in which some cell is on the mask; a clip's score is the mean over its frames, and
    clips without such a frame are left out.

    Args:
        clips: Heat and mask of each clip.
        level: A cell is on the mask when more than this share of it is covered.

    Returns:
        n_clips, n_frames and, under "pointing" and "share": "heat", "uniform" and "centre_prior", each with
        mean, low and high, then "above_uniform" and "above_centre_prior", the heat's clip by clip advantage
        with its p value. Nothing but the counts when no frame is counted.
    """
    counted = [(seen, (seen.covered > level).any(axis=(1, 2))) for seen in clips]
    shown = [Seen(seen.heat[there], seen.covered[there]) for seen, there in counted if there.any()]
    counts = {"n_clips": len(shown), "n_frames": sum(len(seen.heat) for seen in shown)}
    if not shown:
        return counts
    return counts | {
        "pointing": _compared(shown, lambda heat, covered: pointing_hits(heat, covered, level)),
        "share": _compared(shown, share_on_mask),
    }


def _compared(clips: Sequence[Seen], measure: Callable[[Floats, Floats], Floats]) -> dict[str, Any]:
    scores = {
        name: np.array([measure(source(seen.heat), seen.covered).mean() for seen in clips])
        for name, source in SOURCES.items()
    }
    found: dict[str, Any] = {}
    for name, values in scores.items():
        low, high = bootstrap_interval(values)
        found[name] = {"mean": 100 * float(values.mean()), "low": 100 * low, "high": 100 * high}
    for name in ("uniform", "centre_prior"):
        above = paired_difference(scores["heat"], scores[name])
        found[f"above_{name}"] = {"points": above.points, "low": above.low, "high": above.high, "p": above.p}
    return found


def quality_lines(quality: dict[str, Any]) -> list[str]:
    """Say in a line a mask what `attention_quality` found, masks by name."""
    return [
        f"attention on {name}: pointing {_said(found['pointing'])}; share of heat {_said(found['share'])}"
        for name, found in quality.items()
        if "pointing" in found
    ]


def _said(found: dict[str, Any]) -> str:
    heat, even, centre = (found[name]["mean"] for name in SOURCES)
    interval = f"{found['heat']['low']:.1f} to {found['heat']['high']:.1f}"
    return f"{heat:.1f} % ({interval}; uniform {even:.1f}, centre prior {centre:.1f})"
