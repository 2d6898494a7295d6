"""Grids: recipes planned as runs, and the runs started where there is room.

In reading order: recipe, plan, run, local (or cluster), launcher, progress; then inputs, rehearse, search.
"""
