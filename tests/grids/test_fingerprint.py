"""What counts as the same data: content by names and sizes, wherever it lies."""

import shutil

import numpy as np
import pytest

from core.errors import UserError
from grids.fingerprint import fingerprint
from tests.support.trees import png_tree, save, texture


def test_a_tree_by_its_kinds_of_images(tmp_path):
    tree = tmp_path / "tree"
    png_tree(tree)
    before = fingerprint(tree)
    assert set(before) == {"frames", "maps", "flow_x", "flow_y"}
    (tree / "processed_frames2" / ".DS_Store").touch()
    assert fingerprint(shutil.move(tree, tmp_path / "moved")) == before
    tree = tmp_path / "moved"
    shutil.rmtree(tree / "processed_frames2/S1/open_jam/1/mmaps")
    after = fingerprint(tree)
    assert after["maps"] != before["maps"] and {**after, "maps": 0} == {**before, "maps": 0}
    for folder in tree.glob("processed_frames2/*/*/*/mmaps"):
        shutil.rmtree(folder)
    assert fingerprint(tree) == {kind: before[kind] for kind in ("frames", "flow_x", "flow_y")}


def test_other_frames_under_the_same_names(tmp_path):
    png_tree(tmp_path)
    before = fingerprint(tmp_path)
    frame = tmp_path / "processed_frames2/S2/open_jam/1/rgb/rgb0003.png"
    save(frame, np.zeros((32, 48, 3)))
    after = fingerprint(tmp_path)
    assert after["frames"] != before["frames"] and after["maps"] == before["maps"]


def test_pictures_and_files(tmp_path):
    for name in ("bread/1.png", "jam/1.png", "jam/2.png"):
        save(tmp_path / "pictures" / name, texture("jam", 1))
    before = fingerprint(tmp_path / "pictures")
    shutil.copytree(tmp_path / "pictures", tmp_path / "again")
    assert fingerprint(tmp_path / "again") == before and set(before) == {"pictures"}
    (tmp_path / "again/jam/2.png").rename(tmp_path / "again/bread/2.png")
    assert fingerprint(tmp_path / "again") != before
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    assert fingerprint(one) != fingerprint(other) and set(fingerprint(one)) == {"file"}


def test_nothing_there_and_the_folder_below(tmp_path):
    with pytest.raises(UserError, match="no such folder or file: .*none"):
        fingerprint(tmp_path / "none")
    with pytest.raises(UserError, match=f"give the folder above it, {tmp_path}"):
        fingerprint(png_tree(tmp_path) / "processed_frames2")
