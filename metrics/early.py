"""Early recognition: how well a clip is known after a share of it, read along the frames that a run sees.

Of T frames, frame t (from 0) lies at t / T of the clip. The scores at a share s are those after the last
frame that lies in the first s of the clip, and only shares are measured where a frame lies exactly: after 3
of 8 frames a quarter of the clip has been seen, no less and no more. At 100 % all T frames have.

Axes: N clips, S shares, T frames, K classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import atomic_path
from metrics.accuracy import Floats, Ints, cross_entropy
from metrics.predictions import Predictions, Relations, check_predictions, summarise

QUARTERS = (25, 50, 75, 100)
"""The shares, in per cent, at which every training measures its network where its T frames allow."""
_MEASURES = ("top1", "ci95_low", "ci95_high", "order", "n_order")


def frames_seen(share: float, T: int, observed: float = 1.0) -> int | None:
    """Count the frames in the first part of a clip, where one of them lies at its very end.

    Args:
        share: How much of the clip, in per cent, in (0, 100].
        T: Frames that are spread over the clip.
        observed: Share of the clip, in (0, 1], that these come from.

    Returns:
        A number in [1, T]; None where no frame lies at the share.

    Examples:
        >>> [frames_seen(share, 8) for share in (25, 50, 75, 100)], frames_seen(25, 7)
        ([3, 5, 7, 8], None)
    """
    place = _place(share, observed) * T
    if place == T:
        return T
    return int(place) + 1 if place < T and place.denominator == 1 else None


def measurable(T: int, observed: float = 1.0) -> tuple[int, ...]:
    """List the quarters of a clip at which a frame lies; empty where all of them are the whole clip."""
    shares = tuple(share for share in QUARTERS if frames_seen(share, T, observed))
    return () if shares == (100,) else shares


def refuse_between_frames(shares: Sequence[float], T: int, observed: float, where: str) -> None:
    """Refuse shares at which none of a run's frames lies.

    Raises:
        UserError: There is such a share; the message tells numbers of frames that would do.
    """
    if all(frames_seen(share, T, observed) for share in shares):
        return
    seen = f"the first {100 * observed:.10g} % of a clip" if observed < 1 else "a clip"
    if beyond := [share for share in shares if _place(share, observed) > 1]:
        raise UserError(f"--observed {beyond[0]:g}: {where} sees {seen} alone; leave larger shares out")
    missed = next(share for share in shares if not frames_seen(share, T, observed))
    step = lcm(*(_place(share, observed).denominator for share in shares))
    above, below = -(-T // step) * step, T // step * step
    would_do = f"{above} (or {below})" if below else f"{above}"
    raise UserError(
        f"--observed {missed:g}: none of the {T} frames of {where} lies at {missed:g} % of a clip, since "
        f"frame t lies at t / T of {seen}; these shares can be read off a run with --frames {would_do}"
    )


def _place(share: float, observed: float) -> Fraction:
    """The share of a clip as a share of its observed part, exact for decimal numbers."""
    return Fraction(str(share)) / 100 / Fraction(str(observed))


@dataclass(frozen=True)
class EarlyPredictions:
    """Scores of clips as they stand after shares of them.

    Attributes:
        keys: Name of each clip. Length: N.
        labels: True classes. Shape: (N,).
        shares: Shares of a clip in per cent, rising. Length: S.
        frames: Frames seen at each. Length: S.
        logits: Scores. Shape: (N, S, K).
    """

    keys: tuple[str, ...]
    labels: Ints
    shares: tuple[float, ...]
    frames: tuple[int, ...]
    logits: Floats

    @classmethod
    def read_off(
        cls, predictions: Predictions, shares: Iterable[float], observed: float = 1.0
    ) -> "EarlyPredictions":
        """Take the scores at shares at which a frame lies.

        Args:
            predictions: With the scores after each frame (N, T, K) among the details, as "along". At the last
                frame's share its own scores are taken, which rounding may tell from those.
            shares: In per cent, rising.
            observed: Share of a clip that the frames come from.
        """
        along = predictions.details["along"]
        shares, T = tuple(shares), along.shape[1]
        frames = [frames_seen(share, T, observed) for share in shares]
        seen = tuple(number for number in frames if number is not None)
        assert len(seen) == len(shares), "a frame lies at every share"
        scores = [predictions.logits if number == T else along[:, number - 1] for number in seen]
        return cls(predictions.keys, predictions.labels, shares, seen, np.stack(scores, axis=1))

    def at(self, share: float) -> Predictions:
        """The scores at one of the shares, as predictions."""
        logits = self.logits[:, self.shares.index(share)]
        return Predictions(self.keys, self.labels, logits, cross_entropy(logits, self.labels), {})

    def only(self, shares: Sequence[float]) -> "EarlyPredictions":
        """The scores at some of the shares."""
        places = [self.shares.index(share) for share in shares]
        frames = tuple(self.frames[place] for place in places)
        return replace(self, shares=tuple(shares), frames=frames, logits=self.logits[:, places])

    def save(self, path: Path) -> None:
        """Write `clip`, `label`, `shares`, `frames` and `logits` to an npz file."""
        arrays: Any = {"clip": np.array(self.keys), "label": self.labels, "logits": self.logits}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, shares=np.array(self.shares), frames=np.array(self.frames), **arrays)

    @classmethod
    def load(cls, path: Path) -> "EarlyPredictions":
        """Read what `save` wrote.

        Raises:
            UserError: The file can't be read or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                keys, labels, logits = (saved[name] for name in ("clip", "label", "logits"))
                shares, frames = saved["shares"].tolist(), saved["frames"].tolist()
            if not len(shares) == len(frames) == logits.shape[1] or sorted(set(shares)) != shares:
                raise ValueError(f"its shares {shares} don't fit scores of shape {logits.shape}")
            for place in range(len(shares)):
                check_predictions(keys, labels, logits[:, place])
        except Exception as error:  # a damaged or forged file can fail in numpy's reader in any way
            raise UserError(f"{path} holds no scores along the frames: {error}") from None
        return cls(tuple(keys.tolist()), labels, tuple(shares), tuple(frames), logits)


def summarise_early(early: EarlyPredictions, relations: Relations) -> dict[str, Any]:
    """Describe scores along the frames in numbers.

    Returns:
        "shares": for each share `observed` (per cent), `frames`, `top1` with its 95 % Wilson interval
        `ci95_low` and `ci95_high`, and where classes have rivals `order`, all as of
        `metrics.predictions.summarise`; and for several shares `area` with its bootstrap interval over clips
        `area_low` and `area_high`, see `area_by_clip`, and at all shares but the last `below_last`: how many
        `points` top-1 is below that at the last one, with the `p` of McNemar's exact test over the same clips
        and `p_holm`, corrected for the number of shares.
    """
    # Loads scipy, which training needs only at its end.
    from metrics.statistics import bootstrap_interval, holm, paired_differences

    lines: list[dict[str, Any]] = []
    for share, frames in zip(early.shares, early.frames, strict=True):
        found = summarise(early.at(share), relations)
        line: dict[str, Any] = {"observed": share, "frames": frames}
        lines.append(line | {name: found[name] for name in _MEASURES if name in found})
    summary: dict[str, Any] = {"shares": lines}
    if len(early.shares) > 1:
        area = 100 * area_by_clip(early)
        low, high = bootstrap_interval(area)
        right = [early.at(share).right.astype(np.float64) for share in early.shares]
        below = paired_differences([(right[-1], each) for each in right[:-1]])
        for line, each, p in zip(lines, below, holm([each.p for each in below]), strict=False):
            line["below_last"] = {"points": each.points, "p": each.p, "p_holm": p}
        summary |= {"area": float(area.mean()), "area_low": float(low), "area_high": float(high)}
    return summary


def early_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say what `summarise_early` found, a line a share, and how each share differs from the last."""
    lines = []
    for found in summary["shares"]:
        ends = f"{found['ci95_low']:.1f} to {found['ci95_high']:.1f}"
        order = f", order {found['order']:.1f} %" if "order" in found else ""
        less = found.get("below_last")
        below = f"; {less['points']:.1f} points below the last (p {less['p_holm']:.2g})" if less else ""
        share, frames = f"{found['observed']:g} %", f"{found['frames']} frames"
        lines.append(f"after {share} ({frames}): top-1 {found['top1']:.1f} % ({ends}){order}{below}")
    if "area" in summary:
        ends = f"{summary['area_low']:.1f} to {summary['area_high']:.1f}"
        lines.append(f"area under the curve {summary['area']:.1f} % ({ends})")
    return lines


def area_by_clip(early: EarlyPredictions) -> Floats:
    """Area under each clip's curve of right (1) and wrong (0) over the share, by trapezia.

    It is divided by the range of the shares: 1 for a clip that is right at every share, and the mean over the
    clips is the mean accuracy between the smallest share and the largest.

    Returns:
        In [0, 1]. Shape: (N,).
    """
    right = (early.logits.argmax(axis=2) == early.labels[:, None]).astype(np.float64)  # (N, S)
    widths = np.diff(np.asarray(early.shares, np.float64))
    area: Floats = (right[:, 1:] + right[:, :-1]) / 2 @ widths / widths.sum()
    return area
