"""Faults of a clip's image files: bad ones, and those whose size is not that of the clip's others."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.clips import Clip, Fault, Kind
from data.headers import BadImage, Size, read_size

# Of the images of one kind in a clip: the size, or what is wrong.
Readings = Mapping[Path, Size | BadImage]
_COPY_AGAIN = "copy the file again, or remove the clip"


def header_faults(clips: Sequence[Clip], kinds: Sequence[Kind], *, show: str = "") -> list[Fault]:
    """Look at the headers of all images of some kinds.

    Args:
        clips: Whose images.
        kinds: Which images; a kind that a clip lacks is passed over.
        show: Title of the progress bar; none is shown when empty.

    Returns:
        Every fault, in the order of the clips.
    """

    def faults_of(clip: Clip) -> list[Fault]:
        series = {kind: clip.series(kind) for kind in kinds}
        return clip_faults(clip, {k: _read_all(s.paths) for k, s in series.items() if s is not None})

    return each_clip(faults_of, clips, show=show)


def clip_faults(clip: Clip, readings: Mapping[Kind, Readings]) -> list[Fault]:
    """Turn what was read of one clip's images into faults.

    Args:
        clip: The clip.
        readings: What was read, by kind.

    Returns:
        Images that are bad, those of another size than most of their kind, and kinds of another size than
        the first kind.
    """
    faults: list[Fault] = []
    expected: Size | None = None
    for kind, found in readings.items():
        usual = _usual_size(found.values())
        expected = expected or usual
        faults += _kind_faults(clip, kind, found, usual)
        if usual is not None and expected is not None and usual != expected:
            problem = (
                f"{kind} of {_pixels(usual)}, where others of the clip's images have {_pixels(expected)}"
            )
            faults.append(Fault(clip.key, kind, next(iter(found)).parent, problem, "make them anew"))
    return faults


def each_clip(
    faults_of: Callable[[Clip], list[Fault]], clips: Sequence[Clip], *, show: str, threads: int = 8
) -> list[Fault]:
    """Check every clip, several at a time so that a slow disk is not waited for.

    Args:
        faults_of: Checks one clip.
        clips: What to check.
        show: Title of the progress bar; none is shown when empty.
        threads: Clips at a time.

    Returns:
        What was found, in the order of the clips.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        found = pool.map(faults_of, clips)
        bar = tqdm(found, desc=show, total=len(clips), unit="clip", disable=None if show else True)
        return [fault for faults in bar for fault in faults]


def _kind_faults(clip: Clip, kind: Kind, readings: Readings, usual: Size | None) -> Iterator[Fault]:
    for path, reading in readings.items():
        if isinstance(reading, BadImage):
            yield Fault(clip.key, kind, path, str(reading), _COPY_AGAIN)
        elif usual is not None and reading != usual:
            problem = f"{_pixels(reading)}, where the clip's other {kind} have {_pixels(usual)}"
            yield Fault(clip.key, kind, path, problem, _COPY_AGAIN)


def _read_all(paths: Sequence[Path]) -> dict[Path, Size | BadImage]:
    return {path: _try_size(path) for path in paths}


def _try_size(path: Path) -> Size | BadImage:
    try:
        return read_size(path)
    except BadImage as bad:
        return bad


def _usual_size(readings: Collection[Size | BadImage]) -> Size | None:
    counts = Counter(reading for reading in readings if not isinstance(reading, BadImage))
    return counts.most_common(1)[0][0] if counts else None


def _pixels(size: Size) -> str:
    return f"{size[0]}x{size[1]} pixels"
