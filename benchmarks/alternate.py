"""Timing in alternation: what disturbs one way disturbs the others too."""

import time
from collections.abc import Callable, Mapping
from statistics import median

Way = Callable[[], object]


def alternate(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Time each way once a round, after one round that does not count.

    Args:
        ways: What to time, by name.
        rounds: How often.

    Returns:
        Seconds of every round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def speedup(base: list[float], other: list[float]) -> float:
    """How many times faster the other is: the median over rounds of the ratio within a round."""
    return median(slow / fast for slow, fast in zip(base, other, strict=True))
