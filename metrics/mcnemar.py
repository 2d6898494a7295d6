"""McNemar's exact test: which of two classifiers is right where the other is wrong (McNemar 1947)."""

from math import comb


def mcnemar_p(gained: int, lost: int) -> float:
    """Ask whether items that only one of two classifiers gets right would split so under a fair coin.

    Args:
        gained: Items that only the first gets right.
        lost: Items that only the second gets right.

    Returns:
        Two-sided exact p value, in (0, 1].
    """
    tosses = gained + lost
    tail = sum(comb(tosses, heads) for heads in range(min(gained, lost) + 1))
    return min(1.0, tail / 2 ** (tosses - 1)) if tosses else 1.0
