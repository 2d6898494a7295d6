"""OpenCV gives the same bits in every process: one thread, and denormal numbers kept."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def repeatable_opencv() -> Iterator[None]:
    """Compute on one thread and by IEEE's rules; what the process was set to before is put back after.

    How OpenCV splits its work over threads is its own affair, and a job has one core anyhow. Flow by
    Farnebäck differs by a hair when the processor rounds numbers under 1e-38 to zero, as the training scripts
    ask it to. Also a decorator.
    """
    threads, flushed = cv2.getNumThreads(), denormals_are_flushed()
    cv2.setNumThreads(1)
    _flush_denormals(False, now=flushed)
    try:
        yield
    finally:
        _flush_denormals(flushed, now=False)
        cv2.setNumThreads(threads)


def denormals_are_flushed() -> bool:
    """Tell whether the processor rounds denormal numbers to zero, in this thread."""
    return sys.float_info.min / 2 == 0


def _flush_denormals(wanted: bool, *, now: bool) -> None:
    if wanted != now:
        import torch  # takes seconds, and whoever changed the mode has it loaded

        torch.set_flush_denormal(wanted)
