"""Faults of clips: gaps in the numbering of their files, unreadable images, sizes that don't match.

Three looks, each slower than the one before: at file names (`name_faults`), at the headers and ends of images
(`header_faults`, before every training), at all pixels (`decode_faults`, `python -m data.check`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.progress import progress_bar
from data.clips import KINDS, Clip, Fault, Kind, Series
from data.decoding import BadImage, Pixels, Size, decode_checked, read_size

_FLOW_AXES: tuple[tuple[Kind, Kind], ...] = (("flow_x", "flow_y"), ("flow_y", "flow_x"))
_COPY_AGAIN = "copy the file again, or leave the clip out"


# File names


def name_faults(clips: Sequence[Clip]) -> list[Fault]:
    """List what is wrong with the numbering of clips, and what single clips lack that others have."""
    faults = [fault for clip in clips for fault in _numbering_faults(clip)]
    counts = Counter(kind for clip in clips for kind in KINDS if clip.series(kind))
    return faults + [fault for clip in clips for fault in _lacking(clip, counts)]


def name_notes(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """List what is odd but can be read: category to keys of the clips."""
    notes: dict[str, list[str]] = {}
    for clip in clips:
        if any(series.first != 1 for _, series in _series(clip, KINDS)):
            category = "clips numbered from elsewhere than 1, read as if renumbered (--fix renumbers a copy)"
            notes.setdefault(category, []).append(clip.key)
        if clip.maps and clip.maps.numbers[0] == 2:
            notes.setdefault("clips without map 1, replaced by the nearest map", []).append(clip.key)
        for kind, series in _series(clip, KINDS):
            if series.numbers[-1] == clip.frames.numbers[-1] - 1:
                category = f"clips whose {kind} end one image early, replaced by the last one"
                notes.setdefault(category, []).append(clip.key)
    return notes


def _numbering_faults(clip: Clip) -> Iterator[Fault]:
    frames = clip.frames.numbers[-1]
    for kind, series in _series(clip, KINDS):
        last = series.numbers[-1]
        if series.numbers[0] < 1:
            problem = "numbered from before the clip's first frame"
            yield Fault(clip.key, kind, series.path(series.numbers[0]), problem, _remedy(kind))
        gaps = sorted(set(range(1, last)).difference(series.numbers))
        if gaps and not (kind == "maps" and gaps == [1]):
            problem = f"missing, a gap in the numbering (missing in all: {len(gaps)})"
            yield Fault(clip.key, kind, series.path(gaps[0]), problem, _remedy(kind))
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
        return "copy the clip again, or leave it out"
    command = "python -m data.motion" + (" --maps" if kind == "maps" else "")
    return f"copy it again, or recompute the clip's {kind} with `{command}`"


# All images of clips


def header_faults(clips: Sequence[Clip], kinds: Sequence[Kind], *, show: str = "") -> list[Fault]:
    """Read the headers of all images of some kinds.

    Args:
        clips: Whose images.
        kinds: Which images; a kind that a clip lacks is skipped.
        show: Title of the progress bar; none is shown when empty.

    Returns:
        Every fault, in the order of the clips.
    """
    return _image_faults(clips, kinds, lambda path, kind: read_size(path), threads=8, show=show)


def decode_faults(
    clips: Sequence[Clip], *, threads: int, show: str = "", look: Callable[[Path, Pixels], None]
) -> list[Fault]:
    """Decode every image of every kind.

    Args:
        clips: Whose images.
        threads: Clips at a time.
        show: Title of the progress bar; none is shown when empty.
        look: Is called with the pixels of every sound image, by several threads.

    Returns:
        Every fault, in the order of the clips.
    """

    def measure(path: Path, kind: Kind) -> Size:
        pixels = decode_checked(path, kind)
        look(path, pixels)
        return pixels.shape[1], pixels.shape[0]

    return _image_faults(clips, KINDS, measure, threads=threads, show=show)


def _image_faults(
    clips: Sequence[Clip],
    kinds: Sequence[Kind],
    measure: Callable[[Path, Kind], Size],
    *,
    threads: int,
    show: str,
) -> list[Fault]:
    def attempt(path: Path, kind: Kind) -> Size | BadImage:
        try:
            return measure(path, kind)
        except BadImage as bad:
            return bad

    def faults_of(clip: Clip) -> list[Fault]:
        found = {kind: {p: attempt(p, kind) for p in series.paths} for kind, series in _series(clip, kinds)}
        return list(_size_faults(clip, found))

    # Several clips at a time, so that nobody waits for a slow disk.
    with ThreadPoolExecutor(max_workers=threads) as pool:
        found = pool.map(faults_of, clips)
        bar = progress_bar(found, title=show, total=len(clips), unit="clip", shown=bool(show))
        return [fault for faults in bar for fault in faults]


def _size_faults(clip: Clip, found: Mapping[Kind, Mapping[Path, Size | BadImage]]) -> Iterator[Fault]:
    """Name bad images, those of another size than most of their kind, and kinds of another than the first."""
    expected: Size | None = None
    for kind, sizes in found.items():
        counts = Counter(size for size in sizes.values() if not isinstance(size, BadImage))
        usual = counts.most_common(1)[0][0] if counts else None
        for path, size in sizes.items():
            if isinstance(size, BadImage):
                yield Fault(clip.key, kind, path, str(size), _COPY_AGAIN)
            elif usual is not None and size != usual:
                problem = f"{_pixels(size)}, where the clip's other {kind} have {_pixels(usual)}"
                yield Fault(clip.key, kind, path, problem, _COPY_AGAIN)
        expected = expected or usual
        if usual is not None and expected is not None and usual != expected:
            problem = f"{kind} of {_pixels(usual)}, where the clip's other images have {_pixels(expected)}"
            yield Fault(clip.key, kind, next(iter(sizes)).parent, problem, _remedy(kind))


def _series(clip: Clip, kinds: Sequence[Kind]) -> list[tuple[Kind, Series]]:
    found = [(kind, clip.series(kind)) for kind in kinds]
    return [(kind, series) for kind, series in found if series is not None]


def _pixels(size: Size) -> str:
    return f"{size[0]}x{size[1]} pixels"
