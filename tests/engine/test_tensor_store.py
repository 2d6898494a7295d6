"""The store gives back what was written, to everyone, and nothing else."""

import os

import pytest
import torch

from engine.errors import UserError
from engine.tensor_store import TensorStore


def test_what_is_written_is_read_by_a_second_reader(tmp_path):
    first = TensorStore.open(tmp_path, {"weights": "a"}, 10, (2, 3))
    second = TensorStore.open(tmp_path, {"weights": "a"}, 10, (2, 3))
    values = torch.randn(2, 2, 3)
    assert first.present([7, 2]) == [False, False]
    first.write(7, values[0])
    first.write(2, values[1])
    assert second.present([0, 2, 7, 9]) == [False, True, True, False]
    assert torch.equal(second.read([7, 2, 7]), values[[0, 1, 0]])
    assert first.bytes_at_most == 10 * 24


@pytest.mark.parametrize("other", [({"weights": "b"}, 10, (2, 3)), ({"weights": "a"}, 10, (3, 2))])
def test_another_identity_is_another_store(tmp_path, other):
    TensorStore.open(tmp_path, {"weights": "a"}, 10, (2, 3)).write(1, torch.zeros(2, 3))
    assert TensorStore.open(tmp_path, *other).present([1]) == [False]


def test_a_slot_without_its_mark_is_not_there(tmp_path):
    """What a process leaves that is killed between the values and the mark."""
    store = TensorStore.open(tmp_path, "x", 4, (2,))
    os.pwrite(store._values, b"\1" * 8, 8)
    assert store.present([1]) == [False]


def test_empty_slots_take_no_room(tmp_path):
    store = TensorStore.open(tmp_path, "x", 1000, (1024,))
    store.write(999, torch.ones(1024))
    [values] = tmp_path.glob("*/values.f32")
    assert values.stat().st_blocks * 512 < 100 * 1024


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    store = TensorStore.open(tmp_path, "x", 4, (2,))
    store.write(0, torch.tensor([1.0, 2.0]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match="No space left"):
        store.write(1, torch.zeros(2))
    assert store.present([0, 1]) == [True, False]
    assert store.read([0]).tolist() == [[1.0, 2.0]]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--cache"):
        TensorStore.open(tmp_path / "file", "x", 4, (2,))
