"""Sign-flip permutation test: is a mean difference further from 0 than its signs alone would bring it?"""

from functools import lru_cache

import numpy as np

from metrics.accuracy import Floats


def sign_flip_p(differences: Floats, *, seed: int = 0, draws: int = 10_000) -> float:
    """Test paired differences against the hypothesis that each could as well have had the other sign.

    Args:
        differences: One for each independent item. Shape: (N,).
        seed: Of the signs.
        draws: Random arrangements of signs.

    Returns:
        Two-sided p value, in (0, 1].
    """
    flipped = np.abs(_signs(len(differences), seed, draws) @ differences)
    # The observed arrangement counts among the permutations, so that p is never 0.
    return (1 + int((flipped >= abs(differences.sum()) - 1e-9).sum())) / (1 + draws)


@lru_cache(maxsize=2)
def _signs(items: int, seed: int, draws: int) -> Floats:
    """Draw them once for all comparisons of a table. Shape: (draws, items)."""
    return np.random.default_rng(seed).choice((-1.0, 1.0), (draws, items))
