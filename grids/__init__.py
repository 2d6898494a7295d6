"""Grids: recipes planned as runs, and the runs started where there is room. Knows nothing of video."""
