"""Reads videos frame by frame, in windows, and from strangers."""
