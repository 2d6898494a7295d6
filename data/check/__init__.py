"""Looks at a tree of clips before anything is trained on it: counts, faults, and a mended copy."""

import os
from pathlib import Path

from pydantic import Field
from tyro.conf import Positional

from core.config import COSTS_MEMORY, Config


class CheckConfig(Config):
    """Decode every image of a tree of clips; print counts and every fault. Exit status 1 with faults."""

    root: Positional[Path]
    """Folder that holds processed_frames2, processed_frames or frames."""
    jobs: int = Field(os.cpu_count() or 1, ge=1, json_schema_extra=COSTS_MEMORY)
    """Number of clips that are decoded at a time."""
    fix: Path | None = None
    """Copy the tree to this new folder, mend there what is safe (second uploads, other names, numbering from
    elsewhere than 1, a missing first map, a missing last flow image), print what was mended, and check the
    copy."""
    page: Path | None = None
    """New folder for a page to look at (index.html): clips of every class and user, lengths, flow and maps,
    and faults with their pictures."""
