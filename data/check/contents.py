"""Looks at a few images of each clip: finds sound files that are dead data, and clips that are there twice.

The images are among those that are decoded anyway, so the look costs next to nothing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.clips import Clip, Kind
from data.decoding import BadImage, Pixels, is_turned

_IMAGES = 3
"""Images of each kind that are looked at, spread evenly over a clip."""
_BLACK = 16
"""A frame without a brighter value is black."""
_ZERO = 128
"""Grey level of flow that stands for no motion."""


class Look(NamedTuple):
    """What an image holds: its values, and a hash of its pixels."""

    low: int
    high: int
    middle: int
    flat: bool
    pixels: bytes


class Contents:
    """Looks at some images while all are decoded, and says afterwards what is odd about them."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = clips
        self._chosen = {path for clip in clips for kind in _SEEN for path in _chosen(clip, kind)}
        self._looks: dict[Path, Look] = {}

    def look(self, path: Path, pixels: Pixels) -> None:
        """Remember what an image holds, if it is one of those that are chosen."""
        if path in self._chosen:
            self._looks[path] = _look(pixels)

    def notes(self) -> Iterator[str]:
        """Say what is odd: one line for each kind of oddity, with the number of clips and an example."""
        found: dict[str, list[str]] = defaultdict(list)
        for clip in self._clips:
            looks = {kind: self._of(clip, kind) for kind in _SEEN}
            for oddity in (*_odd_frames(looks["frames"]), *_odd_maps(looks["maps"]), *_odd_flow(looks)):
                found[oddity].append(clip.key)
            if any(map(_turned, _chosen(clip, "frames")[:1])):
                found["clips with an orientation tag, which is ignored: frames are read as stored"].append(
                    clip.key
                )
        for oddity, keys in found.items():
            yield f"{oddity}: {len(keys)} (such as {keys[0]})"
        yield from self._off_centre()
        yield from self._twice()

    def _of(self, clip: Clip, kind: Kind) -> list[Look]:
        return [self._looks[path] for path in _chosen(clip, kind) if path in self._looks]

    def _off_centre(self) -> Iterator[str]:
        """Find flow whose middle level is far from "no motion" in most clips, as where it begins at 0."""
        for kind in _FLOW:
            looks = [self._of(clip, kind) for clip in self._clips]
            middles = [int(np.median([look.middle for look in one])) for one in looks if one]
            off = sum(abs(middle - _ZERO) > _ZERO // 2 for middle in middles)
            if off > len(middles) / 2:
                level = int(np.median(middles))
                yield (
                    f"{kind} is mostly about grey level {level}, which stands for fast motion; no motion is "
                    f"{_ZERO}: was it stored in another way?"
                )

    def _twice(self) -> Iterator[str]:
        """Name clips of equal length whose frames hold the same pixels."""
        groups: dict[tuple[int, tuple[bytes, ...]], list[str]] = defaultdict(list)
        for clip in self._clips:
            looks = self._of(clip, "frames")
            if looks and not all(look.flat for look in looks):
                groups[clip.num_frames, tuple(look.pixels for look in looks)].append(clip.key)
        same = [keys for keys in groups.values() if len(keys) > 1]
        for keys in same[:_NAMED]:
            users = {key.partition("/")[0] for key in keys}
            risk = "; one may be trained on and the other tested" if len(users) > 1 else ""
            yield f"the same clip twice: {' and '.join(keys)}{risk}"
        if len(same) > _NAMED:
            yield f"the same clip twice: {len(same) - _NAMED} more"


_FLOW: tuple[Kind, Kind] = ("flow_x", "flow_y")
_SEEN: tuple[Kind, ...] = ("frames", "maps", *_FLOW)
_NAMED = 10


def _chosen(clip: Clip, kind: Kind) -> list[Path]:
    series = clip.series(kind)
    if series is None:
        return []
    places = np.linspace(0, len(series) - 1, min(_IMAGES, len(series))).astype(int)
    return [series.path(series.numbers[place]) for place in places]


def _look(pixels: Pixels) -> Look:
    channels = cv2.split(pixels)[:3]  # without alpha
    lows, highs = zip(*(cv2.minMaxLoc(channel)[:2] for channel in channels), strict=True)
    flat = max(high - low for low, high in zip(lows, highs, strict=True)) <= 2  # JPEG may move a level
    middle = int(np.median(channels[0][::4, ::4]))
    return Look(int(min(lows)), int(max(highs)), middle, flat, hashlib.sha1(pixels.tobytes()).digest())


def _turned(path: Path) -> bool:
    try:
        return is_turned(path)
    except (OSError, BadImage):
        return False


def _odd_frames(looks: Sequence[Look]) -> Iterator[str]:
    if looks and all(look.flat or look.high <= _BLACK for look in looks):
        yield "clips whose frames are black or of one colour throughout"
    elif len({look.pixels for look in looks}) == 1 < len(looks):
        yield "clips whose frames all show the same picture"


def _odd_maps(looks: Sequence[Look]) -> Iterator[str]:
    if looks and all(look.flat for look in looks):
        yield "clips whose maps are black or white throughout"


def _odd_flow(looks: dict[Kind, list[Look]]) -> Iterator[str]:
    for kind in _FLOW:
        flow = looks[kind]
        levels = {look.middle for look in flow}
        if len(levels) == 1 and all(look.flat and abs(look.middle - _ZERO) > 2 for look in flow):
            yield f"clips whose {kind} is grey level {levels.pop()} throughout, though no motion is {_ZERO}"
        elif len(flow) > 1 and all(look.low <= 8 and look.high >= 247 for look in flow):
            yield (
                f"clips whose {kind} runs from black to white in every image, as if each had been stretched, "
                f"so that no motion is no longer {_ZERO}"
            )
    x, y = ([look.pixels for look in looks[kind] if not look.flat] for kind in _FLOW)
    if x and x == y:
        yield "clips whose flow_x and flow_y are the same images"
