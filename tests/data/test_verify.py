"""Images that were found sound are not opened again, unless they change."""

import pytest

from core.errors import UserError
from data import index as module
from data.index import ClipIndex
from tests.support.trees import png_tree

FRAME = "processed_frames2/S1/open_jam/1/rgb/rgb0003.png"


class Notes(set[str]):
    """A memory that lasts as long as the test."""

    knows = set.__contains__
    remember = set.add


@pytest.fixture
def tree(tmp_path):
    return png_tree(tmp_path / "tree")


def test_one_look_for_the_same_images(tree, monkeypatch):
    looks, look, memory = [], module.header_faults, Notes()

    def counted(*arguments, **named):
        looks.append(1)
        return look(*arguments, **named)

    monkeypatch.setattr(module, "header_faults", counted)
    for _ in range(3):
        ClipIndex.from_tree(tree).verify(("frames",), memory=memory)
    assert len(looks) == 1
    ClipIndex.from_tree(tree).verify(("frames", "maps"), memory=memory)
    assert len(looks) == 2, "maps were not looked at yet"
    ClipIndex.from_tree(tree).verify(("frames",))
    assert len(looks) == 3, "nothing is remembered without a memory"


def test_a_change_is_looked_at(tree):
    memory = Notes()
    ClipIndex.from_tree(tree).verify(memory=memory)
    (tree / FRAME).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match="rgb0003.png: empty file"):
            ClipIndex.from_tree(tree).verify(memory=memory)
