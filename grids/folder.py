"""The folder of a grid: who works on it, and with what data."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import release_lock, take_lock, write_json
from grids.runs import Fingerprint


@contextmanager
def only_grid(out: Path) -> Iterator[None]:
    """Hold a grid's folder, made when missing, against other grids.

    Raises:
        UserError: Another grid is at work on it, or it can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = take_lock(out / ".lock")
    except OSError as error:
        raise UserError(f"--out {out} can't be written: {error.strerror}") from None
    if lock is None:
        raise UserError(f"another grid is at work in {out}; wait for it, or choose another --out")
    try:
        yield
    finally:
        release_lock(lock)


def note_inputs(out: Path, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Keep what the inputs are in inputs.json, and say so when they are not what they were."""
    file = out / "inputs.json"
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name, found in fingerprints.items():
        if any(part in found and found[part] != value for part, value in before.get(name, {}).items()):
            print(f"note: the input {name} is other data than at the last start; runs with it are made anew")
    write_json(file, {**before, **{name: dict(found) for name, found in fingerprints.items()}})
