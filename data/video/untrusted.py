"""Windows of a video that was uploaded by a stranger.

The file is limited in bytes, length and pixels, and decoded in a process of its own with limited time and
memory. Whatever a hostile file does to that process, it can't hang, crash or fill its parent: only bytes come
back. Axes: T frames.
"""

import io
import math
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ParamSpec

import numpy as np
import torch

from core.errors import UserError
from data.video.reader import FORMATS, open_video
from data.video.windows import TimeSpan, Window, read_windows

P = ParamSpec("P")
MEGABYTE = 10**6
MAX_PIXELS = 4096 * 2304
"""Of a frame, 4K in any aspect ratio; a file with larger ones is refused before any is decoded."""
_MEMORY, _ANSWERS = 2 << 30, 1 << 30

# Playlists and image sequences count as videos too, and make the decoder open other files and addresses.
_PLAIN_FILES_ONLY = {
    "OPENCV_VIDEOIO_PRIORITY_LIST": "FFMPEG",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"protocol_whitelist;file|format_whitelist;{FORMATS}",
}
_ANSWER, _MISTAKE, _END = b"+", b"!", b"."
_CORES = 4  # a decoder starts as many threads as it sees cores, and each of them takes memory


@dataclass(frozen=True)
class Limits:
    """Limits of an uploaded video.

    Attributes:
        megabytes: Size of the file, in 10^6 bytes.
        length_sec: Length. A file that states a greater one is refused; of one that states none or a false
            one, no more than this is read.
        decode_sec: Time for decoding.
    """

    megabytes: float = 200.0
    length_sec: float = 60.0
    decode_sec: float = 120.0

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return round(self.megabytes * MEGABYTE)


Decoder = Callable[[Path, int, TimeSpan, int, Limits], Iterator[bytes]]


def decode_packed(path: Path, T: int, span: TimeSpan, short_side: int, limits: Limits) -> Iterator[bytes]:
    """Decode windows and pack them as bytes; to be run by `run_contained`.

    Changes the folder and the environment of the process. Arguments as in `read_untrusted`.
    """
    os.environ.update(_PLAIN_FILES_ONLY)
    os.chdir(path.parent)  # so that messages don't tell strangers where the file lies
    path = Path(path.name)
    _check_header(path, limits)
    stop_sec = min(limits.length_sec, span.stop_sec or limits.length_sec)
    for window in read_windows(path, T, replace(span, stop_sec=stop_sec), short_side):
        yield _pack(window)


def read_untrusted(
    path: Path, T: int, span: TimeSpan, short_side: int, limits: Limits, *, decode: Decoder = decode_packed
) -> list[Window]:
    """Slide a window over a span of a video, whatever the file really holds.

    Args:
        path: The file, under a name of our choice, since messages mention it.
        T: Frames in each window.
        span: Which part, and the length of a window.
        short_side: Pixels that the short side of larger frames is scaled to.
        limits: What is accepted.
        decode: The decoder.

    Raises:
        UserError: It is not a video, or larger, longer or harder to decode than the limits allow, or the
            span has fewer than T frames.
    """
    size = path.stat().st_size
    if size > limits.bytes:
        raise UserError(
            f"{path.name} has {size / MEGABYTE:.4g} MB, and at most {limits.megabytes:g} MB are accepted; "
            "cut or shrink it"
        )
    bounds = Bounds(limits.decode_sec, _MEMORY, _ANSWERS)
    try:
        packed = run_contained(bounds, decode, path, T, span, short_side, limits)
    except OutOfBoundsError as error:
        raise UserError(f"decoding {path.name} {error}; choose a shorter part or a smaller video") from None
    return [_unpack(window) for window in packed]


def _check_header(path: Path, limits: Limits) -> None:
    with open_video(path) as video:
        width, height = video.stated_size
        length_sec = video.stated_frames / video.fps
    if width * height > MAX_PIXELS:
        raise UserError(f"{path} has frames of {width} x {height} pixels; scale it to 4K or less")
    # One second of tolerance for rounding; a length of NaN, where none is stated, passes.
    if length_sec > limits.length_sec + 1:
        raise UserError(
            f"{path} is {length_sec:.0f} s long, and at most {limits.length_sec:g} s are accepted; cut it"
        )


def _pack(window: Window) -> bytes:
    file = io.BytesIO()
    for array in (window.frames.numpy(), np.array(window.times_sec), np.array(window.times)):
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpack(packed: bytes) -> Window:
    file = io.BytesIO(packed)
    frames, times_sec, times = (np.load(file, allow_pickle=False) for _ in range(3))
    return Window(torch.from_numpy(frames), tuple(times_sec.tolist()), tuple(times.tolist()))


# Decoding in a process of its own


@dataclass(frozen=True)
class Bounds:
    """What a contained function may use.

    Attributes:
        seconds: Time until its last answer.
        memory: Bytes in addition to what its process holds when the function starts.
        answers: Bytes of all answers together.
    """

    seconds: float
    memory: int
    answers: int


class OutOfBoundsError(Exception):
    """A contained function exceeded its bounds or broke its process; the message starts with a verb."""


def run_contained(
    bounds: Bounds, function: Callable[P, Iterable[bytes]], *args: P.args, **kwargs: P.kwargs
) -> list[bytes]:
    """Run a function in another process and wait for it.

    Args:
        bounds: What it may use; its process is killed when the time is up.
        function: A function of a module, which the other process imports; returns the answers.
        *args: Its arguments, which are pickled; its answers are not.
        **kwargs: Its arguments by name.

    Returns:
        The answers, in order.

    Raises:
        UserError: The function raised it.
        OutOfBoundsError: It exceeded its bounds, or its process died.
    """
    # Forked from a process that has only imported the function: it starts in milliseconds and inherits
    # neither threads nor open files.
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


_DIED = "crashed or needed more memory than allowed"


def _answers(receiver: Connection, bounds: Bounds) -> Iterator[bytes]:
    room = bounds.answers
    while (message := receiver.recv_bytes())[:1] == _ANSWER:
        room -= len(message) - 1
        if room < 0:
            raise OutOfBoundsError(f"returned more than {bounds.answers / 1e6:.0f} MB")
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
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
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
    # A limit of the system's own, in case the parent is killed and no longer watches the clock.
    seconds = math.ceil(bounds.seconds * _CORES)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_bytes() -> int:
    """Return what RLIMIT_DATA counts: the private memory that this process can write to."""
    with open("/proc/self/status", encoding="ascii") as status:
        (kilobytes,) = [line.split()[1] for line in status if line.startswith("VmData:")]
    return 1024 * int(kilobytes)
