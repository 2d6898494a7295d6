from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from data.index import ClipIndex
from data.split import check_split, hold_out, stratified_split
from tests.support.trees import png_tree


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    lengths = {f"{user}/{action}/1": 1 for user in ("S1", "S2", "S3") for action in ("open_jam", "close_jam")}
    lengths |= {"S3/fold_bread/1": 1, "S4/open_jam/1": 1}
    return ClipIndex.from_tree(png_tree(tmp_path_factory.mktemp("tree"), lengths, maps=False, flow=False))


def test_a_good_split_passes(index):
    check_split(index, ["S1", "S3"], ["S2"])
    check_split(index, ["S1"], ["S2"])


@pytest.mark.parametrize(
    "train,test,message",
    [
        (["S1"], ["S2", "S3"], r"only in the clips of test users S2, S3 .*fold_bread; add a user .* or take"),
        (["S1", "S9"], ["S2"], "no user S9; its users are S1, S2, S3, S4"),
        (["S1"], ["S8"], "no user S8"),
        (["S1", "S2"], ["S2"], "S2 in both --train-users and --test-users"),
        ([], ["S2"], "--train-users names no users"),
        (["S1"], [], "--test-users names no users"),
        (["S4"], ["S2"], "close_jam"),
    ],
)
def test_splits_that_are_refused(index, train, test, message):
    with pytest.raises(UserError, match=message):
        check_split(index, train, test)


def test_one_class_is_refused(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, {"S1/a_x/1": 1, "S2/a_x/1": 1}, maps=False, flow=False))
    with pytest.raises(UserError, match="one class to train on, a_x"):
        check_split(index, ["S1"], ["S2"])


labels = st.lists(st.integers(0, 6), min_size=4, max_size=80)


@given(labels, st.floats(0.05, 0.9), st.integers(0, 5))
def test_a_split_is_a_stratified_partition(labels, fraction, seed):
    sizes = Counter(labels)
    eligible = sum(size for size in sizes.values() if size >= 2)
    if round(fraction * eligible) == 0:
        return
    kept, held = stratified_split(labels, fraction, seed)
    assert sorted(kept + held) == list(range(len(labels))) and kept == sorted(kept) and held == sorted(held)
    held_sizes = Counter(labels[item] for item in held)
    for label, size in sizes.items():
        assert held_sizes[label] <= size - 1
        assert size < 2 or abs(held_sizes[label] - fraction * size) <= 1
    assert len(held) <= round(fraction * eligible)
    assert stratified_split(labels, fraction, seed) == (kept, held)


def test_the_share_held_out_is_the_one_asked_for():
    # Sixty-one classes of five or six clips, as GTEA61 has them: whole parts alone would hold out 61 of 341.
    labels = [label for label in range(61) for _ in range(5 + (label < 36))]
    for fraction, number in ((0.1, 34), (0.2, 68), (0.5, 170)):
        assert len(stratified_split(labels, fraction, 0)[1]) == number
    assert stratified_split(labels, 0.2, 0) != stratified_split(labels, 0.2, 1)


def test_no_fraction_holds_out_nothing(index):
    assert hold_out(index, 0.0, 0) == (list(range(len(index))), [])


def test_hold_out_keeps_single_clips_for_training(index):
    kept, held = hold_out(index, 0.5, 0)
    assert index.keys.index("S3/fold_bread/1") in kept
    held_actions = Counter(index.clips[number].action for number in held)
    assert held_actions == {"open_jam": 2, "close_jam": 2}


@pytest.mark.parametrize(
    "fraction,message", [(-0.1, "at least 0"), (1.0, "below 1"), (0.01, "holds out none")]
)
def test_fractions_that_are_refused(fraction, message):
    with pytest.raises(UserError, match=f"--val-fraction.*{message}"):
        stratified_split([0, 0, 1, 1], fraction, 0)
