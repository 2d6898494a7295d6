"""The frames that an RGB stream reads of a clip, decoded and scaled once and kept as pixels.

A stream always reads the same T frames of a clip, and what is cut and flipped afterwards starts from the same
scaled pixels. So the pixels are exactly those of decoding again. Axes: T frames, H W pixels.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.cache_folder import CacheFolder
from core.files import atomic_path
from data.clips import Series
from data.frames import FrameReader
from data.parts import ClipInput, Frames

_FORMAT = 1
_CHECKSUM_BYTES = 4


def with_kept_frames(inputs: ClipInput, cache: CacheFolder) -> ClipInput:
    """Let an input read its frames from `cache`; an input without frames stays as it is."""
    frames = inputs.part(Frames)
    return inputs if frames is None else inputs.plus(replace(frames, reader=KeptFrames(cache)))


class KeptFrames(FrameReader):
    """Keeps what it has read in a folder, a file a clip, which other runs and processes find there."""

    def __init__(self, cache: CacheFolder) -> None:
        """Keep frames in `cache`; trouble with it costs time only."""
        self.cache = cache

    def read(self, series: Series, numbers: Sequence[int], short_side: int) -> Tensor:
        """Read frames of a clip, as `FrameReader` does, from what is kept if it is there."""
        path = self._path(series, numbers, short_side)
        found = _load(path)
        if found is None:
            found = super().read(series, numbers, short_side)
            self._keep(path, found)
        return found

    def _path(self, series: Series, numbers: Sequence[int], short_side: int) -> Path:
        """Name the file by all that the pixels depend on; images count by name, size and time of change."""
        digest = hashlib.sha256(f"{_FORMAT} {short_side} {list(numbers)}".encode())
        for number in sorted(set(numbers)):
            path = series.path(number).absolute()
            try:
                status = path.stat()
            except OSError:
                continue  # reading says what is missing
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
        return self.cache.path / "frames" / f"{digest.hexdigest()[:32]}.rgb"

    def _keep(self, path: Path, frames: Tensor) -> None:
        content = BytesIO()
        np.save(content, frames.numpy())
        checksum = zlib.crc32(content.getbuffer()).to_bytes(_CHECKSUM_BYTES, "little")
        try:
            if self.cache.take(content.getbuffer().nbytes):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(content.getvalue() + checksum)
        except OSError as error:
            self.cache.give_up(f"it can't be written ({error.strerror})")


def _load(path: Path) -> Tensor | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    values, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if zlib.crc32(values).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None  # damaged, so made again
    try:
        frames = np.load(BytesIO(values), allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return torch.from_numpy(frames) if frames.dtype == np.uint8 and frames.ndim == 4 else None
