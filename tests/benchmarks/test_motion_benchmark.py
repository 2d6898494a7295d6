"""The motion benchmark on a few rendered frames: what it draws, what it says, and where it writes that."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import motion, motion_pictures
from benchmarks.motion_truth import TrueClip, draw_clips, draw_pairs
from benchmarks.tables import insert_tables, read_page
from core.errors import UserError
from data.synthetic.command import render_clip
from data.synthetic.presets import ClipSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "motion.md"
SIZE = (114, 64)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitchen")
    for user in ("S1", "S2"):
        for number in "123":
            render_clip(root, ClipSpec(user, "open_jam", number, 6, SIZE, 0))
    return root


def test_tables_go_to_their_places_and_replace_older_ones():
    names, page = motion.TABLES, read_page(PAGE, motion.TABLES)
    once = insert_tables(page, {name: f"old {name}" for name in names})
    twice = insert_tables(once, {name: f"new {name}" for name in names})
    assert [line for line in twice.splitlines() if line.startswith("new ")] == [f"new {n}" for n in names]
    assert "old flow" in once and "old" not in set(twice.split()) - set(page.split())


def test_mistakes_are_told_before_measuring(kitchen, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- flow -->\n<!-- end of flow -->\n")
    for path, missing in [(tmp_path / "none.md", "flow"), (page, "homography")]:
        with pytest.raises(UserError, match=f"{path.name} has no lines <!-- {missing} -->"):
            motion.main(motion.BenchmarkConfig(roots=(kitchen,), write=path))
    truthless = tmp_path / "tree"
    shutil.copytree(kitchen / "processed_frames2", truthless / "processed_frames2")
    with pytest.raises(UserError, match=r"1\.npz is missing"):
        TrueClip(truthless, draw_clips(truthless, 3, 0)[0])


def test_a_seed_draws_the_same_clips_and_pairs(kitchen):
    keys = {seed: [clip.key for clip in draw_clips(kitchen, 2, seed)] for seed in range(8)}
    assert keys[0] == [clip.key for clip in draw_clips(kitchen, 2, 0)]
    assert len({tuple(names) for names in keys.values()}) > 1
    assert all([name[:2] for name in names] == ["S1", "S1", "S2", "S2"] for names in keys.values())
    clips = draw_clips(kitchen, 9, 0)
    assert len(clips) == 6 and len(draw_pairs(kitchen, clips, 9, 0)) == 6 * 5
    first, second = (draw_pairs(kitchen, clips, 2, 3) for _ in range(2))
    assert len(first) == 12
    assert all(np.array_equal(a.cur, b.cur) for a, b in zip(first, second, strict=True))


def test_the_true_camera_explains_the_background(kitchen):
    pair = TrueClip(kitchen, draw_clips(kitchen, 1, 0)[0]).pair(3)
    still = ~pair.moving
    assert 0.1 < still.mean() < 1
    assert np.abs(pair.flow_px - pair.camera_px)[still].max() < 0.3
    assert np.abs(pair.own_px)[still].max() < 0.3


def test_errors_of_known_flows(kitchen):
    pairs = draw_pairs(kitchen, draw_clips(kitchen, 1, 0), 2, 0)
    right = motion.flow_row(lambda pair: pair.own_px, pairs)
    a_pixel_off = motion.flow_row(lambda pair: pair.own_px + np.float32([1, 0]), pairs)
    assert right[1:3] == ["0.00", "0.0"]
    assert a_pixel_off[1:3] == ["1.00", "1.0"]


def test_the_tables_find_the_true_camera_and_what_moves(kitchen):
    clips = draw_clips(kitchen, 2, 0)
    table = motion.homography_table(draw_pairs(kitchen, clips, 1, 0))
    ours, *others = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:])
    assert ours[0].endswith("(ours)") and float(ours[2]) < 0.3 and ours[-1] == "0 of 4" and len(others) == 13
    rows = [line.split(" | ") for line in motion.users_table(kitchen, clips).splitlines()]
    assert rows[0][0].endswith(", 114x64") and [row[0] for row in rows[2:]] == ["| S1", "| S2", "| all"]
    assert [row[1] for row in rows[2:]] == ["0 of 2", "0 of 2", "0 of 4"]


def test_pictures_of_clips_stand_one_below_the_other(kitchen, tmp_path):
    out = tmp_path / "new" / "picture.png"
    config = motion_pictures.PictureConfig(
        root=kitchen, out=out, clips=("S1/open_jam/1", "S2/open_jam/3"), width=57
    )
    motion_pictures.main(config)
    assert cv2.imread(str(out)).shape == (2 * (32 + 2), 4 * (57 + 2), 3)
    motion_pictures.main(config.replace(frames=False))
    assert cv2.imread(str(out)).shape == (2 * (32 + 2), 3 * (57 + 2), 3)
    with pytest.raises(UserError, match="no clip S9"):
        motion_pictures.main(config.replace(clips=("S9/open_jam/1",)))
