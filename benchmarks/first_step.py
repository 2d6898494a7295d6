"""train_rgb.py until its first step is done, which says how long each part of the way there took.

`python benchmarks/first_step.py BEGUN FOUND FLAGS...`, as benchmarks/commands.py starts it: when the command
was given, in seconds since 1970; the file for what was found; and flags of train_rgb.py.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import train_rgb  # noqa: E402
from core.cli import run  # noqa: E402
from data.index import ClipIndex  # noqa: E402
from data.resident import Resident  # noqa: E402
from training.step import Step  # noqa: E402

_LOADED = time.time()
PARTS = ("loading modules", "finding and checking images", "decoding", "the first step")


def report_first_step(begun: float, found: Path) -> None:
    """Write seconds by part, and those in all, to a file when the first step is done; then end."""
    seconds = {PARTS[0]: _LOADED - begun}

    def timed(owner: Any, name: str, part: str) -> Callable[..., Any]:
        original: Callable[..., Any] = getattr(owner, name)

        def measured(*given: Any, **named: Any) -> Any:
            start = time.time()
            try:
                return original(*given, **named)
            finally:
                seconds[part] = seconds.get(part, 0.0) + time.time() - start

        return measured

    def last(*given: Any, **named: Any) -> Any:
        step(*given, **named).tolist()  # waits for the device
        found.write_text(json.dumps({**seconds, "in all": time.time() - begun}))
        os._exit(0)

    for name in ("from_tree", "verify"):
        setattr(ClipIndex, name, timed(ClipIndex, name, PARTS[1]))
    Resident.holds = timed(Resident, "holds", PARTS[2])  # type: ignore[method-assign]
    step = timed(Step, "__call__", PARTS[3])
    Step.__call__ = last  # type: ignore[method-assign]


if __name__ == "__main__":
    report_first_step(float(sys.argv.pop(1)), Path(sys.argv.pop(1)))
    run(train_rgb.main, train_rgb.Config)
