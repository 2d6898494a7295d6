"""Outputs of frozen layers in the memory of a GPU: the level above what a cache keeps on disk.

A row is given to a clip and draw when its outputs are first made, and never changed; a batch is then one
gathering of rows for each output. On a CPU there is no such level: the system keeps what was read from disk
in RAM already.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from core.memory import GIB, free_on

_SHARE = 0.5  # of the memory that is free when the first outputs are held


class HeldOutputs:
    """Numbered slots of named tensors in the memory of a device.

    Attributes:
        device: Where they are.
        rows: The row of each slot that is filled.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, torch.dtype], device: torch.device
    ) -> None:
        """Take no memory yet.

        Args:
            shapes: Shape of each tensor of a slot, by name.
            dtypes: How its values are held.
            device: Where.
        """
        self.device = device
        self.shapes, self.dtypes = dict(shapes), dict(dtypes)
        self.rows: dict[int, int] = {}
        self.tensors: dict[str, Tensor] = {}
        self.room = 0

    @property
    def bytes_a_row(self) -> int:
        """Size of a slot's tensors."""
        return sum(math.prod(self.shapes[name]) * self.dtypes[name].itemsize for name in self.shapes)

    def take(self, rows: int) -> bool:
        """Take memory for a number of rows; says whether it could be had."""
        try:
            made = {
                name: torch.empty((rows, *shape), dtype=self.dtypes[name], device=self.device)
                for name, shape in self.shapes.items()
            }
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower():
                raise
            return False
        self.tensors, self.room = made, rows
        return True

    def keep(self, slots: Sequence[int], values: Mapping[str, Tensor]) -> None:
        """Fill the slots that are new, as far as there are rows left.

        Args:
            slots: N slots.
            values: Their tensors by name, on the device. Shapes: (N, ...).
        """
        new = [place for place, slot in enumerate(slots) if slot not in self.rows]
        new = new[: self.room - len(self.rows)]
        if not new:
            return
        first = len(self.rows)
        self.rows.update((slots[place], first + number) for number, place in enumerate(new))
        which = numbers(new, self.device)
        for name, tensor in self.tensors.items():
            chosen = values[name] if len(new) == len(slots) else values[name][which]
            tensor[first : first + len(new)] = chosen  # rounds where 16 bits are held

    def read(self, slots: Sequence[int], name: str) -> Tensor:
        """Gather a tensor of slots that are filled, as float32. Shape: (N, ...)."""
        which = numbers([self.rows[slot] for slot in slots], self.device)
        return self.tensors[name].index_select(0, which).float()


class HeldMemory:
    """The memory that held outputs of a training may take together, and what is said of it.

    Attributes:
        left: Bytes.
        taken: Bytes that are taken.
    """

    def __init__(self, device: torch.device, limit_gib: float | None, say: Callable[[str], None]) -> None:
        """Take half of what is free on the device, or what the limit says where that is less."""
        free = free_on(device)
        self.left = min(_SHARE * free, math.inf if limit_gib is None else limit_gib * GIB)
        self.device, self.say, self.taken = device, say, 0

    def hold(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, torch.dtype],
        slots: int,
        what: str,
    ) -> HeldOutputs | None:
        """Take memory for as many slots as there is room for; None, and a line, where there is too little.

        Args:
            shapes: Shape of each tensor of a slot, by name.
            dtypes: How its values are held.
            slots: How many there may be.
            what: Whose outputs they are, for messages.
        """
        held = HeldOutputs(shapes, dtypes, self.device)
        rows = min(slots, int(self.left // held.bytes_a_row))
        if not rows or not held.take(rows):
            self.say(f"note: {what} are not held in {self.device.type} memory, which has no room for them")
            return None
        self.left -= rows * held.bytes_a_row
        self.taken += rows * held.bytes_a_row
        share = "" if rows == slots else f", {100 * rows // slots} % of them"
        self.say(
            f"holding {what} in {self.device.type} memory: {rows * held.bytes_a_row / GIB:.2f} GiB{share}"
        )
        return held


def numbers(values: Sequence[int], device: torch.device) -> Tensor:
    """Copy whole numbers to a device without waiting for it."""
    made = torch.tensor(values)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made
