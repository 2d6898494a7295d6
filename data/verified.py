"""Remembers which images were looked at and found sound, so that the trainings of a grid need not look again.

Images count by name, size and time of change: one that changes is looked at again.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from core.files import write_text


class Verified:
    """Marks in a folder, one for each set of images that was found sound."""

    def __init__(self, folder: Path, images: Iterable[Path]) -> None:
        """Name a set of images; it takes one look at each file's entry and none at its content."""
        digest = hashlib.sha256(b"1")  # of what is looked at
        for path in images:
            try:
                status = path.stat()
            except OSError:
                continue  # looking at it says what is wrong
            digest.update(f"{path.absolute()} {status.st_size} {status.st_mtime_ns}\n".encode())
        self._mark = folder / "verified" / digest.hexdigest()[:32]

    @property
    def known(self) -> bool:
        """Whether these very images were found sound before."""
        return self._mark.exists()

    def remember(self) -> None:
        """Remember that they were; where the folder can't be written, they are looked at every time."""
        try:
            write_text(self._mark, "")
        except OSError:
            pass
