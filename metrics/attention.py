"""How well attention falls on what matters: pointing game and share of attention, against blind baselines.

The baselines see no frame: uniform attention, and a Gaussian about the centre. Everything is computed on the
cells of the attention. Axes: T frames, h w cells, N clips, S pixels a side.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.errors import UserError, reason
from data.clips import Clip
from data.images import read_maps
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.sampling import Numbers
from data.transforms import Preprocessing, transform_maps
from data.tree import truth_file
from metrics.accuracy import Floats
from metrics.predictions import Predictions
from metrics.statistics import bootstrap_interval, paired_differences
from selfsup.settings import MOVING_SHARE
from selfsup.targets import binary, pool_maps

CENTRE_SIGMA = 0.25
"""Standard deviation of the centre prior, as a share of the side of what the network sees."""


class ClipAttention(NamedTuple):
    """Attention over a clip's frames, and a mask on the same cells.

    Attributes:
        heat: Attention, non-negative, summing to more than 0 over a frame's cells. Shape: (T, h, w).
        covered: Share of each cell that the mask covers, in [0, 1]. Shape: (T, h, w).
    """

    heat: Floats
    covered: Floats


def share_on_mask(heat: Floats, covered: Floats) -> Floats:
    """Share of each frame's attention that lies on the mask, spread evenly within a cell.

    Args:
        heat: As of `ClipAttention`. Shape: (T, h, w).
        covered: As of `ClipAttention`. Shape: (T, h, w).

    Returns:
        Values in [0, 1]. Shape: (T,).
    """
    shares: Floats = (heat * covered).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    return shares


def pointing_hits(heat: Floats, covered: Floats, level: float) -> Floats:
    """Pointing game (Zhang et al., ECCV 2016): whether the hottest cell of each frame is on the mask.

    Args:
        heat: As of `ClipAttention`. Shape: (T, h, w).
        covered: As of `ClipAttention`. Shape: (T, h, w).
        level: A cell is on the mask when more than this share of it is covered.

    Returns:
        1 or 0; the mean over the hottest cells where several are equally hot. Shape: (T,).
    """
    hottest = heat == heat.max(axis=(1, 2), keepdims=True)
    hits: Floats = (hottest & (covered > level)).sum(axis=(1, 2)) / hottest.sum(axis=(1, 2))
    return hits


def uniform(heat: Floats) -> Floats:
    """Equal attention everywhere, summing to 1 over a frame. Shape: as given, (T, h, w)."""
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


def measure_attention(predictions: Predictions, index: ClipIndex, inputs: ClipInput) -> dict[str, Any]:
    """Measure a run's attention on the clips of an index against every mask that is known of them.

    Args:
        predictions: Of these clips; attention is what they hold under "heat" among their details.
        index: The clips.
        inputs: What the network takes of a clip.

    Returns:
        The findings of `attention_quality` by the masks' names as of `clip_masks`; empty
        without attention, frames or masks.
    """
    frames = inputs.part(Frames)
    if "heat" not in predictions.details or frames is None:
        return {}
    clips, by_mask = dict(zip(index.keys, index.clips, strict=True)), dict[str, list[ClipAttention]]()
    for key, heat in zip(predictions.keys, predictions.details["heat"], strict=True):
        masks = clip_masks(index.root, clips[key], inputs.shown_numbers(clips[key]), frames.pixels)
        for name, mask in masks.items():
            # (T, 1, S, S) pixels to (T, h, w) shares of cells
            covered = pool_maps(binary(mask)[None], heat.shape[-1], "area")[0]
            by_mask.setdefault(name, []).append(ClipAttention(heat, covered.numpy()))
    return {name: attention_quality(pairs, MOVING_SHARE) for name, pairs in by_mask.items()}


def attention_quality(clips: Sequence[ClipAttention], level: float) -> dict[str, Any]:
    """Measure attention against a mask, with 95 % bootstrap intervals over clips, everything in per cent.

    Frames in which no cell is on the mask are not counted; a clip's score is the mean over its counted
    frames, and clips without one are left out.

    Args:
        clips: Attention and mask of each clip.
        level: A cell is on the mask when more than this share of it is covered.

    Returns:
        n_clips, n_frames and, under "pointing" and "share": "heat", "uniform" and "centre_prior", each with
        mean, low and high, then "above_uniform" and "above_centre_prior", the advantage of the attention clip
        by clip, with its p value. Only the counts when no frame is counted.
    """
    counted = [(clip, (clip.covered > level).any(axis=(1, 2))) for clip in clips]
    shown = [ClipAttention(clip.heat[there], clip.covered[there]) for clip, there in counted if there.any()]
    counts = {"n_clips": len(shown), "n_frames": sum(len(clip.heat) for clip in shown)}
    if not shown:
        return counts
    return counts | {
        "pointing": _compare(shown, lambda heat, covered: pointing_hits(heat, covered, level)),
        "share": _compare(shown, share_on_mask),
    }


def _compare(clips: Sequence[ClipAttention], measure: Callable[[Floats, Floats], Floats]) -> dict[str, Any]:
    scores = np.array(
        [[measure(source(clip.heat), clip.covered).mean() for clip in clips] for source in SOURCES.values()]
    )  # (sources, N)
    lows, highs = bootstrap_interval(scores)
    found = {
        name: {"mean": 100 * float(values.mean()), "low": 100 * float(low), "high": 100 * float(high)}
        for name, values, low, high in zip(SOURCES, scores, lows, highs, strict=True)
    }
    advantages = paired_differences([(scores[0], baseline) for baseline in scores[1:]])
    for name, above in zip(("above_uniform", "above_centre_prior"), advantages, strict=True):
        found[name] = {"points": above.points, "low": above.low, "high": above.high, "p": above.p}
    return found


def quality_lines(quality: Mapping[str, Any]) -> list[str]:
    """Say what `measure_attention` found in a line a mask."""
    return [
        f"attention on {name}: pointing {_words(found['pointing'])}; share of heat {_words(found['share'])}"
        for name, found in quality.items()
        if "pointing" in found
    ]


def _words(found: Mapping[str, Any]) -> str:
    heat, even, centre = (found[name]["mean"] for name in SOURCES)
    interval = f"{found['heat']['low']:.1f} to {found['heat']['high']:.1f}"
    return f"{heat:.1f} % ({interval}; uniform {even:.1f}, centre prior {centre:.1f})"


TRUE_MASKS = ("hand", "object", "moving")


def clip_masks(root: Path, clip: Clip, numbers: Numbers, pixels: Preprocessing) -> dict[str, Tensor]:
    """Read the masks that a clip has, through the centre crop of the test.

    Args:
        root: The tree.
        clip: One of its clips.
        numbers: Frame numbers, from 1. Shape: (T,).
        pixels: How the frames are scaled and cropped.

    Returns:
        "hand", "object" (the one acted on) and "moving" where the tree has truth, "motion_map" where the clip
        has motion maps. uint8, 0 or 255 (maps: their grey levels). Shapes: (T, 1, S, S).

    Raises:
        UserError: The truth or a map can't be read, or does not fit the frames.
    """
    masks: dict[str, Tensor] = {}
    truth = truth_file(root, clip.user, clip.action, clip.instance)
    if truth.is_file():
        for name, mask in _read_truth(truth, clip.num_frames).items():
            masks[name] = torch.from_numpy(mask[numbers - 1].astype(np.uint8) * 255)[:, None]
    if clip.maps is not None:
        masks["motion_map"] = read_maps(clip.maps, numbers.tolist())
    return {name: transform_maps(mask, pixels, None) for name, mask in masks.items()}


def _read_truth(path: Path, num_frames: int) -> dict[str, npt.NDArray[np.bool_]]:
    remedy = "render the kitchen again, or remove the file"
    try:
        with np.load(path) as truth:
            masks = {name: truth[name] for name in TRUE_MASKS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} holds no truth of the synthetic kitchen ({reason(error)}); {remedy}"
        ) from None
    if any(len(mask) != num_frames for mask in masks.values()):
        raise UserError(f"{path} does not fit its clip, which has {num_frames} frames; {remedy}")
    return masks
