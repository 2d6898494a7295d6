"""Optical flow, warp flow and motion maps of a tree of clips (Ego-RNN, section 3.3)."""
