"""Division of clips by user into training and test, and of training clips into training and validation."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from core.errors import UserError
from data.index import ClipIndex


def check_split(index: ClipIndex, train_users: Sequence[str], test_users: Sequence[str]) -> None:
    """Refuse a division of users that can't be intended.

    Args:
        index: All clips.
        train_users: Users whose clips are trained on.
        test_users: Users whose clips are tested on.

    Raises:
        UserError: No users, users that are not in the tree, a user on both sides, a class that only test
            users have, or fewer than two classes.
    """
    for flag, users in (("--train-users", train_users), ("--test-users", test_users)):
        if not users:
            raise UserError(f"{flag} names no users; {index.root} has {', '.join(index.users)}")
    if both := sorted(set(train_users) & set(test_users)):
        raise UserError(f"{', '.join(both)} in both --train-users and --test-users; take them out of one")
    trained = {clip.action for clip in index.select(train_users).clips}
    tested = {clip.action for clip in index.select(test_users).clips}
    if unseen := sorted(tested - trained):
        raise UserError(_unseen(index, unseen, test_users))
    if len(trained) < 2:
        raise UserError(f"{index.root} has one class to train on, {trained.pop()}; at least two are needed")


def hold_out(index: ClipIndex, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide training clips into those that train and those that validate, each class in proportion.

    Args:
        index: The training clips.
        fraction: Share to hold out, in [0, 1); a class with a single clip gives none.
        seed: Chooses which clips of a class.

    Returns:
        Increasing positions in the index: training clips, validation clips.

    Raises:
        UserError: The fraction is outside [0, 1), or so small that no clip is held out.
    """
    return stratified_split(index.labels, fraction, seed)


def stratified_split(labels: Sequence[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide items as `hold_out` does, given the class of each.

    The number held out is the fraction of all items of classes with two or more, rounded. Each class gives
    the integer part of its share, and the rest goes to the largest remainders. One of each class stays.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"--val-fraction should be at least 0 and below 1, got {fraction}")
    rng = np.random.default_rng((seed, len(labels)))
    # Shuffled first, so that neither choice in a class nor ties between classes follow the file order.
    shuffled = rng.permutation(len(labels)).tolist()
    counts = _held_out_counts(Counter(labels[item] for item in shuffled), fraction)
    held: list[int] = []
    for item in shuffled:
        if counts[labels[item]] > 0:
            counts[labels[item]] -= 1
            held.append(item)
    if fraction > 0 and not held:
        raise UserError(f"--val-fraction {fraction} of {len(labels)} holds out none; give a larger one, or 0")
    return sorted(set(range(len(labels))) - set(held)), sorted(held)


def _held_out_counts(sizes: Counter[int], fraction: float) -> Counter[int]:
    shares = {label: fraction * size for label, size in sizes.items() if size >= 2}
    counts = Counter({label: min(int(share), sizes[label] - 1) for label, share in shares.items()})
    missing = round(sum(shares.values())) - counts.total()
    by_remainder = sorted(shares, key=lambda label: counts[label] - shares[label])
    for label in [label for label in by_remainder if counts[label] < sizes[label] - 1][:missing]:
        counts[label] += 1
    return counts


def _unseen(index: ClipIndex, classes: Sequence[str], test_users: Sequence[str]) -> str:
    return (
        f"{index.root}: classes only in the clips of test users {', '.join(test_users)} can't be learned: "
        f"{first_names(classes)}; add a user who has them to --train-users, or take these clips out"
    )


def first_names(names: Sequence[str]) -> str:
    """List the first five names, and say whether there are others."""
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
