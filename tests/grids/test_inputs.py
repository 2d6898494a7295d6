"""Which data an input is, wherever it lies, and a part of it on which anything can be trained."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from data.clips import KINDS
from data.index import ClipIndex
from data.pictures import PictureIndex
from data.split import check_split
from grids.inputs import Excerpt, Input, make_excerpt, record_inputs
from tests.support.trees import jpg_tree, png_tree, save, texture


def fingerprint(path: Path) -> dict[str, str]:
    return dict(Input.open(path).fingerprint)


def test_a_tree_has_a_fingerprint_for_each_kind_of_images(tmp_path):
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


def test_the_content_of_pictures_and_files(tmp_path):
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


def test_an_input_that_has_changed_is_named(tmp_path, capsys):
    clips = Input(tmp_path, {"frames": "f1"})
    record_inputs(tmp_path, {"clips": clips})
    record_inputs(tmp_path, {"clips": Input(tmp_path, {"frames": "f1", "maps": "m1"}), "pictures": clips})
    assert capsys.readouterr().out == "", "maps were added; nothing has changed"
    record_inputs(tmp_path, {"clips": Input(tmp_path, {"frames": "f2", "maps": "m1"})})
    assert "the input clips has changed since the last start" in capsys.readouterr().out


USERS = ("S1", "S2", "S3", "S4")
# close, open and pour of all users, S1 with three each; take of one user alone.
LENGTHS = {
    f"{user}/{action}/{number}": 3
    for user in USERS
    for action in ("close_jam", "open_jam", "pour_jam")
    for number in range(1, 4 if user == "S1" else 2)
} | {"S2/take_jam/1": 3}


@pytest.mark.parametrize("build", [png_tree, jpg_tree])
@pytest.mark.parametrize("items, clips", [(8, 8), (9, 12), (14, 14)])
def test_every_user_has_every_action_that_is_in(tmp_path, build, items, clips):
    whole = ClipIndex.from_tree(build(tmp_path / "whole", LENGTHS))
    excerpt = make_excerpt(whole.root, items, tmp_path / "part")
    part = ClipIndex.from_tree(excerpt.path)
    assert len(part) == clips and "take_jam" not in part.class_names
    assert set(part.keys) <= set(whole.keys)
    for action in part.class_names:
        assert part.of_actions([action]).users == USERS
    check_split(part, ("S1", "S3", "S4"), ("S2",))
    for clip, before in zip(part.clips, whole.find(part.keys).clips, strict=True):
        for kind in KINDS:
            found, original = clip.series(kind), before.series(kind)
            assert (found is None) == (original is None)
            if found is not None and original is not None:
                assert [path.resolve() for path in found.paths] == list(original.paths)
    part.verify([kind for kind in KINDS if part.clips[0].series(kind) is not None])


def test_actions_that_trainings_name_are_in_and_two_others(tmp_path):
    tree = png_tree(tmp_path / "whole", LENGTHS, maps=False, flow=False)
    excerpt = make_excerpt(tree, 8, tmp_path / "part", {"pour_jam", "take_jam", "of another input"})
    part = ClipIndex.from_tree(excerpt.path)
    assert part.class_names == ("close_jam", "open_jam", "pour_jam", "take_jam")
    assert part.of_actions(["pour_jam"]).users == USERS


def test_how_many_times_more_the_whole_has(tmp_path):
    tree = png_tree(tmp_path / "whole", LENGTHS, maps=False, flow=False)
    excerpt = make_excerpt(tree, 8, tmp_path / "part")
    assert excerpt.ratio(["S1"]) == 9 / 2 and excerpt.ratio(["S2"]) == 4 / 2
    assert excerpt.ratio(["S1", "S3", "S4"]) == 15 / 6
    assert excerpt.ratio([]) == excerpt.ratio(["nobody"]) == 19 / 8


def test_all_of_it_where_a_part_would_not_do(tmp_path):
    tree = png_tree(tmp_path / "whole", LENGTHS, maps=False, flow=False)
    few = make_excerpt(tree, 19, tmp_path / "part")
    assert few.path == tmp_path / "part" and few.part.total() == 18, "one action is one user's alone"
    alone = {"S1/close_jam/1": 2, "S1/open_jam/1": 2, "S2/open_jam/1": 2}
    odd = png_tree(tmp_path / "odd", alone, maps=False, flow=False)
    assert make_excerpt(odd, 1, tmp_path / "none").path == odd
    assert make_excerpt(odd, 1, tmp_path / "none").ratio(["S1"]) == 1
    assert not (tmp_path / "none").exists()


def test_a_part_of_pictures_and_of_a_file(tmp_path):
    for name in ("bread", "jam", "milk"):
        for number in range(6):
            save(tmp_path / "pictures" / name / f"{number}.png", texture(name, number))
    excerpt = make_excerpt(tmp_path / "pictures", 9, tmp_path / "part")
    assert PictureIndex.from_folder(excerpt.path).labels == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert excerpt.ratio(["S2"]) == excerpt.ratio([]) == 2
    assert len(PictureIndex.from_folder(make_excerpt(tmp_path / "pictures", 1, tmp_path / "two").path)) == 6
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"1")
    assert make_excerpt(weights, 8, tmp_path / "file") == Excerpt(weights)
    assert make_excerpt(weights, 8, tmp_path / "file").ratio([]) == 1
    with pytest.raises(UserError, match="no such folder or file"):
        make_excerpt(tmp_path / "nowhere", 8, tmp_path / "part")
