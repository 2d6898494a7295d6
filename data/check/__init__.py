"""Looks at a tree of clips before anything is trained on it: counts, faults, and a mended copy."""
