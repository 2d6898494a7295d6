"""Tensors of one shape on disk, computed once and read often, shared between runs and processes.

A slot is written whole before its mark is set, so a killed process leaves slots that are there or not there.
Two processes that fill the same slot write the same bytes: the folder's name says what they are made from.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.errors import UserError


class TensorStore:
    """Numbered slots for float32 tensors of one shape; empty slots take no room on disk."""

    def __init__(self, values: int, marks: int, slots: int, shape: tuple[int, ...]) -> None:
        """Take over two open files; use `open`."""
        self._values = values
        self._marks = marks
        self.slots = slots
        self.shape = shape
        self._bytes = 4 * math.prod(shape)

    @classmethod
    def open(cls, folder: Path, identity: Any, slots: int, shape: tuple[int, ...]) -> Self:
        """Open or begin the store for what `identity` describes, in a folder of its own under `folder`.

        Args:
            folder: Where stores are kept.
            identity: Plain values that name everything the tensors are made from; another identity is
                another store, so nothing stale can be read.
            slots: Number of slots.
            shape: Shape of every tensor.

        Raises:
            UserError: The folder can't be written.
        """
        content = json.dumps([identity, slots, list(shape)], sort_keys=True)
        own = folder / hashlib.sha256(content.encode()).hexdigest()[:24]
        try:
            own.mkdir(parents=True, exist_ok=True)
            values = os.open(own / "values.f32", os.O_RDWR | os.O_CREAT, 0o666)
            marks = os.open(own / "marks.u8", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"--cache {folder} can't be written: {error.strerror}; leave it out") from None
        return cls(values, marks, slots, shape)

    @property
    def bytes_at_most(self) -> int:
        """Room on disk when every slot is filled."""
        return self.slots * self._bytes

    def present(self, slots: Sequence[int]) -> list[bool]:
        """Say for each slot whether it is filled."""
        marks = os.pread(self._marks, self.slots, 0).ljust(self.slots, b"\0")
        return [marks[slot] == 1 for slot in slots]

    def write(self, slot: int, value: Tensor) -> None:
        """Fill a slot with a tensor of the store's shape.

        Raises:
            UserError: The disk is full or gone; what was written before stays good.
        """
        assert tuple(value.shape) == self.shape and value.dtype == torch.float32
        content = memoryview(value.detach().cpu().contiguous().numpy().tobytes())
        offset = slot * self._bytes
        try:
            while content:
                written = os.pwrite(self._values, content, offset)
                content, offset = content[written:], offset + written
            os.pwrite(self._marks, b"\1", slot)
        except OSError as error:
            raise UserError(
                f"--cache can't be written: {error.strerror}; make room or leave it out"
            ) from None

    def read(self, slots: Sequence[int]) -> Tensor:
        """Read filled slots. Shape: (len(slots), *shape)."""
        values: npt.NDArray[np.float32] = np.empty((len(slots), *self.shape), np.float32)
        for row, slot in zip(values, slots, strict=True):
            count = os.preadv(self._values, [memoryview(row).cast("B")], slot * self._bytes)
            assert count == self._bytes, f"slot {slot} is not filled"
        return torch.from_numpy(values)

    def close(self) -> None:
        """Close the files."""
        os.close(self._values)
        os.close(self._marks)
