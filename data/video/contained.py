"""A function in a process of its own, which may take so much time and memory and no more.

Whatever hostile input makes of it, it can't hang, crash or fill the process that asked: only bytes come back.
"""

import math
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import ParamSpec

from core.errors import UserError

P = ParamSpec("P")
_ANSWER, _MISTAKE, _END = b"+", b"!", b"."
_CORES = 4  # a decoder starts as many threads as it sees cores, and each of them takes memory


@dataclass(frozen=True)
class Bounds:
    """What a contained function may take.

    Attributes:
        seconds: Until its last answer is there.
        memory: Bytes on top of what its process holds when the function begins.
        answers: Bytes of all answers together.
    """

    seconds: float
    memory: int
    answers: int


class OutOfBoundsError(Exception):
    """A contained function took more than it may, or broke its process; the message goes on from "it"."""


def run_contained(
    bounds: Bounds, function: Callable[P, Iterable[bytes]], *args: P.args, **kwargs: P.kwargs
) -> list[bytes]:
    """Run a function elsewhere, and wait for it.

    Args:
        bounds: What it may take; its process is killed when it takes longer.
        function: Of a module, so that another process can import it; gives the answers.
        *args: Its arguments, which are pickled; what it answers is not.
        **kwargs: Its arguments by name.

    Returns:
        The answers, in order.

    Raises:
        UserError: The function raised it.
        OutOfBoundsError: It took more than it may, or its process died.
    """
    # Forked from a process that has done nothing but import the function, so it starts in milliseconds and
    # inherits neither threads nor open files.
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    receiver, sender = context.Pipe(duplex=False)
    work = (sender, bounds, function, args, kwargs)
    process = context.Process(target=_work, args=work, daemon=True)
    process.start()
    sender.close()
    deadline = time.monotonic() + bounds.seconds
    alarm = threading.Timer(bounds.seconds, process.kill)
    alarm.start()
    try:
        return list(_answers(receiver, bounds))
    except (EOFError, OSError):
        late = time.monotonic() >= deadline
        raise OutOfBoundsError(f"took longer than {bounds.seconds:g} s" if late else _DIED) from None
    finally:
        alarm.cancel()
        process.kill()
        process.join()
        receiver.close()


_DIED = "crashed or needed more memory than it may have"


def _answers(receiver: Connection, bounds: Bounds) -> Iterator[bytes]:
    room = bounds.answers
    while (message := receiver.recv_bytes())[:1] == _ANSWER:
        room -= len(message) - 1
        if room < 0:
            raise OutOfBoundsError(f"gave more than {bounds.answers / 1e6:.0f} MB")
        yield message[1:]
    if message[:1] == _MISTAKE:
        raise UserError(message[1:].decode("utf-8", "replace"))


def _work(
    sender: Connection,
    bounds: Bounds,
    function: Callable[..., Iterable[bytes]],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    # Ctrl-C reaches every process of a terminal; the one that asked decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(bounds)
    try:
        for answer in function(*args, **kwargs):
            sender.send_bytes(_ANSWER + answer)
        sender.send_bytes(_END)
    except UserError as error:
        sender.send_bytes(_MISTAKE + str(error).encode("utf-8", "replace"))


def _limit(bounds: Bounds) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    memory = _data_bytes() + bounds.memory
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    # Should the one that asked be killed, nobody is left to watch the clock.
    seconds = math.ceil(bounds.seconds * _CORES)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_bytes() -> int:
    """Count what RLIMIT_DATA counts: the private memory that this process can write to."""
    with open("/proc/self/status", encoding="ascii") as status:
        (kilobytes,) = [line.split()[1] for line in status if line.startswith("VmData:")]
    return 1024 * int(kilobytes)
