"""Outputs of frozen layers and decoded frames, kept on disk across epochs and runs."""
