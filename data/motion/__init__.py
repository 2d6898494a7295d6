"""Optical flow, warp flow and motion maps of a tree of clips (Ego-RNN, section 3.3)."""

from pathlib import Path

from core.jobs import SpreadConfig
from data import Method


class MotionConfig(SpreadConfig):
    """Compute flow images and motion maps from the frames of a tree.

    Images that exist are left alone: a stopped run goes on where it was, and flow that came with a data set
    stays. Pairs of frames whose flow is a stand-in (cuts, frames without a homography) are listed in
    ROOT/motion.log.
    """

    root: Path
    """Root of the tree, the folder that holds processed_frames2."""
    flow: Method = "dis"
    """Flow algorithm; docs/motion.md compares their errors and their cost."""
    warp: bool = True
    """Flow images show warp flow, without the camera's motion; --no-warp leaves that motion in."""
    maps: bool = False
    """Make the motion maps too."""
