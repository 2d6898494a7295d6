"""How an epoch is divided into batches, in one process and in several."""

import pytest

from core.errors import UserError
from core.ranks import Ranks
from data.epochs import EpochSampler
from training.batches import KeyBatches


def batches(items: int, batch_size: int, size: int) -> list[list[set[int]]]:
    """The items of each rank's batches in one epoch."""
    found = []
    for rank in range(size):
        sampler = EpochSampler(items, 3, lambda item, _: item, ranks=Ranks(rank, size))
        keys = KeyBatches.of_epochs(sampler, batch_size)
        assert len(list(keys)) == len(keys)
        found.append([set(batch) for batch in keys])
    return found


def test_an_item_that_would_be_alone_joins_the_batch_before():
    assert [len(batch) for batch in batches(25, 12, 1)[0]] == [12, 13]
    assert [len(batch) for batch in batches(9, 2, 1)[0]] == [2, 2, 2, 3]
    assert [len(batch) for batch in batches(26, 12, 1)[0]] == [12, 12, 2]
    assert [len(batch) for batch in batches(24, 12, 1)[0]] == [12, 12]


@pytest.mark.parametrize("items,batch_size", [(1, 12), (1, 1), (3, 1)])
def test_where_nothing_can_be_joined_items_stay_alone(items, batch_size):
    assert [len(batch) for batch in batches(items, batch_size, 1)[0]] == [1] * items


@pytest.mark.parametrize("items", [24, 25, 26, 27, 35, 36, 37, 13])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_whatever_the_number_of_ranks_the_batches_hold_the_same_items(items, size):
    (whole,) = batches(items, 12, 1)
    parts = batches(items, 12, size)
    for number, batch in enumerate(whole):
        held = [rank[number] for rank in parts if number < len(rank)]
        assert set().union(*held) == batch and sum(map(len, held)) == len(batch)
    assert max(map(len, parts)) == len(whole)


def test_a_batch_that_can_not_be_divided_is_refused():
    with pytest.raises(UserError, match="multiple of 5"):
        batches(24, 12, 5)
