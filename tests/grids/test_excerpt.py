"""A part of a data set: every user and every class that a division by user needs, and nothing copied."""

import pytest

from core.errors import UserError
from data.clips import KINDS
from data.image_folder import PictureIndex
from data.index import ClipIndex
from data.split import check_split
from grids.excerpt import Excerpt, make_excerpt
from tests.support.trees import jpg_tree, png_tree, save, texture

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


def test_how_much_more_there_is(tmp_path):
    tree = png_tree(tmp_path / "whole", LENGTHS, maps=False, flow=False)
    excerpt = make_excerpt(tree, 8, tmp_path / "part")
    assert excerpt.times(["S1"]) == 9 / 2 and excerpt.times(["S2"]) == 4 / 2
    assert excerpt.times(["S1", "S3", "S4"]) == 15 / 6
    assert excerpt.times([]) == excerpt.times(["nobody"]) == 19 / 8


def test_all_of_it_where_a_part_would_not_do(tmp_path):
    tree = png_tree(tmp_path / "whole", LENGTHS, maps=False, flow=False)
    few = make_excerpt(tree, 19, tmp_path / "part")
    assert few.path == tmp_path / "part" and few.part.total() == 18, "one action is one user's alone"
    alone = {"S1/close_jam/1": 2, "S1/open_jam/1": 2, "S2/open_jam/1": 2}
    odd = png_tree(tmp_path / "odd", alone, maps=False, flow=False)
    assert make_excerpt(odd, 1, tmp_path / "none").path == odd
    assert make_excerpt(odd, 1, tmp_path / "none").times(["S1"]) == 1
    assert not (tmp_path / "none").exists()


def test_pictures_and_files(tmp_path):
    for name in ("bread", "jam", "milk"):
        for number in range(6):
            save(tmp_path / "pictures" / name / f"{number}.png", texture(name, number))
    excerpt = make_excerpt(tmp_path / "pictures", 9, tmp_path / "part")
    assert PictureIndex.from_folder(excerpt.path).labels == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert excerpt.times(["S2"]) == excerpt.times([]) == 2
    assert len(PictureIndex.from_folder(make_excerpt(tmp_path / "pictures", 1, tmp_path / "two").path)) == 6
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"1")
    assert make_excerpt(weights, 8, tmp_path / "file") == Excerpt(weights)
    assert make_excerpt(weights, 8, tmp_path / "file").times([]) == 1
    with pytest.raises(UserError, match="no such folder or file"):
        make_excerpt(tmp_path / "nowhere", 8, tmp_path / "part")
