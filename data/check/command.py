"""Count what a tree of clips holds, and name everything that is broken: `python -m data.check DIR`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field
from tyro.conf import Positional

from core.config import COSTS_MEMORY, Config
from data.check.mend import mend_tree
from data.check.summary import class_table, user_table
from data.clips import Clip, Fault, natural_key
from data.faults import decode_faults
from data.tree import scan_tree


class CheckConfig(Config):
    """Decode every image of a tree of clips, print what there is and every fault; status 1 with faults."""

    root: Positional[Path]
    """Folder that holds processed_frames2, processed_frames or frames."""
    jobs: int = Field(os.cpu_count() or 1, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips that are decoded at a time."""
    fix: Path | None = None
    """Copy the tree to this new folder, mend there what is safe (second uploads, a missing first map, a last
    flow image), say what was done, and check the copy."""


def main(config: CheckConfig) -> int:
    """Check a tree, or its mended copy, and print what was found.

    Returns:
        Exit status: 1 with faults, else 0.

    Raises:
        UserError: There is no tree, it holds no clips, or the copy can't be made.
    """
    scan = scan_tree(config.root)
    if config.fix is not None:
        lines = mend_tree(scan, config.fix)
        print(
            "".join(f"mended: {line}\n" for line in lines) + f"{len(lines)} mended, now checking {config.fix}"
        )
        scan = scan_tree(config.fix)
    faults = scan.faults + decode_faults(scan.clips, threads=config.jobs, show="decoding")
    if scan.clips:
        print(f"{class_table(scan.clips)}\n\n{user_table(scan.clips)}\n")
    for note in (*scan.notes, *_odd_classes(scan.clips)):
        print(f"note: {note}")
    for fault in _in_order(faults):
        print(f"fault: {fault}")
    print(f"{len(faults)} faults" if faults else "no faults")
    return 1 if faults else 0


def _odd_classes(clips: Sequence[Clip]) -> Iterator[str]:
    """Name the classes that can't be learned when their one user is the test user."""
    for user in sorted({clip.user for clip in clips}, key=natural_key):
        others = {clip.action for clip in clips if clip.user != user}
        own = sorted({clip.action for clip in clips} - others)
        if own and others:
            yield f"only {user} has {', '.join(own)}; testing on {user} alone would be refused"


def _in_order(faults: Sequence[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: (natural_key(fault.clip), natural_key(str(fault.path))))
