import os
import shutil

import numpy as np
import pytest
from PIL import Image

from data.check.command import CheckConfig, main
from data.decoding import decode_grey, decode_rgb, read_size
from data.images import read_grey, read_rgb
from tests.support.trees import HEIGHT, WIDTH, jpg_tree, png_tree, save, texture

RGB = "processed_frames2/S1/open_jam/1/rgb/rgb0003.png"
MAP = "processed_frames2/S1/open_jam/1/mmaps/map0003.png"
FLOW = "flow_x_processed/S1/open_jam/1/flow_x_00003.png"


@pytest.fixture
def check(command):
    def run_check(root):
        status, out, err = command(main, CheckConfig, root)
        return status, out.splitlines(), err

    return run_check


@pytest.mark.parametrize("make_tree", [png_tree, jpg_tree])
def test_a_sound_tree_is_counted(tmp_path, check, make_tree):
    status, lines, _ = check(make_tree(tmp_path))
    assert status == 0 and lines[-1] == "no faults"
    maps = "5" if make_tree is png_tree else "."
    table = [line.split() for line in lines]
    assert ["class", "S1", "S2", "clips", "frames", "shortest", "longest"] in table
    assert ["open_jam", "2", "1", "3", "18", "3", "8"] in table
    assert ["S1", "3", "2", "20", "3", "9", "3" if maps == "5" else ".", "3"] in table
    assert ["all", "5", "2", "35", "3", "9", maps, "5"] in table


def test_many_users_are_counted_instead_of_listed(tmp_path, check):
    lengths = {f"S{user}/a_x/1": 1 for user in range(1, 12)} | {"S3/b_x/1": 2}
    _, lines, _ = check(png_tree(tmp_path, lengths, maps=False, flow=False))
    assert [line.split() for line in lines if line.startswith("a_x")] == [["a_x", "11", "11", "11", "1", "1"]]
    assert max(map(len, lines[:4])) < 80
    assert [line for line in lines if line.startswith("note: only S3 has b_x")]


def half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "name,content,problem",
    [
        (RGB, b"", "empty file, 0 bytes"),
        (FLOW, b"nothing", "no readable PNG or JPEG image"),
        (MAP, half, "the image is cut off, its end is missing"),
        (RGB, lambda c: c[:60] + b"\0" * 40 + c[100:], "the image can't be decoded"),
        (
            RGB,
            np.zeros((HEIGHT, WIDTH - 2, 3)),
            "46x32 pixels, where the clip's other frames have 48x32 pixels",
        ),
        (MAP, np.zeros((HEIGHT + 1, WIDTH)), "48x33 pixels, where the clip's other maps have 48x32 pixels"),
        (MAP, np.full((HEIGHT, WIDTH), 7), "a motion map holds 0 and 255 only, this one also 7"),
        (FLOW, texture("colour", 1), "a colour image, expected grey levels"),
    ],
)
def test_each_fault_is_named_with_its_path(tmp_path, check, name, content, problem):
    path = png_tree(tmp_path) / name
    if isinstance(content, np.ndarray):
        save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))
    status, lines, _ = check(tmp_path)
    faults = [line for line in lines if line.startswith("fault:")]
    assert status == 1 and lines[-1] == "1 faults"
    assert len(faults) == 1 and faults[0].startswith(f"fault: {path}: {problem}; ")


def test_a_pipe_in_an_images_place_is_named_and_not_waited_for(tmp_path, check):
    first = png_tree(tmp_path) / RGB.replace("0003", "0001")
    first.unlink()
    os.mkfifo(first)
    status, lines, _ = check(tmp_path)
    assert status == 1 and any(line.startswith(f"fault: {first}: ") for line in lines), lines


def test_sixteen_bits_are_read_as_training_reads_them(tmp_path, check):
    png_tree(tmp_path)
    Image.fromarray(np.full((HEIGHT, WIDTH), 113 * 257, np.uint16)).save(tmp_path / FLOW)
    assert check(tmp_path)[0] == 0 and int(read_grey(tmp_path / FLOW)[0, 0, 0]) == 113
    Image.fromarray(np.full((HEIGHT, WIDTH), 113, np.uint16)).save(tmp_path / FLOW)
    status, lines, _ = check(tmp_path)
    assert status == 1 and "16 bits a channel with values up to 255 only" in lines[-2]


def flow_images(root, axis):
    return sorted((root / f"flow_{axis}_processed/S1/open_jam/1").iterdir())


def fill(paths, make):
    for number, path in enumerate(paths):
        save(path, make(number))


def stretched(number):
    return np.tile(np.linspace(0, 255, WIDTH), (HEIGHT, 1)) ** (1 + number / 99) / 255 ** (number / 99)


DEAD = {
    "black flow": (lambda r: fill(flow_images(r, "x"), lambda n: np.zeros((HEIGHT, WIDTH))), "grey level 0"),
    "white flow": (lambda r: fill(flow_images(r, "y"), lambda n: np.full((HEIGHT, WIDTH), 255)), "level 255"),
    "stretched flow": (lambda r: fill(flow_images(r, "x"), stretched), "as if each had been stretched"),
    "flow from zero": (
        lambda r: fill(r.glob("flow_x_processed/*/*/*/*"), lambda n: np.eye(HEIGHT, WIDTH) * 9),
        "flow_x is mostly about grey level 0",
    ),
    "x is y": (
        lambda r: [fill(flow_images(r, a), lambda n: 120 + np.eye(HEIGHT, WIDTH) * (9 + n)) for a in "xy"],
        "flow_x and flow_y are the same images",
    ),
    "black frames": (
        lambda r: fill(sorted((r / RGB).parent.iterdir()), lambda n: np.zeros((HEIGHT, WIDTH, 3))),
        "frames are black or of one colour",
    ),
    "frozen frames": (
        lambda r: fill(sorted((r / RGB).parent.iterdir()), lambda n: texture("still", 1)),
        "all show the same picture",
    ),
    "full maps": (
        lambda r: fill(sorted((r / MAP).parent.iterdir()), lambda n: np.full((HEIGHT, WIDTH), 255)),
        "maps are black or white",
    ),
}


@pytest.mark.parametrize("case", DEAD)
def test_data_that_are_dead_are_noted(tmp_path, check, case):
    make, words = DEAD[case]
    make(png_tree(tmp_path))
    status, lines, _ = check(tmp_path)
    notes = [line for line in lines if line.startswith("note:") and words in line]
    assert status == 0 and len(notes) == 1, lines


def test_one_clip_under_two_names_is_noted_with_both(tmp_path, check):
    png_tree(tmp_path)
    shutil.rmtree(tmp_path / "processed_frames2/S2/open_jam/1")
    shutil.copytree(
        tmp_path / "processed_frames2/S1/open_jam/1", tmp_path / "processed_frames2/S2/open_jam/1"
    )
    _, lines, _ = check(tmp_path)
    assert [line for line in lines if "the same clip twice: S1/open_jam/1 and S2/open_jam/1; one may" in line]


def test_orientation_tags_are_ignored_by_all_and_noted(tmp_path, check):
    jpg_tree(tmp_path)
    tag = Image.Exif()
    tag[0x0112] = 6
    path = tmp_path / "frames/S1/open_jam/1/image_00001.jpg"
    Image.fromarray(texture("S1/open_jam/1", 1)).save(path, exif=tag)
    status, lines, _ = check(tmp_path)
    assert status == 0 and [line for line in lines if "orientation tag" in line]
    assert read_size(path) == (WIDTH, HEIGHT)
    assert decode_rgb(path).shape[:2] == decode_grey(path).shape == (HEIGHT, WIDTH)
    assert read_rgb(path).shape[1:] == (HEIGHT, WIDTH)


def test_every_fault_is_listed_not_only_the_first(tmp_path, check):
    png_tree(tmp_path)
    (tmp_path / RGB).unlink()
    (tmp_path / "processed_frames2/S2/open_jam/1/rgb/rgb0002.png").write_bytes(b"")
    (tmp_path / "processed_frames2/S2/close_jam/1/mmaps/map0004.png").unlink()
    for number in (7, 8):
        (tmp_path / f"flow_y_processed/S2/close_jam/1/flow_y_{number:05}.png").unlink()
    shutil.rmtree(tmp_path / "flow_y_processed/S1/close_jam/1")
    shutil.copytree(
        tmp_path / "flow_x_processed/S1/close_jam/1", tmp_path / "flow_x_processed/S1/close_jam/5"
    )
    shutil.rmtree(tmp_path / "processed_frames2/S1/open_jam/2/rgb")
    status, lines, _ = check(tmp_path)
    faults = "\n".join(line for line in lines if line.startswith("fault:"))
    assert status == 1 and lines[-1] == "7 faults" and faults.count("\n") == 6
    for words in (
        f"{tmp_path / RGB}: missing, a gap in the numbering",
        "S2/open_jam/1/rgb/rgb0002.png: empty file",
        "S2/close_jam/1/mmaps/map0004.png: missing, a gap in the numbering",
        "flow_y_processed/S2/close_jam/1: ends at number 6, but the clip's frames end at 8",
        "S1/close_jam/1/rgb: the clip has no flow_y, but 3 others have",
        "flow_x_processed/S1/close_jam/5: flow of a clip that has no frames",
        "processed_frames2/S1/open_jam/2/rgb: the clip has no frames",
    ):
        assert words in faults


def test_maps_and_flow_of_the_authors_tree_whose_clip_has_no_frames_are_faults(tmp_path, check):
    jpg_tree(tmp_path)
    for kind, name in (("maps", "map_00001.png"), ("flow_x", "flow_x_00001.jpg")):
        save(tmp_path / kind / "S3/close_jam/9" / name, np.zeros((HEIGHT, WIDTH)))
    status, lines, _ = check(tmp_path)
    assert status == 1 and lines[-1] == "2 faults"
    for words in (
        "maps/S3/close_jam/9: maps of a clip that has",
        "flow_x/S3/close_jam/9: flow of a clip that",
    ):
        assert words in "\n".join(lines)


def test_what_was_survived_is_noted_without_being_a_fault(tmp_path, check):
    png_tree(tmp_path)
    (tmp_path / "processed_frames2/S1/.DS_Store").write_bytes(b"x")
    (tmp_path / "processed_frames2/S1/open_jam/1/mmaps/map0001.png").unlink()
    (tmp_path / "flow_x_processed/S1/open_jam/1/flow_x_00008.png").unlink()
    status, lines, _ = check(tmp_path)
    notes = [line for line in lines if line.startswith("note:")]
    assert status == 0 and len(notes) == 3
    assert any("system or hidden files: 1" in note for note in notes)


@pytest.mark.parametrize("inside", [None, "", "processed_frames2"])
def test_no_tree_is_a_users_mistake(tmp_path, check, inside):
    root = tmp_path / "tree"
    if inside is not None:
        (root / inside).mkdir(parents=True)
    status, lines, err = check(root)
    assert status == 2 and lines == [] and err.startswith("error: ") and str(root) in err
    assert err.count("\n") == 1
