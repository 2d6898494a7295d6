"""What outlives a training: decoded pixels and facts, kept by the process that starts one after the other.

That process (`grids/worker.py`) answers the trainings that it has started (`Keeper`); these ask through
`ours`, which is None in a training that was started otherwise. Pixels lie in shared memory, of which the
keeper holds a handle. A training hands them over when they are complete; from then on nobody can write there
but the training that decoded them, and what another should change is its private copy.

Imports only the standard library until pixels are asked for, since every run of a grid passes through it.
"""

import fcntl
import json
import mmap
import os
import socket
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST = 2**20  # bytes of a message
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10  # the last: no writing through handles from now on


@dataclass
class SharedMemory:
    """Memory that several processes may map.

    Attributes:
        pixels: Its bytes, a flat uint8 tensor.
        handle: The file descriptor behind it, None once it is closed.
    """

    pixels: "Tensor"
    handle: int | None

    @classmethod
    def new(cls, size: int) -> "SharedMemory":
        """Take memory that is written to before it is handed over.

        Raises:
            OSError: The system gives none.
        """
        handle = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(handle, size)
            return cls(_tensor(mmap.mmap(handle, size)), handle)
        except BaseException:
            os.close(handle)
            raise


def _tensor(mapped: mmap.mmap) -> "Tensor":
    import numpy as np
    import torch

    return torch.from_numpy(np.frombuffer(mapped, np.uint8))


class Client:
    """A training's side of the connection to its keeper.

    Attributes:
        sharing: Trainings that may run on the same device at a time.
    """

    def __init__(self, connection: socket.socket, sharing: int = 1) -> None:
        """Ask through a connection, which stays open as long as the training."""
        self._connection, self.sharing = connection, sharing

    def knows(self, fact: str) -> bool:
        """Say whether a training before has told the keeper a fact."""
        return bool(self._ask({"knows": fact})["yes"])

    def remember(self, fact: str) -> None:
        """Tell the keeper a fact."""
        self._ask({"remember": fact})

    def held(self) -> int:
        """Count the bytes that the keeper holds."""
        return int(self._ask({"held": True})["bytes"])

    def find(self, key: str) -> "Tensor | None":
        """Map what was kept under a key, as a flat uint8 tensor; changes to it are this process's own."""
        answer = self._ask({"find": key})
        if (handle := answer.get("handle")) is None:
            return None
        try:
            return _tensor(mmap.mmap(handle, answer["bytes"], access=mmap.ACCESS_COPY))
        finally:
            os.close(handle)

    def make_room(self, size: int, bound: int) -> bool:
        """Let the keeper drop what was not used for longest until it has room within `bound` bytes.

        Returns:
            Whether there is room, which is then this training's; what a running training uses stays.
        """
        return bool(self._ask({"room": size, "bound": bound})["yes"])

    def keep(self, key: str, memory: SharedMemory) -> None:
        """Hand complete memory over; what is kept already under the key stays."""
        assert memory.handle is not None
        try:
            fcntl.fcntl(memory.handle, fcntl.F_ADD_SEALS, _SEALS)
            self._ask({"keep": key, "bytes": memory.pixels.numel()}, [memory.handle])
        finally:
            os.close(memory.handle)
            memory.handle = None

    def _ask(self, question: dict[str, Any], handles: Sequence[int] = ()) -> dict[str, Any]:
        send(self._connection, question, handles)
        answer = receive(self._connection)
        assert answer is not None, "a training ends with its keeper"
        return answer


ours: Client | None = None
"""The keeper of the process that started this training; set by grids/worker.py."""


class Keeper:
    """The other side: what is kept, least recently used first, and who uses it."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._facts = set[str]()
        self._memory = OrderedDict[str, tuple[int, int]]()  # handle and bytes
        self._used: dict[socket.socket, set[str]] = {}  # by the connection of each running training
        self._promised: dict[socket.socket, int] = {}  # bytes that it is filling

    def answer(self, connection: socket.socket) -> bool:
        """Answer a training's question; False where it has ended."""
        question = receive(connection)
        if question is None:
            self.forget(connection)
            return False
        answer: dict[str, Any] = {}
        handles: list[int] = []
        if "knows" in question:
            answer["yes"] = question["knows"] in self._facts
        elif "remember" in question:
            self._facts.add(question["remember"])
        elif "held" in question:
            answer["bytes"] = self._held()
        elif "room" in question:
            answer["yes"] = self._make_room(connection, question["room"], question["bound"])
        elif "keep" in question:
            self._keep(question["keep"], question["handle"], question["bytes"])
            self._promised[connection] = max(self._promised.get(connection, 0) - question["bytes"], 0)
            self._use(connection, question["keep"])
        elif (key := question["find"]) in self._memory:
            handle, answer["bytes"] = self._memory[key]
            handles.append(handle)
            self._use(connection, key)
        try:
            send(connection, answer, handles)
        except ConnectionError:  # it was killed after it had asked
            self.forget(connection)
            return False
        return True

    def forget(self, connection: socket.socket) -> None:
        """Note that a training has ended."""
        self._used.pop(connection, None)
        self._promised.pop(connection, None)

    def close(self) -> None:
        """Let go of everything, in a process that is no keeper."""
        while self._memory:
            os.close(self._memory.popitem()[1][0])

    def _held(self) -> int:
        return sum(size for _, size in self._memory.values())

    def _use(self, connection: socket.socket, key: str) -> None:
        self._memory.move_to_end(key)
        self._used.setdefault(connection, set()).add(key)

    def _keep(self, key: str, handle: int, size: int) -> None:
        if key in self._memory:
            os.close(handle)
        else:
            self._memory[key] = handle, size

    def _make_room(self, connection: socket.socket, size: int, bound: int) -> bool:
        needed = size + sum(self._promised.values())
        in_use = set().union(*self._used.values())
        idle = [key for key in self._memory if key not in in_use]
        while idle and self._held() + needed > bound:
            os.close(self._memory.pop(idle.pop(0))[0])
        if self._held() + needed > bound:
            return False
        self._promised[connection] = self._promised.get(connection, 0) + size
        return True


def send(connection: socket.socket, message: dict[str, Any], handles: Sequence[int] = ()) -> None:
    """Send a message, which arrives whole, and handles of files with it."""
    socket.send_fds(connection, [json.dumps(message).encode()], handles)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Receive a message, a handle with it under "handle"; None where the other side has ended."""
    try:
        text, handles, _, _ = socket.recv_fds(connection, _LONGEST, 1)
    except ConnectionError:
        return None
    for handle in handles:
        os.set_inheritable(handle, False)
    return {**json.loads(text), **({"handle": handles[0]} if handles else {})} if text else None
