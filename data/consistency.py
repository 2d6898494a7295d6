"""What the numbers in file names say about a clip: gaps, and frames, maps and flow that don't match."""

from collections import Counter
from collections.abc import Iterator, Sequence

from data.clips import KINDS, Clip, Fault, Kind, Series

_FLOW_AXES: tuple[tuple[Kind, Kind], ...] = (("flow_x", "flow_y"), ("flow_y", "flow_x"))


def name_faults(clips: Sequence[Clip]) -> list[Fault]:
    """List what is broken in the numbering of clips, and what single clips lack that others have."""
    faults = [fault for clip in clips for fault in _clip_faults(clip)]
    counts = Counter(kind for clip in clips for kind in KINDS if clip.series(kind))
    return faults + [fault for clip in clips for fault in _lacking(clip, counts)]


def name_notes(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """List what is incomplete but can be read, as category -> keys of the clips."""
    notes: dict[str, list[str]] = {}
    for clip in clips:
        for category in _survived(clip):
            notes.setdefault(category, []).append(clip.key)
    return notes


def _survived(clip: Clip) -> Iterator[str]:
    if clip.maps and clip.maps.numbers[0] == 2:
        yield "clips without map 1, the nearest map stands in"
    for kind in KINDS:
        series = clip.series(kind)
        if series and series.numbers[-1] == clip.frames.numbers[-1] - 1:
            yield f"clips whose {kind} end one image early, the last stands in"


def _clip_faults(clip: Clip) -> Iterator[Fault]:
    for kind in KINDS:
        series = clip.series(kind)
        if series is not None:
            yield from _numbering_faults(clip, kind, series)
            yield from _length_faults(clip, kind, series)


def _numbering_faults(clip: Clip, kind: Kind, series: Series) -> Iterator[Fault]:
    if series.numbers[0] == 0:
        problem = "the numbering starts at 0, it should start at 1"
        yield Fault(clip.key, kind, series.path(0), problem, _remedy(kind))
    gaps = sorted(set(range(1, series.numbers[-1])).difference(series.numbers))
    if gaps and not (kind == "maps" and gaps == [1]):
        problem = f"missing, a gap in the numbering (missing in all: {len(gaps)})"
        yield Fault(clip.key, kind, series.path(gaps[0]), problem, _remedy(kind))


def _length_faults(clip: Clip, kind: Kind, series: Series) -> Iterator[Fault]:
    last, frames = series.numbers[-1], clip.frames.numbers[-1]
    if last not in (frames, frames - 1):
        problem = f"ends at number {last}, but the clip's frames end at {frames}"
        yield Fault(clip.key, kind, series.folder, problem, _remedy(kind))


def _lacking(clip: Clip, counts: Counter[Kind]) -> Iterator[Fault]:
    for kind in KINDS:
        if clip.series(kind) is None and counts[kind]:
            problem = f"the clip has no {kind}, but {counts[kind]} others have"
            yield Fault(clip.key, kind, clip.frames.folder, problem, _remedy(kind))
    for there, lacking in _FLOW_AXES:
        series = clip.series(there)
        if series and not counts[lacking]:
            yield Fault(clip.key, lacking, series.folder, f"{there} without any {lacking}", _remedy(lacking))


def _remedy(kind: Kind) -> str:
    if kind == "frames":
        return "copy the clip again, or remove it"
    command = "python -m data.motion" + (" --maps" if kind == "maps" else "")
    return f"copy it again, or make the clip's {kind} anew with `{command}`"
