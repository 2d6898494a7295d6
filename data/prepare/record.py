"""Remembers from which frames each clip of a tree was cut: a corrected row changes only its own clip."""

import csv
import io
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from core.files import write_text
from data.prepare.annotations import Annotation
from data.prepare.cutting import Cut
from data.tree import CANONICAL

CLIPS = "clips.csv"
"""Table of a tree's clips: where each was cut from."""
ASIDE = "replaced"
"""Folder of a tree for clips of rows that were changed or removed."""


class Source(NamedTuple):
    """The frames that a clip was cut from: SHA-256 of the video, and a range with its stop excluded."""

    digest: str
    start: int
    stop: int

    @classmethod
    def of(cls, cut: Cut) -> "Source":
        """Return the frames of a clip that is to be cut."""
        return cls(cut.digest, cut.start, cut.stop)


Sources = dict[str, Source]
"""By the key of the clip, "S1/stir/2"."""


def read_sources(out: Path) -> Sources | None:
    """Read which frames the clips of a tree were cut from; None where that was not written down.

    Raises:
        UserError: The table is damaged.
    """
    path = out / CLIPS
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        return {
            row["clip"]: Source(row["sha256"], int(row["start_frame"]), int(row["stop_frame"]))
            for row in rows
        }
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path} is damaged; restore it, or choose a new --out") from None


def write_sources(out: Path, cuts: Mapping[str, Cut], kept: Sources) -> None:
    """Write which frames each clip is cut from, before any is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "sha256", "start_frame", "stop_frame"))
    writer.writerows((key, *source) for key, source in kept.items())
    writer.writerows((key, *Source.of(cut)) for key, cut in cuts.items())
    write_text(out / CLIPS, text.getvalue())


def name_clips(
    rows: Sequence[Annotation], cuts: Mapping[int, Cut], sources: Sources, avoid: Callable[[str], bool]
) -> dict[str, Cut]:
    """Number the clips of each user and action: those that were cut before keep their number.

    Args:
        rows: All rows, in the order of the table.
        cuts: The clips to cut, by line of their row; a row without one keeps a number free.
        sources: What the tree's clips were cut from.
        avoid: Whether a key must not be given to a clip that wasn't cut before.

    Returns:
        The clips by key, "S1/stir/2", in the order of the table.
    """
    there: dict[tuple[str, Source], deque[str]] = {}
    for key, source in sources.items():
        there.setdefault((key.rpartition("/")[0], source), deque()).append(key)
    keys: dict[int, str] = {}
    for line, cut in cuts.items():
        if found := there.get((cut.row.group, Source.of(cut))):
            keys[line] = found.popleft()
    taken = set(keys.values())
    for row in rows:
        if row.line not in keys:
            names = (f"{row.group}/{number}" for number in itertools.count(1))
            keys[row.line] = next(name for name in names if name not in taken and not avoid(name))
            taken.add(keys[row.line])
    return {keys[row.line]: cuts[row.line] for row in rows if row.line in cuts}


def clip_folder(out: Path, key: str) -> Path:
    """Return a clip's folder in the canonical tree."""
    return out / CANONICAL.top / key


def set_aside(out: Path, keys: Iterable[str]) -> list[str]:
    """Move clips with all that was computed from them out of the tree, into `ASIDE`.

    Returns:
        The keys of those that existed.
    """
    moved = []
    tops = sorted({place.top for place in CANONICAL.places.values()} - {CANONICAL.top}) + [CANONICAL.top]
    for key in keys:
        for top in tops:  # the frames last: without them, the rest would be no clip
            old = out / top / key
            if not old.exists():
                continue
            names = (out / ASIDE / top / f"{key}{mark}" for mark in ("", *(f"-{n}" for n in range(2, 10**6))))
            new = next(path for path in names if not path.exists())
            new.parent.mkdir(parents=True, exist_ok=True)
            os.rename(old, new)
            if top == CANONICAL.top:
                moved.append(key)
    return moved
