"""How much memory is free, and large blocks of it: on a GPU, else in RAM, else none."""

import os
import re
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from core import keeper
from core.keeper import SharedMemory
from core.ranks import ONE, Ranks

GIB = 2**30
Limit = Literal["auto"] | float
"""How many GiB may be taken of a device; auto: half of what is free."""

_SHARE = 0.5  # of what is free, where nothing else was asked for


@dataclass(frozen=True)
class Want:
    """A block that is asked for.

    Attributes:
        shape: Its axes, of bytes.
        layout: How they lie in memory.
        key: What will be in it, by which the next training of a grid finds it; None: it can't.
    """

    shape: tuple[int, ...]
    layout: torch.memory_format = torch.contiguous_format
    key: str | None = None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return prod(self.shape)

    def of(self, flat: Tensor) -> Tensor:
        """View flat bytes as the block."""
        if self.layout == torch.channels_last:
            number, channels, height, width = self.shape
            return flat.view(number, height, width, channels).permute(0, 3, 1, 2)
        return flat.view(self.shape)


@dataclass
class Block:
    """Memory that was taken.

    Attributes:
        pixels: Where they are used: uint8 of the shape that was asked for, in RAM beside a GPU pinned.
        source: Where they are decoded to: the same, or RAM that outlives the training.
        filled: Whether a training before has done so.
    """

    want: Want
    pixels: Tensor
    source: Tensor
    filled: bool = False
    shared: SharedMemory | None = None

    def complete(self) -> Tensor:
        """Keep what was decoded for the next training, and return the pixels."""
        if self.shared is not None and keeper.ours is not None and self.want.key is not None:
            with suppress(OSError):  # a system that can't seal memory; the next training decodes again
                keeper.ours.keep(self.want.key, self.shared)
        if self.source is not self.pixels:
            self.pixels.copy_(self.source)
            self.source = self.pixels
        return self.pixels


class Room:
    """Memory for what is kept between epochs: on the device, else in RAM; what it gives is said in a line.

    In a training of a grid, blocks that have a key are kept for the trainings after it, in as much RAM as a
    training may take.
    """

    def __init__(self, limit: Limit, device: torch.device, ranks: Ranks = ONE) -> None:
        """Take nothing yet.

        Args:
            limit: How much of the device's memory may be taken; of the RAM beside a GPU it is half of what is
                free.
            device: Where it is wanted.
            ranks: The processes of the training; the first one says what is chosen.
        """
        self.limit, self.device, self.ranks = limit, device, ranks
        self._shared = 0
        self._left: dict[str, float] = {}  # bytes, by the type of a device; measured when first asked
        self._bound = 0.0  # of RAM, when it was measured

    def share(self, taken: int) -> None:
        """Count bytes of the device that something else has taken under the same limit, before it is used."""
        self._shared += taken

    def take(self, what: str, wanted: Sequence[Want]) -> list[Block] | None:
        """Take blocks of bytes where there is room for all of them.

        Args:
            what: What goes there, in words for the message.
            wanted: The blocks.

        Returns:
            Blocks of any values but for those that are filled; None where there is no room.
        """
        need, why = sum(want.size for want in wanted), ""
        for kind in dict.fromkeys((self.device.type, "cpu")):
            name = "RAM" if kind == "cpu" else "GPU memory"
            if need > (left := self._room(kind)):
                why += f"; of {name} there is {_size(left)} for it"
                continue
            try:
                taken = [self._block(kind, want) for want in wanted]
            except (RuntimeError, MemoryError) as error:
                if "memory" not in str(error) and not isinstance(error, MemoryError):
                    raise
                why += f"; of {name} that much can't be had"
                continue
            self._left[kind] -= need
            before = ", decoded by a training before" if all(block.filled for block in taken) else ""
            self.ranks.say(f"resident: {_size(need)} of {what} in {name}{before}{why}")
            return taken
        self.ranks.say(f"resident: {_size(need)} of {what} are read as they are needed{why}")
        return None

    def _room(self, kind: str) -> float:
        if kind not in self._left:
            free = free_on(self.device if kind == self.device.type else torch.device(kind))
            if kind == "cpu" and keeper.ours is not None:
                free += keeper.ours.held()
            asked = _SHARE * free
            if self.limit != "auto" and kind == self.device.type:
                asked = max(self.limit * GIB - self._shared, 0)
            self._left[kind] = min(asked, free)
            if kind == "cpu":
                self._bound = self._left[kind]
        return self._left[kind]

    def _block(self, kind: str, want: Want) -> Block:
        if kind == "cpu" and self.device.type == "cpu":
            if (kept := self._kept(want)) is not None:
                return kept
            pixels = _empty(want, self.device)
            return Block(want, pixels, pixels)
        pixels = _empty(want, self.device if kind == self.device.type else torch.device(kind))
        if kind != self.device.type:
            _pin(pixels)
            return Block(want, pixels, pixels)
        if want.size <= self._room("cpu"):
            with suppress(MemoryError):
                if (kept := self._kept(want)) is not None:
                    self._left["cpu"] -= want.size
                    kept.pixels = pixels
                    return kept
        return Block(want, pixels, pixels)

    def _kept(self, want: Want) -> Block | None:
        """Find what was kept, or take RAM that can be; None where there is no keeper.

        Raises:
            MemoryError: Other trainings use too much of what is kept.
        """
        if keeper.ours is None or want.key is None or not want.size:
            return None
        if (flat := keeper.ours.find(want.key)) is not None:
            return Block(want, want.of(flat), want.of(flat), filled=True)
        if not keeper.ours.make_room(want.size, int(self._bound)):
            raise MemoryError
        try:
            shared = SharedMemory.new(want.size)
        except OSError:
            return None
        pixels = want.of(shared.pixels)
        return Block(want, pixels, pixels, shared=shared)


def local_ranks() -> int:
    """Count the processes of the training on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def free_ram(root: Path = Path("/")) -> int:
    """Count the bytes that this process may still take without swapping: of the machine and of its cgroups.

    Args:
        root: Where proc/ and sys/ are; tests have their own.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    machine = int(found[1]) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([machine, *_free_in_cgroups(root)]))


def free_on(device: torch.device) -> int:
    """Count the bytes that are free on a device for this process.

    Of several ranks on the CPU, and of several trainings that a grid runs on one GPU, each gets an equal
    part, since they may all look before any of them has taken anything.
    """
    if device.type != "cuda":
        return free_ram() // local_ranks()
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free // (1 if keeper.ours is None else keeper.ours.sharing)


def _free_in_cgroups(root: Path) -> Iterator[int]:
    """Yield what is left under each limit, of version 2 or 1, from this process's cgroup upwards."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, name = line.split(":", 2)
        if number == "0":
            base, limit, used, cache = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, used = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        top = root / base
        # In a container the name may be the host's, and the limits lie at the top.
        folder = top / name.lstrip("/")
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(top))):
            bound, taken = _text(place / limit).strip(), _text(place / used).strip()
            if not (bound.isdecimal() and taken.isdecimal()):
                continue  # "max", or no such file
            dropped = re.search(rf"^{cache} (\d+)$", _text(place / "memory.stat"), re.MULTILINE)
            yield int(bound) - int(taken) + (int(dropped[1]) if dropped else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _empty(want: Want, device: torch.device) -> Tensor:
    return torch.empty(want.shape, dtype=torch.uint8, device=device, memory_format=want.layout)


def _pin(block: Tensor) -> None:
    """Let a GPU copy from memory at full speed; where that is refused, copies are slower."""
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    if int(runtime.cudaHostRegister(block.data_ptr(), block.numel(), 0)) == 0:
        weakref.finalize(block, runtime.cudaHostUnregister, block.data_ptr()).atexit = False


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"
