"""Grids: recipes planned as runs, and the runs started where there is room.

In reading order: recipe, plan, run, local and worker (or cluster and launcher), progress; then inputs,
rehearse, search.
"""
