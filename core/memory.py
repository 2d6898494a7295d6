"""Telling that memory ran out, in whatever words it was said, and what to lower then."""

import os
from collections.abc import Iterable

# Flags that memory grows with, in the order in which lowering them costs least.
_LOWER = ("batch_size", "batch", "workers", "jobs", "frames", "stack", "image_size")
_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "insufficient memory")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's own, or PyTorch's or OpenCV's by their words."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, Exception) and any(words in str(error).lower() for words in _WORDS)


def what_to_lower(error: BaseException, settings: Iterable[str]) -> str:
    """Say where memory ran out, and which of a command's settings to lower.

    Args:
        error: What was raised.
        settings: Names of the command's settings.
    """
    place = "GPU memory" if "cuda" in str(error).lower() else "memory"
    flags = [f"--{name.replace('_', '-')}" for name in _LOWER if name in set(settings)]
    advice = f"lower {' or '.join(flags)}" if flags else "close other programs"
    amp = ", or compute in bfloat16 with --amp bf16" if "amp" in set(settings) else ""
    return f"too little {place}; {advice}{amp} ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else os.strerror(12)}"
