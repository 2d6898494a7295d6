"""A folder of tensors on disk that are computed once and read often, shared by runs and processes.

A store is one sparse file of numbered slots for tensors of one shape. It begins with a mark for each slot, 0
or the checksum of its content, which is written after the content: a slot of a killed process is there or not
there, and damage is noticed on reading. Two processes that fill the same slot write the same bytes, since the
file's name says what they are made from.

A cache only saves time. So whatever goes wrong with it, a full disk, a folder that can't be written or a
damaged slot, is said once, and training goes on without what could not be kept.
"""

import hashlib
import json
import math
import os
import shutil
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import Tensor

from training.cache import Precision

_FORMAT = 3  # of the files; those of other formats are not looked at
# What decodes, scales and computes: other versions may give other values.
_MADE_BY = [torch.__version__, torchvision.__version__, cv2.__version__]
_FILLED = 1 << 32  # in the mark of a filled slot, above its checksum
_MARK_BYTES = 8
_LEFT_FREE = 2**30  # bytes of the disk that a cache never takes
_CHECK_EVERY = 2**26  # bytes kept between two looks at the disk
_WAIT_AT_MOST = 2**28  # bytes in memory that wait to be written


class CacheFolder:
    """A folder of stores with one limit.

    Attributes:
        usable: Whether more is kept; False after trouble or at the limit.
    """

    def __init__(
        self,
        path: Path,
        precision: Precision = "float32",
        limit_gib: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Measure what is there; nothing is written.

        Args:
            path: The folder.
            precision: How float values are kept.
            limit_gib: Upper limit of everything in the folder, in GiB; None: until the disk is full.
            say: Prints a message.
        """
        self.path = path
        self.precision = precision
        self.say = say
        self.usable = True
        self._limit = math.inf if limit_gib is None else limit_gib * 2**30
        self._used = _disk_use(path)
        self._unchecked = _CHECK_EVERY
        self._queue = deque[_Later]()
        self._waiting = 0  # bytes
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def write_later(
        self, store: "TensorStore", slots: Sequence[int], values: Callable[[], Tensor], size: int
    ) -> None:
        """Let another thread fill slots; nothing is written where too much waits for that already.

        Args:
            store: Of this folder.
            slots: N slots of it.
            values: Gives their tensors, (N, ...), when it is their turn.
            size: Bytes of memory that it holds until then.
        """
        with self._lock:
            if not self.usable or self._waiting + size > _WAIT_AT_MOST:
                return
            self._queue.append(_Later(store, slots, values, size))
            self._waiting += size
            if self._thread is None:  # one that only lives as long as there is work
                self._thread = threading.Thread(target=self._write_queue, name="writes a cache", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Wait until what waits is written."""
        if (thread := self._thread) is not None:
            thread.join()

    def _write_queue(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
                next_one = self._queue.popleft()
            try:
                if self.usable:
                    for slot, value in zip(next_one.slots, next_one.values(), strict=True):
                        next_one.store.write(slot, value)
            except (
                Exception
            ) as error:  # of the device, or of memory; the training meets it too, if it matters
                self.give_up(f"it can't be written ({error})")
            with self._lock:
                self._waiting -= next_one.size

    def reserve(self, size: int) -> bool:
        """Say whether `size` more bytes may be written, and count them."""
        if self.usable and self._used + size > self._limit:
            self.give_up(f"it holds {self._used / 2**30:.2f} GiB and --cache-gib allows no more")
        self._unchecked += size
        if self.usable and self._unchecked >= _CHECK_EVERY:
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

    def knows(self, fact: str) -> bool:
        """Say whether `remember` was told a fact, by whatever process."""
        return self._fact(fact).present([0]) == [True]

    def remember(self, fact: str) -> None:
        """Remember a fact, or forget it where nothing can be kept."""
        self._fact(fact).write(0, torch.zeros(1, dtype=torch.uint8))

    def _fact(self, fact: str) -> "TensorStore":
        return TensorStore(self, ["fact", fact], 1, (1,), "uint8")


class _Later(NamedTuple):
    """Slots that are still to be filled; see `CacheFolder.write_later`."""

    store: "TensorStore"
    slots: Sequence[int]
    values: Callable[[], Tensor]
    size: int


class TensorStore:
    """Numbered slots for tensors of one shape; empty slots take no space on disk."""

    def __init__(
        self,
        cache: CacheFolder,
        identity: Any,
        slots: int,
        shape: tuple[int, ...],
        dtype: Precision | Literal["uint8"] | None = None,
    ) -> None:
        """Name the store; its file is made when the first slot is filled.

        Args:
            cache: Where stores are kept.
            identity: Plain values that name everything the tensors are made from; another identity is
                another store, so nothing outdated can be read.
            slots: Number of slots.
            shape: Shape of every tensor.
            dtype: How values are kept; None as the cache says.
        """
        self.cache = cache
        self.slots = slots
        self.shape = shape
        self.dtype = dtype or cache.precision
        self._dtype = np.dtype(self.dtype)
        self._bytes = self._dtype.itemsize * math.prod(shape)
        content = json.dumps([_FORMAT, _MADE_BY, self.dtype, identity, slots, list(shape)], sort_keys=True)
        self.path = cache.path / f"{hashlib.sha256(content.encode()).hexdigest()[:24]}.slots"
        self._file: int | None = None
        self._close: Callable[[], Any] = lambda: None

    @property
    def bytes_at_most(self) -> int:
        """Size on disk when every slot is filled."""
        return self.slots * self._bytes

    def present(self, slots: Sequence[int]) -> list[bool]:
        """Say for each slot whether it is filled."""
        marks = self._marks()
        return [bool(marks[slot]) for slot in slots]

    def rounded(self, values: Tensor) -> Tensor:
        """Round values as `write` and `read` do."""
        return values.to(getattr(torch, self.dtype)).to(values.dtype)

    def write(self, slot: int, value: Tensor) -> None:
        """Fill a slot with a tensor of the store's shape, float32 or uint8, if there is room for it."""
        assert tuple(value.shape) == self.shape
        if not self.cache.reserve(self._bytes) or (file := self._open(os.O_CREAT)) is None:
            return
        content = value.detach().cpu().numpy().astype(self._dtype).tobytes()
        try:
            _write_all(file, content, self._offset(slot))
            _write_all(file, _mark(content).to_bytes(_MARK_BYTES, "little"), slot * _MARK_BYTES)
        except OSError as error:
            self.cache.give_up(f"it can't be written ({error.strerror})")

    def read(self, slots: Sequence[int]) -> tuple[Tensor, list[bool]]:
        """Read slots.

        Returns:
            Values, float32 or uint8, of shape (len(slots), *shape); and for each whether it is good: those
            of an empty or damaged slot mean nothing.
        """
        values = np.empty((len(slots), *self.shape), self._dtype)
        marks = self._marks()
        good = [self._read_into(row, slot, int(marks[slot])) for row, slot in zip(values, slots, strict=True)]
        read = torch.from_numpy(values)
        return (read if self.dtype == "uint8" else read.float()), good

    def _read_into(self, row: npt.NDArray[Any], slot: int, mark: int) -> bool:
        if self._file is None or not mark:
            return False
        content = memoryview(row.data).cast("B")
        try:
            count = os.preadv(self._file, [content], self._offset(slot))
        except OSError:
            return False
        return count == self._bytes and _mark(content) == mark

    def _offset(self, slot: int) -> int:
        return self.slots * _MARK_BYTES + slot * self._bytes

    def _marks(self) -> npt.NDArray[np.uint64]:
        size, content = self.slots * _MARK_BYTES, b""
        if (file := self._open()) is not None:
            try:
                content = os.pread(file, size, 0)
            except OSError as error:
                self.cache.give_up(f"it can't be read ({error.strerror})")
        return np.frombuffer(content.ljust(size, b"\0"), "<u8")

    def _open(self, create: int = 0) -> int | None:
        if self._file is None:
            try:
                self._file = os.open(self.path, os.O_RDWR | create, 0o666)
                self._close = weakref.finalize(self, os.close, self._file)
            except OSError as error:
                if create or not isinstance(error, FileNotFoundError):
                    self.cache.give_up(f"it can't be written ({error.strerror})")
        return self._file

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._close()
        self._file = None


def _mark(content: bytes | memoryview) -> int:
    return _FILLED | zlib.crc32(content)


def _write_all(file: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _disk_use(path: Path) -> int:
    """Bytes of all files, of other formats too; the empty slots of a store are holes and not on disk."""
    sizes = []
    for file in path.rglob("*"):
        try:
            sizes.append(file.stat().st_blocks * 512 if file.is_file() else 0)
        except OSError:  # another process is at work there
            continue
    return sum(sizes)
