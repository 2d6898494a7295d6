"""Cuts videos into a tree of clips by a table of annotations."""
