"""Where kept frames and outputs lie, how precisely, and how much room they may take.

A cache only saves time. So whatever goes wrong with it, a full disk, a folder that can't be written or a
damaged entry, is said once, and training goes on without what could not be kept.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.config import Config

Precision = Literal["float32", "float16"]

_LEFT_FREE = 2**30  # bytes of the disk that a cache never takes
_CHECK_EVERY = 2**26  # bytes kept between two looks at the disk


class CacheFlags(Config):
    """Flags of the scripts that can keep outputs of layers they never train."""

    cache: Path | None = None
    """Folder to keep decoded frames and outputs of never-trained layers in, for all epochs, seeds, stages."""
    cache_precision: Precision = "float32"
    """float32 gives the same training bit for bit; float16 takes half the room and rounds."""
    cache_gib: float | None = Field(None, gt=0)
    """The folder grows to at most so many GiB, all in it counted; what has no room is computed every time."""

    @model_validator(mode="after")
    def _cache_given(self) -> "CacheFlags":
        if self.cache is None and (self.cache_precision != "float32" or self.cache_gib is not None):
            raise ValueError("--cache-precision and --cache-gib belong to --cache FOLDER")
        return self

    def open_cache(self, say: Callable[[str], None] = print) -> "CacheFolder | None":
        """Open the folder, if there is to be one; `say` prints its messages."""
        if self.cache is None:
            return None
        return CacheFolder(self.cache, self.cache_precision, self.cache_gib, say)


class CacheFolder:
    """A folder of stores (`training.cache.store`) with a common bound."""

    def __init__(
        self,
        path: Path,
        precision: Precision = "float32",
        limit_gib: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Look at what is there; nothing is written.

        Args:
            path: The folder.
            precision: What values are kept in.
            limit_gib: Bound of all that the folder holds, in GiB; None leaves only the end of the disk.
            say: Prints a message; of several ranks the first one does.
        """
        self.path = path
        self.precision = precision
        self.say = say
        self._limit = float("inf") if limit_gib is None else limit_gib * 2**30
        self._used = _disk_use(path)
        self._unchecked = _CHECK_EVERY
        self.usable = True

    def take(self, size: int) -> bool:
        """Ask for room for so many bytes more."""
        if not self.usable:
            return False
        if self._used + size > self._limit:
            self.give_up(f"it holds {self._used / 2**30:.2f} GiB and --cache-gib allows no more")
            return False
        self._unchecked += size
        if self._unchecked >= _CHECK_EVERY:
            self._unchecked = 0
            self._look_at_disk()
        self._used += size if self.usable else 0
        return self.usable

    def _look_at_disk(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            self.give_up(f"it can't be written ({error.strerror})")
            return
        if free < _LEFT_FREE:
            self.give_up("the disk has less than 1 GiB left")

    def give_up(self, reason: str) -> None:
        """Keep no more, and say why, once."""
        if self.usable:
            self.say(f"note: --cache {self.path}: {reason}; what is not kept there is computed every time")
        self.usable = False


def _disk_use(path: Path) -> int:
    """Bytes on disk; empty slots of a store are holes and take none."""
    sizes = []
    for file in path.glob("*/*"):
        try:
            sizes.append(file.stat().st_blocks * 512)
        except OSError:  # another process is at work there
            continue
    return sum(sizes)
