"""Mending copies the tree with what is safe made whole; the tree itself is left as it was."""

import shutil

import pytest

from data.check.command import CheckConfig, main
from data.tree import original_name
from tests.support.trees import contents, png_tree

CLIP = "processed_frames2/S1/open_jam/1"


@pytest.fixture
def fix(command, tmp_path):
    def run_fix(root):
        status, out, err = command(main, CheckConfig, root, "--fix", tmp_path / "mended")
        return status, out.splitlines(), err

    return run_fix


def test_a_sound_tree_is_copied_without_what_is_no_part_of_it(tmp_path, fix):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    (root / "processed_frames2/S1/.DS_Store").write_bytes(b"x")
    (root / CLIP / "rgb/notes.txt").write_text("x")
    status, lines, _ = fix(root)
    assert status == 0 and any(line.startswith("0 mended") for line in lines)
    assert contents(tmp_path / "mended") == sound


def test_what_is_safe_is_mended_and_said(tmp_path, fix):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    rgb, flow = root / CLIP / "rgb", root / "flow_x_processed/S1/open_jam/1"
    (rgb / "rgb0003.png").rename(rgb / "rgb0003 (1).png")
    shutil.copy(rgb / "rgb0005.png", rgb / "rgb0005(2).png")
    (rgb / "rgb0005.png").write_bytes(b"")
    (root / CLIP / "mmaps/map0001.png").unlink()
    (flow / "flow_x_00008.png").unlink()
    broken = contents(root)
    status, lines, _ = fix(root)
    assert status == 0 and lines[-1] == "no faults" and "4 mended" in " ".join(lines)
    mended = [line for line in lines if line.startswith("mended: S1/open_jam/1: ")]
    assert len(mended) == 4 and "rgb0005(2).png became rgb0005.png" in mended[1]
    made = contents(tmp_path / "mended")
    stand_ins = {f"{CLIP}/mmaps/map0001.png": 2, "flow_x_processed/S1/open_jam/1/flow_x_00008.png": 7}
    for name, content in sound.items():
        number = stand_ins.get(name)
        original = name if number is None else name.replace(name[-8:-4], f"{number:04}")
        assert made[name] == sound[original], name
        assert made.keys() == sound.keys() and content
    assert contents(root) == broken


def test_what_is_not_safe_stays_a_fault(tmp_path, fix):
    root = png_tree(tmp_path / "tree")
    (root / CLIP / "rgb/rgb0004.png").unlink()
    (root / CLIP / "mmaps/map0003.png").write_bytes(b"broken")
    (root / CLIP / "mmaps/map0003 (1).png").write_bytes(b"broken too")
    status, lines, _ = fix(root)
    assert status == 1 and lines[-1] == "2 faults"
    assert not (tmp_path / "mended" / CLIP / "rgb/rgb0004.png").exists()


def rename_all(folder, pattern, start=1):
    """Call the images of a folder otherwise, in their order."""
    for number, path in enumerate(sorted(folder.iterdir()), start=start):
        path.rename(folder / f"_{number}")
    for number in range(start, start + len(list(folder.iterdir()))):
        (folder / f"_{number}").rename(folder / pattern.format(number))


@pytest.mark.parametrize(
    "pattern,start",
    [
        ("img_{:05}.jpg", 1),
        ("rgb{}.png", 1),
        ("rgb{:04}.PNG", 1),
        ("RGB{:04}.jpeg", 0),
        ("frame_{:010}.jpg", 100),
        ("photo ({}).png", 1),
    ],
)
def test_other_names_are_named_and_mended(tmp_path, fix, command, pattern, start):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    rename_all(root / CLIP / "rgb", pattern, start)
    rename_all(root / "flow_x_processed/S1/open_jam/1", "x_{}.jpg")
    status, out, _ = command(main, CheckConfig, root)
    faults = [line for line in out.splitlines() if line.startswith("fault:")]
    assert (
        status == 1 and len(faults) == 2 and pattern.format(start) in faults[1] and "rgb0001.png" in faults[1]
    )
    assert "remove" not in out and all("--fix" in fault for fault in faults)
    status, lines, _ = fix(root)
    assert status == 0 and lines[-1] == "no faults", lines
    assert contents(tmp_path / "mended") == sound


@pytest.mark.parametrize("inner", ["", "RGB"])
def test_frames_in_another_folder_of_the_clip_are_found(tmp_path, fix, inner):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    target = root / CLIP / inner
    target.mkdir(exist_ok=True)
    for path in (root / CLIP / "rgb").iterdir():
        path.rename(target / path.name)
    assert fix(root)[0] == 0 and contents(tmp_path / "mended") == sound


def test_one_name_in_another_spelling_is_mended(tmp_path, fix):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    (root / CLIP / "rgb/rgb0004.png").rename(root / CLIP / "rgb/RGB4.JPG")
    assert fix(root)[0] == 0 and contents(tmp_path / "mended") == sound


def test_a_run_from_elsewhere_is_renumbered_with_its_flow_and_maps(tmp_path, fix):
    root = png_tree(tmp_path / "tree")
    sound = contents(root)
    rename_all(root / CLIP / "rgb", "rgb{:04}.png", 100)
    rename_all(root / CLIP / "mmaps", "map{:04}.png", 100)
    rename_all(root / "flow_x_processed/S1/open_jam/1", "flow_x_{:05}.png", 0)
    status, lines, _ = fix(root)
    assert status == 0 and "rgb0100.png to rgb0107.png became rgb0001.png to rgb0008.png" in "".join(lines)
    assert contents(tmp_path / "mended") == sound


def test_nothing_is_overwritten(tmp_path, fix, command):
    root = png_tree(tmp_path / "tree")
    (tmp_path / "mended").mkdir()
    status, _, err = fix(root)
    assert status == 2 and "exists already" in err
    status, _, err = command(main, CheckConfig, root, "--fix", root / "inside")
    assert status == 2 and "lies inside the tree" in err and not (root / "inside").exists()


def test_names_of_second_uploads():
    assert original_name("flow_x_00007(1).png") == "flow_x_00007.png"
    assert original_name("1 - Copy") == "1" and original_name("a copy 2.png") == "a.png"
    assert original_name("take_photocopy") is None and original_name("rgb0001.png") is None
