"""Cuts videos into a tree of clips by a table of annotations."""

from pathlib import Path

from pydantic import Field

from core.config import Config


class PrepareConfig(Config):
    """Cut videos by an annotation file into a tree of clips; a stopped run continues where it stopped."""

    annotations: Path
    """CSV file with columns video,user,action and start_frame,stop_frame (from 0, stop excluded) or
    start_sec,stop_sec (1.5 or 00:00:01.50, from the first frame); a row without a range means the whole
    video, one without a stop the rest of it. Video paths are relative to its folder."""
    out: Path
    """Root of the tree to make: a new folder, or one that this command started. After a correction of rows,
    only their clips are cut again; the old ones are moved to its folder `replaced`."""
    short_side: int = Field(256, ge=32)
    """Pixels that the shorter side of a frame is scaled to."""
    fps: float | None = Field(None, gt=0)
    """Frames per second to take; by default, every frame of the video."""
    skip_broken: bool = False
    """Cut what can be cut, list the rows that can't, and end with status 1."""
