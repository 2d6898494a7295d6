"""Reads how the flow and the motion maps of a tree were made, and compares that with what a run has seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config import read_yaml
from core.errors import UserError

RECORD = "motion.yaml"
"""File under the root of a tree in which `python -m data.motion` records its settings."""


def motion_made(root: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Read how a tree's motion was made, as `python -m data.motion` recorded it.

    Args:
        root: The tree.
        kinds: The kinds of images that are read.

    Returns:
        The settings; empty where no motion is read or no record exists.
    """
    record = root / RECORD
    return read_yaml(record) if set(kinds) - {"frames"} and record.is_file() else {}


def refuse_other_motion(checkpoint: Mapping[str, Any], root: Path, kinds: Sequence[str], where: str) -> None:
    """Refuse data whose motion was made in another way than the motion that a run learned from.

    Args:
        checkpoint: The checkpoint of the run.
        root: The tree.
        kinds: The kinds of images that are read.
        where: Name of the run, for the message.

    Raises:
        UserError: Both are known and differ.
    """
    known, found = checkpoint.get("motion_made") or {}, motion_made(root, kinds)
    if known and found and known != found:
        raise UserError(
            f"{where} has learned from motion made with {_words(known)}, that of {root} was made with "
            f"{_words(found)}; recompute it as for the run (or remove {root / RECORD} if that is wrong)"
        )


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
