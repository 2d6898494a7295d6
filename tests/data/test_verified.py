"""What was found sound is not looked at again, unless it changes."""

import pytest

from core.errors import UserError
from data import index as module
from data.index import ClipIndex
from tests.support.trees import png_tree

FRAME = "processed_frames2/S1/open_jam/1/rgb/rgb0003.png"


@pytest.fixture
def tree(tmp_path):
    return png_tree(tmp_path / "tree")


def looks(monkeypatch) -> list[int]:
    made: list[int] = []
    look = module.header_faults

    def counted(*arguments, **named):
        made.append(1)
        return look(*arguments, **named)

    monkeypatch.setattr(module, "header_faults", counted)
    return made


def test_one_look_for_the_same_images(tree, tmp_path, monkeypatch):
    made, memory = looks(monkeypatch), tmp_path / "memory"
    for _ in range(3):
        ClipIndex.from_tree(tree).verify(("frames",), memory=memory)
    assert len(made) == 1
    ClipIndex.from_tree(tree).verify(("frames", "maps"), memory=memory)
    assert len(made) == 2, "maps were not looked at yet"
    ClipIndex.from_tree(tree).verify(("frames",))
    assert len(made) == 3, "nothing is remembered without a folder"


def test_a_change_is_looked_at(tree, tmp_path):
    memory = tmp_path / "memory"
    ClipIndex.from_tree(tree).verify(memory=memory)
    (tree / FRAME).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match="rgb0003.png: empty file"):
            ClipIndex.from_tree(tree).verify(memory=memory)


def test_a_folder_that_cannot_be_written_does_no_harm(tree, tmp_path, monkeypatch):
    made = looks(monkeypatch)
    (tmp_path / "memory").write_text("")
    for _ in range(2):
        ClipIndex.from_tree(tree).verify(memory=tmp_path / "memory")
    assert len(made) == 2
