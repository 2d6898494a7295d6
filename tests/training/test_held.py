"""Outputs held in memory and kept on disk by another thread: the same batches, and nothing made twice."""

import threading

import pytest
import torch
from torch import nn

from data.epochs import EpochSampler
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import Preprocessing
from models.base import Prefix
from tests.support.trees import png_tree
from training.batches import KeyBatches, load_clips
from training.cache.features import CachedInput
from training.cache.held import HeldMemory, HeldOutputs
from training.cache.store import CacheFolder, TensorStore

CPU = torch.device("cpu")
INPUTS = ClipInput(Frames(2, Preprocessing(32, 37, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))))
EPOCHS = 4


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    png_tree(root, {f"{user}/{action}/1": 3 for user in ("S1", "S2") for action in ("open_jam", "close_jam")})
    return ClipIndex.from_tree(root)


def layers():
    """Two prefixes, the second of which makes what is learned from, one of it exact."""
    torch.manual_seed(0)
    trunk, last = nn.Conv2d(3, 4, 3, stride=4), nn.Conv2d(4, 3, 3, stride=2)

    def attend(maps):
        made = last(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return {"maps": made, "cam": made.mean(dim=2)}

    return (
        Prefix("trunk", (trunk,), lambda x: {"trunk": trunk(x.flatten(0, 1)).unflatten(0, x.shape[:2])}),
        Prefix("last", (last,), attend, exact=("cam",)),
    )


class Reading:
    """Loads clips, and counts them."""

    def __init__(self):
        self.clips = 0

    def __call__(self, inputs, workers, index, keys):
        for batch in load_clips(inputs, workers, index, keys):
            self.clips += len(batch["frames"])
            yield batch


def epochs(index, cache, memory, reading):
    """The batches of four epochs over all clips, and of one measurement, as lists of their tensors."""
    cached = CachedInput(INPUTS, layers(), cache, 0, index, reading, memory)
    sampler = EpochSampler(INPUTS.training_items(index), 0, INPUTS.training_key(index))
    learned = cached.batches(index, KeyBatches.of_epochs(sampler, 3))
    found = []
    for epoch in (1, 2, 1, 3):
        sampler.set_epoch(epoch)
        found.append(list(learned))
    measured = cached.batches(index.subset(range(3)), KeyBatches(INPUTS.test_keys(index.subset(range(3))), 2))
    for _ in range(2):
        found.append(list(measured))
    if cache is not None:
        cache.finish()
    return found


def equal(one, other):
    for ours, theirs in zip(sum(one, []), sum(other, []), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def made_each_time(index):
    return epochs(index, None, None, Reading())


@pytest.mark.parametrize("on_disk", [False, True])
def test_held_outputs_are_those_of_making_them_each_time(index, made_each_time, tmp_path, on_disk):
    said, reading, cache = [], Reading(), CacheFolder(tmp_path, say=lambda _: None) if on_disk else None
    found = epochs(index, cache, HeldMemory(CPU, None, said.append), reading)
    equal(found, made_each_time)
    drawn = {(int(clip), epoch) for epoch in (1, 2, 3) for clip in range(4)}
    assert reading.clips <= len(drawn) + 3, "what was made once is held"
    assert [line.partition(" in ")[0] for line in said] == [
        "holding maps and cam of the training clips",
        "holding maps and cam of the measured clips",
    ]
    if on_disk:
        again = Reading()
        equal(epochs(index, CacheFolder(tmp_path), None, again), made_each_time)
        assert again.clips == 0, "another thread has kept all of it on disk"


def test_what_has_no_room_in_memory_is_made_each_time(index, made_each_time):
    said, all_of_it = [], Reading()
    a_clip = 2 * 4 * (3 + 1) * 3 * 3
    memory = HeldMemory(CPU, 2.5 * a_clip / 2**30, said.append)
    equal(epochs(index, None, memory, all_of_it), made_each_time)
    assert 3 * 4 < all_of_it.clips < 4 * 4 + 2 * 3
    assert "1 % of them" in said[0] and "no room" in said[1]


def test_sixteen_bits_are_the_same_on_every_level(index, made_each_time, tmp_path):
    levels = {
        "disk": (CacheFolder(tmp_path / "a", "float16"), None),
        "both": (CacheFolder(tmp_path / "b", "float16"), HeldMemory(CPU, None, lambda _: None)),
    }
    found = {name: epochs(index, *of, Reading()) for name, of in levels.items()}
    equal(found["disk"], found["both"])
    exact, rounded = made_each_time[0][0], found["both"][0][0]
    assert torch.equal(rounded["maps"], rounded["maps"].half().float())
    assert not torch.equal(rounded["cam"], rounded["cam"].half().float()), "this one is kept exactly"
    torch.testing.assert_close(exact["maps"], rounded["maps"], rtol=1e-3, atol=1e-3)


def test_rows_are_given_once_and_as_long_as_there_are_some():
    held = HeldOutputs({"x": (2,)}, {"x": torch.float16}, CPU)
    assert held.take(3) and held.bytes_a_row == 4
    held.keep([7, 2], {"x": torch.tensor([[1.0, 2.0], [1 / 3, 4.0]])})
    held.keep([2, 9, 5], {"x": torch.full((3, 2), 8.0)})
    assert list(held.rows) == [7, 2, 9]
    assert torch.equal(held.read([9, 2], "x"), torch.tensor([[8.0, 8.0], [1 / 3, 4.0]]).half().float())


def test_a_disk_that_is_too_slow_holds_nothing_up(tmp_path):
    """What can't wait in memory is left out, and made again when it is met."""
    cache = CacheFolder(tmp_path, say=lambda _: None)
    store, go_on = TensorStore(cache, "x", 4, (2,)), threading.Event()

    def slow():
        assert go_on.wait(30)
        return torch.ones(1, 2)

    cache.write_later(store, [0], slow, 2**28)
    cache.write_later(store, [1], lambda: torch.ones(1, 2), 8)
    cache.write_later(store, [2], lambda: torch.ones(1, 2), 0)
    assert store.present(range(4)) == [False] * 4
    go_on.set()
    cache.finish()
    assert store.present(range(4)) == [True, False, True, False]
    cache.write_later(store, [1], lambda: torch.ones(1, 2), 8)
    cache.finish()
    assert store.present(range(4)) == [True, True, True, False]


def test_trouble_of_the_thread_is_said_once(tmp_path):
    said = list[str]()
    cache = CacheFolder(tmp_path, say=said.append)
    store = TensorStore(cache, "x", 4, (2,))

    def broken():
        raise RuntimeError("the device is lost")

    cache.write_later(store, [0], broken, 8)
    cache.write_later(store, [1], broken, 8)
    cache.finish()
    assert len(said) == 1 and "the device is lost" in said[0] and not cache.usable
