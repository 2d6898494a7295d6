"""Tensors of one shape on disk, computed once and read often, shared between runs and processes.

A slot's mark holds the checksum of its content and is set after the content is written whole: a slot of a
killed process is there or not there, and a damaged one is noticed when it is read. Two processes that fill
the same slot write the same bytes, since the folder's name says what they are made from.
"""

import hashlib
import json
import math
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.cache_folder import CacheFolder

_FORMAT = 2  # of the files; stores of another format are not looked at
_FILLED = np.uint64(1 << 32)  # set in the mark of a filled slot, above its checksum


class TensorStore:
    """Numbered slots for tensors of one shape; empty slots take no room on disk."""

    def __init__(self, cache: CacheFolder, identity: Any, slots: int, shape: tuple[int, ...]) -> None:
        """Open or begin the store for what `identity` describes, in a folder of its own.

        Where that can't be, the cache says so, and the store stays empty.

        Args:
            cache: Where stores are kept, and in which precision.
            identity: Plain values that name everything the tensors are made from; another identity is
                another store, so nothing stale can be read.
            slots: Number of slots.
            shape: Shape of every tensor.
        """
        self.cache = cache
        self.slots = slots
        self.shape = shape
        self._dtype = np.dtype(cache.precision)
        self._bytes = self._dtype.itemsize * math.prod(shape)
        content = json.dumps([_FORMAT, cache.precision, identity, slots, list(shape)], sort_keys=True)
        folder = cache.path / hashlib.sha256(content.encode()).hexdigest()[:24]
        self._files: tuple[int, int] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            values = os.open(folder / "values.bin", os.O_RDWR | os.O_CREAT, 0o666)
            self._files = values, os.open(folder / "marks.u64", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            cache.give_up(f"it can't be written ({error.strerror})")

    @property
    def bytes_at_most(self) -> int:
        """Room on disk when every slot is filled."""
        return self.slots * self._bytes

    def present(self, slots: Sequence[int]) -> list[bool]:
        """Say for each slot whether it is filled."""
        marks = self._marks()
        return [bool(marks[slot] & _FILLED) for slot in slots]

    def rounded(self, values: Tensor) -> Tensor:
        """Give what `read` will give of these values, float32."""
        return values.to(getattr(torch, self.cache.precision)).float()

    def write(self, slot: int, value: Tensor) -> None:
        """Fill a slot with a tensor of the store's shape, unless there is no room."""
        assert tuple(value.shape) == self.shape and value.dtype == torch.float32
        if self._files is None or not self.cache.take(self._bytes):
            return
        content = value.detach().cpu().numpy().astype(self._dtype).tobytes()
        values, marks = self._files
        try:
            _write_all(values, content, slot * self._bytes)
            _write_all(marks, _mark(content), slot * _FILLED.itemsize)
        except OSError as error:
            self.cache.give_up(f"it can't be written ({error.strerror})")

    def read(self, slots: Sequence[int]) -> tuple[Tensor, list[bool]]:
        """Read slots.

        Returns:
            The values, float32, shape (len(slots), *shape), and which of them are good: a slot that is empty
            or damaged is not, and has no meaning.
        """
        values = np.empty((len(slots), *self.shape), self._dtype)
        marks = self._marks()
        good = [
            self._read_into(row, slot) == int(marks[slot]) for row, slot in zip(values, slots, strict=True)
        ]
        return torch.from_numpy(values.astype(np.float32, copy=False)), good

    def _read_into(self, row: npt.NDArray[Any], slot: int) -> int | None:
        """Read one slot, and give the mark that belongs to what was read."""
        if self._files is None:
            return None
        content = memoryview(row.data).cast("B")
        try:
            count = os.preadv(self._files[0], [content], slot * self._bytes)
        except OSError:
            return None
        return int.from_bytes(_mark(content), "little") if count == self._bytes else None

    def _marks(self) -> npt.NDArray[np.uint64]:
        size = self.slots * _FILLED.itemsize
        content = b""
        if self._files is not None:
            try:
                content = os.pread(self._files[1], size, 0)
            except OSError as error:
                self.cache.give_up(f"it can't be read ({error.strerror})")
        return np.frombuffer(content.ljust(size, b"\0"), "<u8")

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            os.close(file)
        self._files = None


def _mark(content: bytes | memoryview) -> bytes:
    return (int(_FILLED) | zlib.crc32(content)).to_bytes(_FILLED.itemsize, "little")


def _write_all(file: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written
