"""Adds flow, warp flow and motion maps to a tree of clips (Ego-RNN, section 3.3; IDT)."""
