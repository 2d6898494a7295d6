"""A clip and its numbered images, as plain values that can be sent to worker processes."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Kind = Literal["frames", "maps", "flow_x", "flow_y"]
KINDS: tuple[Kind, ...] = ("frames", "maps", "flow_x", "flow_y")


@dataclass(frozen=True)
class Pattern:
    """File names of a series: prefix, number with leading zeros, extension."""

    prefix: str
    digits: int
    suffix: str

    def name(self, number: int) -> str:
        """Return the file name of an image."""
        return f"{self.prefix}{number:0{self.digits}d}{self.suffix}"

    @property
    def regex(self) -> re.Pattern[str]:
        """Matches exactly the names that `name` returns for numbers up to 999999, the number as group 1."""
        number = rf"(\d{{{self.digits}}}|[1-9]\d{{{self.digits},{max(self.digits, 5)}}})"
        return re.compile(re.escape(self.prefix) + number + re.escape(self.suffix), re.ASCII)


@dataclass(frozen=True)
class Series:
    """Images of one kind in one folder, numbered from 1 whatever number the first file has.

    Attributes:
        folder: The folder of the files.
        pattern: Their names.
        numbers: The numbers of the images that exist, increasing, at least one.
        first: The number that image 1 has in its file name.
    """

    folder: Path
    pattern: Pattern
    numbers: tuple[int, ...]
    first: int = 1

    def __len__(self) -> int:
        return len(self.numbers)

    def path(self, number: int) -> Path:
        """Return the file of an image, whether it exists or not."""
        return self.folder / self.pattern.name(number + self.first - 1)

    def nearest(self, number: int) -> Path:
        """Return the existing file with the nearest number; the earlier one of two that are equally near.

        18 clips of GTEA61 have no map0001, and some flow folders end a frame before the clip does.
        """
        return self.path(min(self.numbers, key=lambda found: abs(found - number)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All existing files, in order."""
        return tuple(self.path(number) for number in self.numbers)

    def counted_from(self, first: int) -> "Series":
        """Count the file of number `first` as image 1."""
        numbers = tuple(number + self.first - first for number in self.numbers)
        return replace(self, numbers=numbers, first=first)


@dataclass(frozen=True)
class Clip:
    """One clip of one action.

    Attributes:
        user: The person who wears the camera, "S2".
        action: Name of the action, "open_jam".
        instance: Number of the clip among the user's clips of this action, "1".
        label: Position of the action in the index's class names.
        frames: The RGB frames.
        maps: Motion maps, None when the tree has none for the clip.
        flow_x: Horizontal flow, None when the tree has none for the clip.
        flow_y: Vertical flow, None when the tree has none for the clip.
    """

    user: str
    action: str
    instance: str
    label: int
    frames: Series
    maps: Series | None = None
    flow_x: Series | None = None
    flow_y: Series | None = None

    @property
    def key(self) -> str:
        """The clip's name, "S2/open_jam/1"."""
        return f"{self.user}/{self.action}/{self.instance}"

    @property
    def num_frames(self) -> int:
        """Number of RGB frames."""
        return len(self.frames)

    @property
    def num_flow(self) -> int:
        """Number of flow images that exist for both axes, 0 without flow."""
        return min(len(self.flow_x), len(self.flow_y)) if self.flow_x and self.flow_y else 0

    def series(self, kind: Kind) -> Series | None:
        """Return the images of one kind."""
        found: Series | None = getattr(self, kind)
        return found


@dataclass(frozen=True)
class Fault:
    """Something broken on disk.

    Attributes:
        clip: Key of the clip it belongs to.
        kind: The kind of images that is concerned.
        path: The file or folder.
        problem: What is wrong with it.
        remedy: What to do about it.
    """

    clip: str
    kind: Kind
    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


def natural_key(name: str) -> tuple[Sequence[object], str]:
    """Sort key that places "2" before "10"; "1" and "01" keep a fixed order."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def one_form(name: str) -> str:
    """Compose accents (NFC), so that a name that was copied from a Mac is the name that was typed."""
    return unicodedata.normalize("NFC", name)
