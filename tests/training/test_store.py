"""A store returns what was written, to every process, and nothing else; trouble with it is only reported."""

import os
import shutil
from collections import namedtuple

import pytest
import torch

from core.errors import UserError
from training.cache import CacheFlags
from training.cache import store as store_module
from training.cache.store import CacheFolder, TensorStore


def store(path, identity="x", slots=4, shape=(2,), **cache) -> TensorStore:
    return TensorStore(CacheFolder(path, **cache), identity, slots, shape)


def test_what_is_written_is_read_by_a_second_reader(tmp_path):
    first, second = (store(tmp_path, {"weights": "a"}, 10, (2, 3)) for _ in range(2))
    values = torch.randn(2, 2, 3)
    assert first.present([7, 2]) == [False, False]
    first.write(7, values[0])
    first.write(2, values[1])
    assert second.present([0, 2, 7, 9]) == [False, True, True, False]
    read, good = second.read([7, 2, 7])
    assert torch.equal(read, values[[0, 1, 0]]) and good == [True] * 3
    assert first.bytes_at_most == 10 * 24


@pytest.mark.parametrize(
    "other",
    [
        {"identity": {"weights": "b"}},
        {"shape": (3, 2)},
        {"slots": 9},
        {"precision": "float16"},
    ],
)
def test_another_identity_is_another_store(tmp_path, other):
    same = {"identity": {"weights": "a"}, "slots": 10, "shape": (2, 3)}
    store(tmp_path, **same).write(1, torch.zeros(2, 3))
    assert store(tmp_path, **same).present([1]) == [True]
    assert store(tmp_path, **same | other).present([1]) == [False]


def test_what_other_versions_made_is_not_looked_at(tmp_path, monkeypatch):
    store(tmp_path).write(1, torch.zeros(2))
    monkeypatch.setattr(store_module, "_MADE_BY", ["another torch"])
    assert store(tmp_path).present([1]) == [False]


def test_a_slot_without_its_mark_is_not_there(tmp_path, monkeypatch):
    """What a process leaves that is killed between the values and the mark."""
    one, write = store(tmp_path), os.pwrite

    def killed(*arguments):
        monkeypatch.setattr(os, "pwrite", None)
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", killed)
    with pytest.raises(TypeError):
        one.write(1, torch.ones(2))
    assert one.path.stat().st_size == 4 * 8 + 2 * 8, "the values were written"
    assert one.present([1]) == [False] and one.read([1])[1] == [False]


def test_zeros_are_values(tmp_path):
    one = store(tmp_path)
    one.write(0, torch.zeros(2))
    assert one.present([0, 1]) == [True, False] and one.read([0])[1] == [True]


def test_half_precision_rounds_once(tmp_path):
    one = store(tmp_path, precision="float16")
    values = torch.tensor([1 / 3, 2000.7])
    one.write(2, values)
    read, good = one.read([2])
    assert good == [True] and read.dtype == torch.float32
    assert torch.equal(read[0], values.half().float()) and torch.equal(read[0], one.rounded(values))
    assert one.bytes_at_most == 4 * 4


def test_bytes_stay_bytes(tmp_path):
    one = TensorStore(CacheFolder(tmp_path, "float16"), "pixels", 2, (2, 3), "uint8")
    pixels = torch.tensor([[0, 1, 127], [128, 254, 255]], dtype=torch.uint8)
    one.write(1, pixels)
    read, good = one.read([1])
    assert good == [True] and read.dtype == torch.uint8 and torch.equal(read[0], pixels)
    assert one.bytes_at_most == 2 * 6


def test_exact_values_in_a_folder_that_rounds(tmp_path):
    one = TensorStore(CacheFolder(tmp_path, "float16"), "scores", 1, (2,), "float32")
    values = torch.tensor([1 / 3, 2000.7])
    one.write(0, values)
    assert torch.equal(one.read([0])[0][0], values) and torch.equal(one.rounded(values), values)


@pytest.mark.parametrize("damage", ["flipped bit", "cut short"])
def test_damage_is_noticed(tmp_path, damage):
    one = store(tmp_path)
    one.write(0, torch.ones(2))
    one.write(3, torch.ones(2))
    if damage == "cut short":
        os.truncate(one.path, one.path.stat().st_size - 2)
    else:
        with one.path.open("r+b") as file:
            file.seek(-7, os.SEEK_END)
            file.write(b"\1")
    assert one.read([0, 3])[1] == [True, False]
    one.write(3, torch.full((2,), 5.0))
    read, good = one.read([0, 3])
    assert good == [True, True] and read.tolist() == [[1, 1], [5, 5]]


def test_empty_slots_take_no_room(tmp_path):
    one = store(tmp_path, slots=1000, shape=(1024,))
    one.write(999, torch.ones(1024))
    assert one.path.stat().st_blocks * 512 < 100 * 1024 < one.bytes_at_most < one.path.stat().st_size


def test_a_full_disk_is_said_once_and_loses_nothing(tmp_path, monkeypatch, capsys):
    one = store(tmp_path)
    one.write(0, torch.tensor([1.0, 2.0]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    one.write(1, torch.zeros(2))
    one.write(2, torch.zeros(2))
    assert capsys.readouterr().out.count("No space left") == 1
    assert one.present([0, 1]) == [True, False]
    assert one.read([0])[0].tolist() == [[1.0, 2.0]]


def test_an_almost_full_disk_is_left_alone(tmp_path, monkeypatch, capsys):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**29))
    one = store(tmp_path)
    one.write(0, torch.ones(2))
    assert one.present([0]) == [False] and "less than 1 GiB" in capsys.readouterr().out


def test_the_bound_holds_for_all_stores_of_the_folder_together(tmp_path, capsys):
    cache = CacheFolder(tmp_path, limit_gib=10 * 4096 / 2**30)
    stores = [TensorStore(cache, name, 100, (1024,)) for name in ("a", "b")]
    for slot in range(20):
        for one in stores:
            one.write(slot, torch.ones(1024))
    assert sum(sum(one.present(range(100))) for one in stores) == 10
    assert capsys.readouterr().out.count("--cache-gib") == 1
    later = TensorStore(CacheFolder(tmp_path, limit_gib=10 * 4096 / 2**30), "c", 10, (1024,))
    later.write(0, torch.ones(1024))
    assert later.present([0]) == [False], "what lies there from before counts too"


def test_a_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    one = store(tmp_path / "file")
    one.write(0, torch.ones(2))
    assert one.present([0]) == [False] and one.read([0])[1] == [False]
    assert "can't be written" in capsys.readouterr().out


def test_flags_that_need_a_folder():
    with pytest.raises(UserError, match="--cache FOLDER"):
        CacheFlags(cache_precision="float16")
    assert CacheFlags().open_cache() is None


def test_files_of_other_formats_are_left_alone_and_counted(tmp_path):
    old = tmp_path / "0123" / "values.bin"
    old.parent.mkdir()
    old.write_bytes(bytes(8192))
    (tmp_path / "frames").write_bytes(b"no folder")
    one = store(tmp_path, limit_gib=12000 / 2**30)
    one.write(0, torch.ones(2))
    assert one.present([0]) == [False], "the old files take all the space"
    one = store(tmp_path)
    one.write(0, torch.ones(2))
    assert one.present([0]) == [True] and old.read_bytes() == bytes(8192)


def test_a_damaged_file_is_an_empty_store(tmp_path):
    one = store(tmp_path)
    one.path.write_bytes(b"\xff" * 100)
    assert one.read([0, 3])[1] == [False, False]
    one.write(0, torch.ones(2))
    assert one.read([0, 3])[1] == [True, False]


def test_a_fact_is_remembered_by_every_process(tmp_path, capsys):
    first, second = (CacheFolder(tmp_path) for _ in range(2))
    assert not first.knows("sound")
    first.remember("sound")
    assert second.knows("sound") and not second.knows("broken")
    (tmp_path / "file").write_text("")
    third = CacheFolder(tmp_path / "file")
    third.remember("sound")
    assert not third.knows("sound") and "can't be written" in capsys.readouterr().out
