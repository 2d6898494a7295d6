"""How the flow and the maps of a tree were made, which a run that has learned from them remembers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config import read_yaml
from core.errors import UserError
from data.clips import Kind

RECORD = "motion.yaml"
"""Where `python -m data.motion` writes it down, under the root of a tree."""


def motion_made(root: Path, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Say how a tree's motion was made, as `python -m data.motion` wrote it down.

    Args:
        root: The tree.
        kinds: The images that are read of it.

    Returns:
        Its settings; nothing where no motion is read or nobody wrote them down.
    """
    record = root / RECORD
    return read_yaml(record) if set(kinds) - {"frames"} and record.is_file() else {}


def refuse_other_motion(checkpoint: Mapping[str, Any], root: Path, kinds: Sequence[Kind], where: str) -> None:
    """Refuse data whose motion was made in another way than what a run has learned from.

    Args:
        checkpoint: The run's.
        root: The tree.
        kinds: The images that are read of it.
        where: Names the run.

    Raises:
        UserError: Both are known and differ.
    """
    known, found = checkpoint.get("motion_made") or {}, motion_made(root, kinds)
    if known and found and known != found:
        raise UserError(
            f"{where} has learned from motion made with {_words(known)}, that of {root} was made with "
            f"{_words(found)}; make it anew as the run knows it (or remove {root / RECORD} if that is wrong)"
        )


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
