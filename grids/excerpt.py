"""A part of a data set, made of links to it, in which whatever trains on the whole can train too."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.clips import KINDS, Clip
from data.image_folder import PictureIndex
from data.index import ClipIndex
from grids.any_input import open_input


@dataclass(frozen=True)
class Excerpt:
    """A part of a data set.

    Attributes:
        path: Where it is; that of the whole where all of it was taken.
        whole: Clips or pictures of the whole by user; pictures have the user "".
        part: Those of the part.
    """

    path: Path
    whole: Counter[str] = field(default_factory=Counter)
    part: Counter[str] = field(default_factory=Counter)

    def times(self, users: Iterable[str]) -> float:
        """How many times as much the whole has, of some users if it knows them; 1 for a file."""
        known = set(users) & self.part.keys() or self.part.keys()
        part = sum(self.part[user] for user in known)
        return sum(self.whole[user] for user in known) / part if part else 1.0


def make_excerpt(path: Path, items: int, folder: Path) -> Excerpt:
    """Link to some of the clips or pictures of a data set, all of whose users have their share.

    Args:
        path: A tree of clips, class folders of pictures, or a file, which is taken whole.
        items: About so many; every class that is in has two pictures, or a clip of every user.
        folder: Where to make the links; it should not exist.

    Raises:
        UserError: Nothing is there, or it is none of these.
    """
    index = open_input(path)
    match index:
        case None:
            return Excerpt(path)
        case PictureIndex():
            files = _some_pictures(index, items)
            counts = Counter({"": len(index)}), Counter({"": len(files)})
        case ClipIndex():
            clips = _some_clips(index, items)
            files = [file for clip in clips for file in _images(clip)]
            counts = Counter(clip.user for clip in index.clips), Counter(clip.user for clip in clips)
    whole, part = counts
    if whole == part:
        return Excerpt(path, whole, part)
    for file in files:
        link = folder / file.relative_to(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.absolute())
    return Excerpt(folder, whole, part)


def _some_pictures(index: PictureIndex, items: int) -> list[Path]:
    each = max(items // len(index.class_names), 2)
    taken: Counter[int] = Counter()
    chosen = []
    for path, label in zip(index.paths, index.labels, strict=True):
        taken[label] += 1
        if taken[label] <= each:
            chosen.append(path)
    return chosen


def _some_clips(index: ClipIndex, items: int) -> list[Clip]:
    """Take one clip of every user and action, then a second, of the actions that all users have."""
    found: dict[str, dict[str, list[Clip]]] = {}
    for clip in index.clips:
        found.setdefault(clip.action, {}).setdefault(clip.user, []).append(clip)
    common = {action: users for action, users in found.items() if len(users) == len(index.users)}
    if len(common) < 2:  # too few to divide by user
        return list(index.clips)
    chosen: list[Clip] = []
    for rank in range(max(len(clips) for users in common.values() for clips in users.values())):
        for number, users in enumerate(common.values()):
            if len(chosen) >= items and (rank or number >= 2):
                return chosen
            chosen += [clips[rank] for clips in users.values() if rank < len(clips)]
    return chosen


def _images(clip: Clip) -> Iterable[Path]:
    for series in map(clip.series, KINDS):
        yield from series.paths if series is not None else ()
