import csv
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from core.errors import UserError
from data.index import ClipIndex
from tests.support.trees import HEIGHT, LENGTHS, WIDTH, jpg_tree, png_tree, save, texture

MANIFEST = Path(__file__).parents[3] / "shared" / "gtea61_manifest.csv"
ALL_KINDS = ("frames", "maps", "flow_x", "flow_y")


def one_note(index, words):
    found = [note for note in index.notes if words in note]
    assert len(found) == 1, index.notes
    return found[0]


@pytest.mark.parametrize("top", ["processed_frames2", "processed_frames"])
def test_png_tree(tmp_path, top):
    index = ClipIndex.from_tree(png_tree(tmp_path, top=top))
    assert list(index.keys) == sorted(LENGTHS)
    assert [clip.num_frames for clip in index.clips] == [LENGTHS[key] for key in index.keys]
    assert index.class_names == ("close_jam", "open_jam") and index.labels == (0, 1, 1, 0, 1)
    assert index.users == ("S1", "S2") and index.notes == ()
    clip = index.clips[0]
    assert clip.frames.path(3) == tmp_path / top / "S1/close_jam/1/rgb/rgb0003.png"
    assert clip.maps.path(3) == tmp_path / top / "S1/close_jam/1/mmaps/map0003.png"
    assert clip.flow_x.path(3) == tmp_path / "flow_x_processed/S1/close_jam/1/flow_x_00003.png"
    assert clip.flow_y.path(3) == tmp_path / "flow_y_processed/S1/close_jam/1/flow_y_00003.png"
    assert all(path.is_file() for kind in ALL_KINDS for path in clip.series(kind).paths)
    index.verify(ALL_KINDS)


def test_jpg_tree(tmp_path):
    index = ClipIndex.from_tree(jpg_tree(tmp_path))
    assert list(index.keys) == sorted(LENGTHS) and index.notes == ()
    clip = index.clips[0]
    assert clip.frames.path(3) == tmp_path / "frames/S1/close_jam/1/image_00003.jpg"
    assert clip.flow_y.path(3) == tmp_path / "flow_y/S1/close_jam/1/flow_y_00003.jpg"
    assert clip.maps is None
    index.verify(("frames", "flow_x", "flow_y"))


def test_of_two_trees_the_canonical_one_is_read_and_the_other_named(tmp_path):
    jpg_tree(tmp_path, {"S1/a_x/1": 1})  # frames, flow_x and flow_y
    index = ClipIndex.from_tree(png_tree(tmp_path))
    assert list(index.keys) == sorted(LENGTHS)
    assert one_note(index, "not part of the tree").endswith("3 (such as flow_x)")


def test_a_tree_of_frames_alone(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, maps=False, flow=False))
    assert index.clips[0].maps is None and index.clips[0].num_flow == 0
    index.verify()
    with pytest.raises(UserError, match=r"no maps.*data\.motion"):
        index.verify(("frames", "maps"))


def test_instances_are_in_natural_order(tmp_path):
    index = ClipIndex.from_tree(
        png_tree(tmp_path, {f"S1/stir/{n}": 2 for n in (1, 2, 10, 11, 9)}, flow=False)
    )
    assert [clip.instance for clip in index.clips] == ["1", "2", "9", "10", "11"]


# The traps met in the wild.


def test_system_files_and_strays_are_survived_and_said(tmp_path):
    png_tree(tmp_path)
    plain = ClipIndex.from_tree(tmp_path)
    top = tmp_path / "processed_frames2"
    for place in (top, top / "S1", top / "S1/close_jam", top / "S1/close_jam/1/rgb"):
        (place / ".DS_Store").write_bytes(b"x")
    for place in (top / "S1", top / "S1/close_jam", top / "S1/close_jam/1/mmaps"):
        (place / "readme.txt").write_text("x")
    (tmp_path / "flow_x_processed/S1/close_jam/1/.DS_Store").write_bytes(b"x")
    index = ClipIndex.from_tree(tmp_path)
    assert index.clips == plain.clips
    assert "hidden files: 5 (" in one_note(index, "hidden files")
    assert "not part of the tree: 3 (" in one_note(index, "not part of the tree")


def test_duplicates_are_passed_over_at_every_level(tmp_path):
    png_tree(tmp_path)
    plain = ClipIndex.from_tree(tmp_path)
    flow = tmp_path / "flow_x_processed/S1/close_jam/1"
    shutil.copy(flow / "flow_x_00007.png", flow / "flow_x_00007(1).png")
    top = tmp_path / "processed_frames2"
    rgb = top / "S1/close_jam/1/rgb"
    shutil.copy(rgb / "rgb0001.png", rgb / "rgb0001 (2).png")
    shutil.copytree(top / "S1/close_jam/1", top / "S1/close_jam/1(1)")
    shutil.copytree(top / "S1/close_jam", top / "S1/close_jam (1)")
    shutil.copytree(top / "S2", top / "S2 - Copy")
    index = ClipIndex.from_tree(tmp_path)
    assert index.clips == plain.clips and index.class_names == plain.class_names
    assert "duplicates: 5 (" in one_note(index, "duplicates")


def test_names_are_matched_strictly(tmp_path):
    png_tree(tmp_path)
    plain = ClipIndex.from_tree(tmp_path)
    rgb = tmp_path / "processed_frames2/S1/close_jam/1/rgb"
    for name in (
        "rgb001.png",
        "rgb00010.png",
        "rgb0010.jpg",
        "Rgb0010.png",
        "rgb0010.png.part",
        "xrgb0010.png",
    ):
        (rgb / name).write_bytes(b"x")
    index = ClipIndex.from_tree(tmp_path)
    assert index.clips == plain.clips
    assert "6 (" in one_note(index, "not part of the tree")


def test_labels_do_not_depend_on_folders_that_a_user_lacks_or_has_too_many_of(tmp_path):
    png_tree(tmp_path, {"S1/b_x/1": 2, "S1/c_x/1": 2, "S2/a_x/1": 2, "S2/c_x/1": 2})
    (tmp_path / "processed_frames2/S1/0_stray").mkdir()
    index = ClipIndex.from_tree(tmp_path)
    assert index.class_names == ("a_x", "b_x", "c_x")
    for user in ("S1", "S2"):
        chosen = index.select([user])
        assert chosen.class_names == index.class_names and chosen.users == (user,)
        assert all(chosen.class_names[clip.label] == clip.action for clip in chosen.clips)
    assert "S1/0_stray" in one_note(index, "not part of the tree")


def test_class_names_with_commas_sort_as_the_published_ids(tmp_path):
    names = [
        "pour_coffee,spoon,cup",
        "pour_honey,bread",
        "pour_honey,cup",
        "put_bread,bread",
        "put_bread,cheese,bread",
    ]
    index = ClipIndex.from_tree(png_tree(tmp_path, {f"S1/{name}/1": 1 for name in reversed(names)}))
    assert index.class_names == tuple(names)


def test_a_clip_without_its_first_map_takes_the_nearest(tmp_path):
    png_tree(tmp_path)
    (tmp_path / "processed_frames2/S2/open_jam/1/mmaps/map0001.png").unlink()
    index = ClipIndex.from_tree(tmp_path)
    assert "map 1, replaced by the nearest map: 1 (such as S2/open_jam/1)" in one_note(index, "map 1")
    index.verify(ALL_KINDS)
    maps = index.find(["S2/open_jam/1"]).clips[0].maps
    assert [maps.nearest(number).name for number in (1, 2, 7, 9)] == [
        "map0002.png",
        "map0002.png",
        "map0007.png",
        "map0007.png",
    ]


def test_flow_one_image_short_is_accepted_and_said_once(tmp_path):
    png_tree(tmp_path)
    for axis in "xy":
        for key in ("S1/close_jam/1/flow_{}_00009.png", "S1/open_jam/1/flow_{}_00008.png"):
            (tmp_path / f"flow_{axis}_processed" / key.format(axis)).unlink()
    index = ClipIndex.from_tree(tmp_path)
    index.verify(ALL_KINDS)
    assert "one image early, replaced by the last one: 2 (" in one_note(index, "flow_x")
    assert [clip.num_flow for clip in index.clips[:2]] == [8, 7]


# Faults: one message that names the thing and the way on.


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*missing"):
        ClipIndex.from_tree(tmp_path / "missing")


@pytest.mark.parametrize("inside", ["", "processed_frames2", "frames/S1/open_jam"])
def test_empty_trees(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UserError, match=f"{tmp_path}.*(data.prepare|image_00001.jpg|rgb0001.png)"):
        ClipIndex.from_tree(tmp_path)


def test_the_folder_below_or_above_is_suggested(tmp_path):
    png_tree(tmp_path / "GTEA61")
    with pytest.raises(UserError, match="did you mean .*GTEA61"):
        ClipIndex.from_tree(tmp_path)
    with pytest.raises(UserError, match="give the folder above it, .*GTEA61$"):
        ClipIndex.from_tree(tmp_path / "GTEA61/processed_frames2")


def test_a_gap_in_the_frames(tmp_path):
    png_tree(tmp_path)
    (tmp_path / "processed_frames2/S1/close_jam/1/rgb/rgb0004.png").unlink()
    with pytest.raises(
        UserError, match=r"S1/close_jam/1/rgb/rgb0004\.png: missing, a gap.*copy the clip again"
    ):
        ClipIndex.from_tree(tmp_path)


def shift(root, key, by, kinds=("frames", "maps", "flow_x", "flow_y")):
    """Number the images of a clip from elsewhere."""
    clip = ClipIndex.from_tree(root).find([key]).clips[0]
    for kind in kinds:
        series = clip.series(kind)
        for path in series.paths[:: -1 if by > 0 else 1]:
            number = int(path.stem[-4:]) + by
            path.rename(path.with_name(series.pattern.name(number)))


@pytest.mark.parametrize("by", [-1, 99])
@pytest.mark.parametrize("kinds", [ALL_KINDS, ("frames",), ("flow_x", "flow_y"), ("frames", "maps")])
def test_a_run_without_gaps_is_read_whatever_its_first_number(tmp_path, by, kinds):
    png_tree(tmp_path)
    before = ClipIndex.from_tree(tmp_path).clips[1]
    pixels = {kind: [path.read_bytes() for path in before.series(kind).paths] for kind in ALL_KINDS}
    shift(tmp_path, before.key, by, kinds)
    index = ClipIndex.from_tree(tmp_path)
    index.verify(ALL_KINDS)
    assert one_note(index, "numbered from elsewhere than 1").endswith("1 (such as S1/open_jam/1)")
    clip = index.clips[1]
    for kind in ALL_KINDS:
        assert clip.series(kind).numbers == before.series(kind).numbers
        read = [clip.series(kind).path(n).read_bytes() for n in range(1, 9)]
        assert read == pixels[kind]


@pytest.mark.parametrize("first", [1, 101])
def test_maps_that_lack_their_first_keep_their_frames(tmp_path, first):
    """As those of 18 clips of GTEA61: map 2 belongs to frame 2, wherever the frames' numbers begin."""
    png_tree(tmp_path)
    frames = tmp_path / "processed_frames2/S1/open_jam/1/rgb"
    for path in sorted(frames.glob("*.png"), reverse=True):
        path.rename(frames / f"rgb{int(path.stem[3:]) + first - 1:04}.png")
    (maps,) = (tmp_path / "processed_frames2/S1/open_jam/1").glob("mmaps*")
    lost, second = sorted(maps.iterdir())[:2]
    lost.unlink()
    clip = ClipIndex.from_tree(tmp_path).find(["S1/open_jam/1"]).clips[0]
    assert clip.maps.numbers[0] == 2 and clip.maps.path(2) == second


def test_a_gap_stays_a_fault_wherever_the_numbering_begins(tmp_path):
    png_tree(tmp_path)
    shift(tmp_path, "S1/open_jam/1", 99)
    (tmp_path / "processed_frames2/S1/open_jam/1/rgb/rgb0103.png").unlink()
    with pytest.raises(UserError, match=r"rgb0103\.png: missing, a gap"):
        ClipIndex.from_tree(tmp_path)


def test_a_frame_before_the_first_flow_image_is_no_guess(tmp_path):
    png_tree(tmp_path)
    rgb = tmp_path / "processed_frames2/S1/close_jam/1/rgb"
    shutil.copy(rgb / "rgb0001.png", rgb / "rgb0000.png")
    index = ClipIndex.from_tree(tmp_path)
    with pytest.raises(UserError, match=r"flow_x_00000\.png: missing, a gap"):
        index.verify(("flow_x",))


def test_names_that_look_alike_are_noted(tmp_path):
    index = ClipIndex.from_tree(
        png_tree(tmp_path, {f"S1/{name}/1": 1 for name in ("Stir", "stir", "stir\u200b", "put_a")})
    )
    assert "classes whose names look alike" in one_note(index, "look alike")
    assert "'Stir' and 'stir' and" in one_note(index, "look alike")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_two_forms_are_one_class(tmp_path, form):
    composed, decomposed = "r\u00f6sten", "ro\u0308sten"
    png_tree(tmp_path / "a", {f"S1/{composed}/1": 3, f"S2/{decomposed}/1": 3})
    flow = tmp_path / "a/flow_x_processed/S2"
    (flow / decomposed).rename(flow / unicodedata.normalize(form, composed))
    index = ClipIndex.from_tree(tmp_path / "a")
    assert index.class_names == (composed,) and index.labels == (0, 0)
    index.verify(ALL_KINDS)
    assert index.with_classes([decomposed]).labels == (0, 0)
    assert index.find([f"S2/{decomposed}/1"]).keys == (f"S2/{composed}/1",)
    png_tree(tmp_path / "a", {f"S2/{composed}/1": 3})
    with pytest.raises(UserError, match="a second clip S2/"):
        ClipIndex.from_tree(tmp_path / "a")


def test_a_clip_without_frames_is_not_dropped_in_silence(tmp_path):
    png_tree(tmp_path, maps=False, flow=False)
    shutil.rmtree(tmp_path / "processed_frames2/S1/open_jam/2/rgb")
    with pytest.raises(UserError, match="S1/open_jam/2/rgb: the clip has no frames"):
        ClipIndex.from_tree(tmp_path)


def test_several_faults_are_counted(tmp_path):
    png_tree(tmp_path)
    for key in ("S1/close_jam/1", "S2/open_jam/1"):
        (tmp_path / "processed_frames2" / key / "rgb/rgb0001.png").unlink()
    with pytest.raises(UserError, match=r"S1/close_jam.*\(1 more such faults: .*data.check"):
        ClipIndex.from_tree(tmp_path)


RGB_3 = "processed_frames2/S1/open_jam/1/rgb/rgb0003.png"


@pytest.mark.parametrize(
    "content,problem",
    [
        (b"", "empty file, 0 bytes"),
        (b"these are no pixels", "no readable PNG or JPEG image"),
        (lambda old: old[: len(old) // 2], "cut off"),
    ],
)
def test_broken_images_are_named_before_training(tmp_path, content, problem):
    path = png_tree(tmp_path) / RGB_3
    path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))
    index = ClipIndex.from_tree(tmp_path)
    with pytest.raises(UserError, match=f"{RGB_3}: .*{problem}"):
        index.verify()
    index.select(["S2"]).verify()


def test_a_cut_off_jpeg_is_named_and_a_padded_one_is_not(tmp_path):
    jpg_tree(tmp_path)
    first = tmp_path / "frames/S1/close_jam/1/image_00001.jpg"
    first.write_bytes(first.read_bytes() + b"\0" * 16)
    ClipIndex.from_tree(tmp_path).verify()
    second = tmp_path / "frames/S1/close_jam/1/image_00002.jpg"
    second.write_bytes(second.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"image_00002\.jpg: the image is cut off"):
        ClipIndex.from_tree(tmp_path).verify()


def test_a_frame_of_another_size(tmp_path):
    png_tree(tmp_path)
    save(tmp_path / RGB_3, texture("other", 1, (WIDTH - 1, HEIGHT)))
    with pytest.raises(UserError, match=f"{RGB_3}: 47x32 pixels, where the clip's other frames have 48x32"):
        ClipIndex.from_tree(tmp_path).verify()


def test_flow_of_another_size_than_the_frames(tmp_path):
    png_tree(tmp_path)
    for number in range(1, 9):
        save(
            tmp_path / f"flow_y_processed/S1/open_jam/1/flow_y_{number:05}.png",
            texture("f", number, (40, 32)),
        )
    index = ClipIndex.from_tree(tmp_path)
    index.verify()
    with pytest.raises(UserError, match="S1/open_jam/1: flow_y of 40x32 pixels.* 48x32"):
        index.verify(("frames", "flow_x", "flow_y"))


def test_faults_of_flow_stop_only_who_reads_flow(tmp_path):
    png_tree(tmp_path)
    for number in (8, 9):
        (tmp_path / f"flow_x_processed/S1/close_jam/1/flow_x_{number:05}.png").unlink()
    shutil.rmtree(tmp_path / "flow_y_processed/S2/open_jam/1")
    index = ClipIndex.from_tree(tmp_path)
    index.verify(("frames", "maps"))
    with pytest.raises(
        UserError, match="flow_x_processed/S1/close_jam/1: ends at number 7.* frames end at 9"
    ):
        index.verify(("flow_x",))
    with pytest.raises(UserError, match="S2/open_jam/1.* no flow_y, but 4 others have"):
        index.verify(("flow_y",))
    index.select(["S2"]).verify(("flow_x",))


def test_a_tree_without_flow_says_how_to_make_it(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, flow=False))
    index.verify(("frames", "maps"))
    with pytest.raises(UserError, match=f"no flow_x and no flow_y images.*data.motion --root {tmp_path}"):
        index.verify(("frames", "flow_x", "flow_y"))


def test_x_without_any_y(tmp_path):
    png_tree(tmp_path)
    shutil.rmtree(tmp_path / "flow_y_processed")
    with pytest.raises(UserError, match="flow_x without any flow_y"):
        ClipIndex.from_tree(tmp_path).verify(("flow_y",))


def test_selecting(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path))
    with pytest.raises(UserError, match="no user S9; its users are S1, S2"):
        index.select(["S1", "S9"])
    assert index.find(["S2/open_jam/1", "S1/open_jam/2"]).keys == ("S2/open_jam/1", "S1/open_jam/2")
    with pytest.raises(UserError, match="no clip S2/open_jam/7; names look like S1/close_jam/1"):
        index.find(["S2/open_jam/7"])
    assert index.subset([4, 0]).keys == ("S2/open_jam/1", "S1/close_jam/1")


def test_labels_of_a_models_classes(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path))
    relabelled = index.with_classes(["open_jam", "stir_cup", "close_jam"])
    assert relabelled.labels == (2, 0, 0, 2, 0)
    with pytest.raises(UserError, match="open_jam"):
        index.with_classes(["close_jam"])


def test_a_tree_of_links_reads_like_the_tree(tmp_path):
    png_tree(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for name in os.listdir(tmp_path / "real"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    index = ClipIndex.from_tree(tmp_path / "linked")
    assert list(index.keys) == sorted(LENGTHS)
    index.verify(ALL_KINDS)


@pytest.mark.skipif(not MANIFEST.is_file(), reason="no ../shared/gtea61_manifest.csv beside the checkout")
def test_the_published_test_user_by_the_manifest(tmp_path):
    with MANIFEST.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["user"] == "S2"]
    for row in rows:
        clip = tmp_path / "processed_frames2/S2" / row["class"] / row["instance"]
        for folder, name, first in (("rgb", "rgb", 1), ("mmaps", "map", int(row["first_map"][3:7]))):
            (clip / folder).mkdir(parents=True)
            for number in range(first, int(row["n_rgb"]) + 1):
                (clip / folder / f"{name}{number:04}.png").touch()
    index = ClipIndex.from_tree(tmp_path)
    assert len(index) == 116 and len(index.class_names) == 61 and index.faults == ()
    lengths = {f"S2/{row['class']}/{row['instance']}": int(row["n_rgb"]) for row in rows}
    assert {clip.key: clip.num_frames for clip in index.clips} == lengths
    late = sum(row["first_map"] == "map0002.png" for row in rows)
    assert late > 0 and f": {late} (" in one_note(index, "map 1")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    png_tree(tmp_path)
    closed, scandir = str(tmp_path / "processed_frames2/S2"), os.scandir

    def refuse(path):
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match="can't read .*S2: Permission denied"):
        ClipIndex.from_tree(tmp_path)


FRAME = "processed_frames2/S1/open_jam/1/rgb/rgb0003.png"


class Notes(set[str]):
    """A memory that lasts as long as the test."""

    knows = set.__contains__
    remember = set.add


class Anything(Notes):
    """A memory that knows every fact."""

    def knows(self, fact: str) -> bool:
        return True


def test_what_was_found_sound_is_not_opened_again(tmp_path):
    tree, memory = png_tree(tmp_path), Notes()
    for _ in range(2):
        ClipIndex.from_tree(tree).verify(("frames",), memory=memory)
    assert len(memory) == 1
    ClipIndex.from_tree(tree).verify(("frames", "maps"), memory=memory)
    assert len(memory) == 2, "maps were not looked at yet"
    (tree / FRAME).write_bytes(b"")
    ClipIndex.from_tree(tree).verify(memory=Anything())
    for _ in range(2):
        with pytest.raises(UserError, match="rgb0003.png: empty file"):
            ClipIndex.from_tree(tree).verify(memory=memory)
    assert len(memory) == 2, "what is broken is not remembered"
