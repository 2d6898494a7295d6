import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from core.errors import UserError
from core.jobs import denormals_are_flushed, repeatable_opencv
from data.check import command as check
from data.flow import compute_flow, decode
from data.index import ClipIndex
from data.motion import command as motion
from data.motion.camera import warp_flow
from data.motion.clip import LOG, FlowSettings, MotionLog, pair_motion, summary
from data.motion.command import MotionConfig, main
from data.motion.trajectories import motion_maps
from data.tree import rgb_folder, rgb_name
from tests.support.motion_scene import Patch, make_scene
from tests.support.trees import contents, flow_folder, flow_name, map_folder, map_name, save

CLIPS = {("S1", "open_jam", "1"): 5, ("S1", "pour_honey,cup", "2"): 7, ("S2", "open_jam", "1"): 1}
REPOSITORY = Path(__file__).parents[2]


def write_frames(root, key, frames):
    folder = rgb_folder(root, *key)
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        assert cv2.imwrite(str(folder / rgb_name(number)), cv2.merge([frame] * 3))


def scene_frames(seed, count):
    return [*_scene_frames(seed, count)]


@cache
def _scene_frames(seed, count):
    return make_scene(
        seed=seed, num_frames=count, height=64, width=96, patches=(Patch((30, 30), (3, 1), (18, 14)),)
    ).frames


@pytest.fixture
def tree(tmp_path):
    for seed, (key, count) in enumerate(CLIPS.items()):
        write_frames(tmp_path, key, scene_frames(seed, count))
    return tmp_path


def logged(root):
    return (root / LOG).read_text().splitlines()


def images(folder):
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]


def test_the_tree_gets_flow_and_maps_as_the_loaders_expect(tree):
    before = contents(tree)
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0
    after = contents(tree)
    assert before.items() <= after.items()
    expected = {motion.RECORD}
    for key, count in CLIPS.items():
        for number in range(1, count + 1):
            expected.add(str((map_folder(tree, *key) / map_name(number)).relative_to(tree)))
            for axis in "xy":
                path = flow_folder(tree, axis, *key) / flow_name(axis, number)
                expected.add(str(path.relative_to(tree)))
    assert after.keys() - before.keys() == expected
    flow, maps = images(flow_folder(tree, "y", *key)), images(map_folder(tree, *key))
    assert all(image.shape == (64, 96, 3) and (image == image[..., :1]).all() for image in flow)
    assert all(image.shape == (64, 96) and set(np.unique(image)) <= {0, 255} for image in maps)


def test_what_is_made_passes_the_check(tree, command):
    main(MotionConfig(root=tree, maps=True, jobs=1))
    status, out, _ = command(check.main, check.CheckConfig, tree)
    assert status == 0 and "no faults" in out
    (map_folder(tree, "S1", "open_jam", "1") / map_name(3)).unlink()
    status, out, _ = command(check.main, check.CheckConfig, tree)
    assert status == 1 and "map0003.png" in out


@pytest.mark.parametrize("warp", [True, False])
def test_flow_image_k_leads_from_frame_k_to_the_next(tree, warp):
    main(MotionConfig(root=tree, warp=warp, jobs=1))
    main(MotionConfig(root=tree, warp=warp, maps=True, jobs=1))
    key = ("S1", "pour_honey,cup", "2")
    frames = [image[..., 0] for image in images(rgb_folder(tree, *key))]
    decoded = [
        np.dstack([decode(image[..., 0]) for image in pair])
        for pair in zip(*(images(flow_folder(tree, axis, *key)) for axis in "xy"), strict=True)
    ]
    assert len(decoded) == len(frames) == 7
    for flow, prev, cur in zip(decoded, frames, frames[1:], strict=False):
        expected = warp_flow(prev, cur).flow_px if warp else compute_flow(prev, cur)
        assert np.abs(flow - np.clip(expected, -20, 20)).max() <= 20 / 255 + 1e-4
    assert (decoded[6] == decoded[5]).all()  # the last frame has none to lead to and repeats the one before
    maps = np.stack(images(map_folder(tree, *key)))
    assert (maps == 255 * motion_maps(frames)).all() and maps.any()


def test_a_single_frame_has_zero_flow_and_an_empty_map(tree):
    main(MotionConfig(root=tree, maps=True, jobs=1))
    key = ("S2", "open_jam", "1")
    for axis in "xy":
        (flow,) = images(flow_folder(tree, axis, *key))
        assert (flow == 128).all()
    (only,) = images(map_folder(tree, *key))
    assert not only.any()


def test_processes_make_the_same_bytes(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "tree"
    shutil.copytree(tree, other)
    for root, jobs in ((tree, 1), (other, 2)):
        assert main(MotionConfig(root=root, maps=True, jobs=jobs)) == 0
    assert contents(tree) == contents(other)


@pytest.fixture
def other_numerics():
    """The state that a training leaves its process in."""
    threads = cv2.getNumThreads()
    torch.set_flush_denormal(True)
    cv2.setNumThreads(2)
    yield
    torch.set_flush_denormal(False)
    cv2.setNumThreads(threads)


def test_what_the_process_did_before_has_no_say(tree, monkeypatch, other_numerics):
    before, seen = (denormals_are_flushed(), cv2.getNumThreads()), set()
    real = cv2.imwrite

    def spy(path, image):
        seen.add((denormals_are_flushed(), cv2.getNumThreads()))
        return real(path, image)

    monkeypatch.setattr(cv2, "imwrite", spy)
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0
    assert seen == {(False, 1)}
    assert (denormals_are_flushed(), cv2.getNumThreads()) == before == (True, 2)


def test_flow_has_the_same_bits_after_a_training(other_numerics):
    prev, cur = np.zeros((2, 64, 96), np.uint8)
    prev[20, 20] = cur[21, 22] = 255  # far from the dot the flow fades to denormal numbers
    with repeatable_opencv():
        after = compute_flow(prev, cur, "farneback")
    torch.set_flush_denormal(False)
    assert np.array_equal(after, compute_flow(prev, cur, "farneback"))


def test_a_stopped_run_is_completed_and_what_is_there_is_kept(tree):
    main(MotionConfig(root=tree, maps=True, jobs=1))
    whole = contents(tree)
    shutil.rmtree(flow_folder(tree, "y", "S1", "open_jam", "1"))  # stopped between two renames
    shutil.rmtree(map_folder(tree, "S2", "open_jam", "1"))
    left = flow_folder(tree, "y", "S1", "open_jam", ".1.killed")
    left.mkdir()
    (left / flow_name("y", 1)).write_bytes(b"half")
    kept = flow_folder(tree, "x", "S1", "open_jam", "1") / flow_name("x", 1)
    kept.write_bytes(b"given with the data set")
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0
    again = contents(tree)
    assert again.pop(str(kept.relative_to(tree))) == b"given with the data set"
    assert again.items() <= whole.items() and len(again) == len(whole) - 1


def test_flow_of_another_kind_is_not_mixed_with_flow_that_was_given(tree, capsys):
    """As published trees have it, without a record of how it was made."""
    main(MotionConfig(root=tree, maps=True, jobs=1))
    (tree / motion.RECORD).unlink()
    shutil.rmtree(map_folder(tree, "S2", "open_jam", "1"))
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0
    assert yaml.safe_load((tree / motion.RECORD).read_text()) == {
        "flow": "given",
        "maps": "by flow dis, warp True",
    }
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0
    for axis in "xy":
        shutil.rmtree(flow_folder(tree, axis, "S1", "open_jam", "1"))
    before = contents(tree)
    with pytest.raises(UserError, match="flow that was not made here, and 1 clips without, S1/open_jam/1"):
        main(MotionConfig(root=tree, jobs=1))
    assert contents(tree) == before


def test_a_clip_is_complete_or_absent(tree, monkeypatch):
    writes = []

    def failing(path, image, *rest):
        writes.append(path)
        return len(writes) < 8 and real(path, image, *rest)

    real = cv2.imwrite
    before = contents(tree)
    monkeypatch.setattr(cv2, "imwrite", failing)
    assert main(MotionConfig(root=tree, jobs=1)) == 1
    monkeypatch.undo()
    assert contents(tree).keys() - before.keys() == {motion.RECORD}
    assert not [path for path in tree.rglob(".*")]
    assert main(MotionConfig(root=tree, jobs=1)) == 0


def test_bad_clips_are_listed_and_do_not_stop_the_others(tree, capsys):
    corrupt = rgb_folder(tree, "S1", "open_jam", "1") / rgb_name(3)
    corrupt.write_bytes(corrupt.read_bytes()[:100])
    write_frames(tree, ("S3", "open_jam", "1"), [np.zeros((64, 96), np.uint8), np.zeros((64, 90), np.uint8)])
    write_frames(tree, ("S3", "open_jam", "2"), [np.zeros((16, 20), np.uint8)] * 2)
    write_frames(tree, ("S4", "open_jam", "1"), scene_frames(0, 3))
    (rgb_folder(tree, "S4", "open_jam", "1") / rgb_name(2)).unlink()
    assert main(MotionConfig(root=tree, jobs=1)) == 1
    printed = capsys.readouterr().err
    for key, reason in [
        ("S1/open_jam/1", str(corrupt)),
        ("S3/open_jam/1", "90x64"),
        ("S3/open_jam/2", "at least 32"),
        ("S4/open_jam/1", "2"),
    ]:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"failed: {key}")]
        assert reason in line
        assert not flow_folder(tree, "x", *key.split("/")).exists()
    assert len(images(flow_folder(tree, "x", "S1", "pour_honey,cup", "2"))) == 7
    corrupt.write_bytes((corrupt.parent / rgb_name(2)).read_bytes())
    main(MotionConfig(root=tree, jobs=1))
    assert len(images(flow_folder(tree, "x", "S1", "open_jam", "1"))) == 5


@pytest.mark.parametrize("warp", [True, False])
def test_a_cut_has_zero_flow_and_is_named(tmp_path, capsys, warp):
    frames = scene_frames(0, 3) + [np.rot90(frame, 2) for frame in scene_frames(8, 3)]
    write_frames(tmp_path, ("S1", "open_jam", "1"), frames)
    assert main(MotionConfig(root=tmp_path, warp=warp, maps=True, jobs=1)) == 0
    assert "cut, flow set to zero: 1 pair of 1 clip: S1/open_jam/1 (1)\n" in capsys.readouterr().out
    assert logged(tmp_path) == ["S1/open_jam/1: cut, flow set to zero: 1 of 5 pairs, from frame 3"]
    flow = images(flow_folder(tmp_path, "x", "S1", "open_jam", "1"))
    assert [bool((image != 128).any()) for image in flow] == [True, True, False, True, True, True]


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_frames_without_content_have_defined_outputs(tmp_path, capsys, method):
    black, white, textured = (
        np.zeros((64, 96), np.uint8),
        np.full((64, 96), 255, np.uint8),
        scene_frames(0, 1)[0],
    )
    for number, frames in enumerate(
        [[black] * 4, [white] * 4, [textured] * 4, [black, white, black, textured]], start=1
    ):
        write_frames(tmp_path, ("S1", "open_jam", str(number)), frames)
    assert main(MotionConfig(root=tmp_path, flow=method, maps=True, jobs=1)) == 0
    for number in "1234":
        for axis in "xy":
            assert all(
                (i == 128).all() for i in images(flow_folder(tmp_path, axis, "S1", "open_jam", number))
            )
        assert not np.any(images(map_folder(tmp_path, "S1", "open_jam", number)))
    still = "no homography, camera taken as still"
    assert logged(tmp_path) == [
        f"S1/open_jam/1: {still}: 3 of 3 pairs, from frame 1-3",
        f"S1/open_jam/2: {still}: 3 of 3 pairs, from frame 1-3",
        f"S1/open_jam/4: {still}: 2 of 3 pairs, from frame 1-2; "
        "cut, flow set to zero: 1 of 3 pairs, from frame 3",
    ]


def test_a_failed_homography_leaves_plain_flow():
    rng = np.random.default_rng(0)
    prev = np.zeros((96, 128), np.uint8)
    prev[40:60, 50:70] = rng.integers(100, 255, (20, 20))  # too few corners to trust
    pair = pair_motion(prev, np.roll(prev, 2, axis=1), FlowSettings("dis", warp=True, maps=False))
    assert not pair.camera.accepted and "no homography" in pair.note
    assert np.median(pair.flow_px[44:56, 54:66, 0]) == pytest.approx(2, abs=0.3)


def test_the_log_is_kept_over_runs_and_in_order(tmp_path):
    MotionLog(tmp_path).put("S1/a/10", {}, 4)
    assert not (tmp_path / LOG).exists()  # nothing to say
    MotionLog(tmp_path).put("S1/a/10", {"dark": [1, 2, 3, 5]}, 6)
    MotionLog(tmp_path).put("S1/a/9", {"dark": [1], "cut": [4]}, 6)
    ten, nine = "S1/a/10: dark: 4 of 6 pairs, from frame 1-3, 5", "S1/a/9: dark: 1 of 6 pairs, from frame 1"
    assert logged(tmp_path) == [f"{nine}; cut: 1 of 6 pairs, from frame 4", ten]
    MotionLog(tmp_path).put("S1/a/9", {}, 6)  # mended, and made anew
    assert logged(tmp_path) == [ten]


def test_the_summary_counts_pairs_and_names_the_worst_clips():
    notes = {f"S1/a/{clip}": {"dark": list(range(clip))} for clip in range(1, 13)} | {"S2/a/1": {}}
    assert list(summary(notes, Path("log"))) == [
        "dark: 78 pairs of 12 clips, most in S1/a/12 (12), S1/a/11 (11), S1/a/10 (10)",
        "all of them: log",
    ]
    assert list(summary({"S2/a/1": {}}, Path("log"))) == []


def test_plain_flow_has_no_use_for_a_homography():
    flat = np.zeros((64, 96), np.uint8)
    for warp, maps, named in [(False, False, False), (True, False, True), (False, True, True)]:
        assert bool(pair_motion(flat, flat, FlowSettings("dis", warp, maps)).note) == named


def test_two_ways_are_not_mixed_in_one_tree(tree):
    main(MotionConfig(root=tree, jobs=1))
    before = contents(tree)
    for other in (
        MotionConfig(root=tree, warp=False, jobs=1),
        MotionConfig(root=tree, flow="farneback", jobs=1),
    ):
        with pytest.raises(UserError, match="made with flow dis, warp True"):
            main(other)
    assert contents(tree) == before
    assert main(MotionConfig(root=tree, maps=True, jobs=1)) == 0  # maps may be added later


def test_a_root_that_cant_be_written_to_is_a_users_mistake(tree):
    (tree / LOG).mkdir()
    with pytest.raises(UserError, match=f"can't read or write --root {tree}"):
        main(MotionConfig(root=tree, jobs=1))


def test_no_tree_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        main(MotionConfig(root=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="none of the folders"):
        main(MotionConfig(root=tmp_path))


def test_the_authors_tree_gets_flow_under_its_own_names(tmp_path):
    for number, frame in enumerate(scene_frames(0, 3), start=1):
        save(tmp_path / f"frames/S1/open_jam/1/image_{number:05d}.jpg", frame)
    assert main(MotionConfig(root=tmp_path, jobs=1)) == 0
    for axis in "xy":
        found = sorted((tmp_path / f"flow_{axis}/S1/open_jam/1").iterdir())
        assert [path.name for path in found] == [f"flow_{axis}_{number:05d}.jpg" for number in (1, 2, 3)]
    ClipIndex.from_tree(tmp_path).verify(["frames", "flow_x", "flow_y"])


def test_the_authors_tree_gets_the_maps_of_its_pixels_beside_its_own_flow(tmp_path):
    key, given = "S1/open_jam/1", {}
    for number, frame in enumerate(scene_frames(0, 6), start=1):
        lossy = tmp_path / f"jpg/frames/{key}/image_{number:05d}.jpg"
        save(lossy, frame)
        save(rgb_folder(tmp_path / "png", *key.split("/")) / rgb_name(number), cv2.imread(str(lossy)))
        for axis in "xy":
            flow = tmp_path / f"jpg/flow_{axis}/{key}/flow_{axis}_{number:05d}.jpg"
            save(flow, np.full(frame.shape[:2], 127))
            given[flow] = flow.read_bytes()
    for tree in ("jpg", "png"):
        assert main(MotionConfig(root=tmp_path / tree, maps=True, jobs=1)) == 0
    found, wanted = (ClipIndex.from_tree(tmp_path / tree).clips[0].series("maps") for tree in ("jpg", "png"))
    assert found.path(6) == tmp_path / f"jpg/maps/{key}/map_00006.png" and len(found) == 6
    assert [path.read_bytes() for path in found.paths] == [path.read_bytes() for path in wanted.paths]
    assert any(cv2.imread(str(path)).any() for path in found.paths)
    assert all(path.read_bytes() == held for path, held in given.items())
    ClipIndex.from_tree(tmp_path / "jpg").verify(["frames", "maps", "flow_x", "flow_y"])


def test_the_command_line_gives_status_2_for_a_mistake(tmp_path):
    command = [sys.executable, "-m", "data.motion", "--root", str(tmp_path), "--jobs", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert "--jobs" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["flow_x_00001.jpg", "x1.png", "notes.txt"])
def test_folders_that_hold_other_files_are_refused_before_anything_is_computed(tree, name):
    key = next(path for path in (tree / "processed_frames2").glob("*/*/*") if path.is_dir())
    folder = tree / "flow_x_processed" / key.relative_to(tree / "processed_frames2")
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"{folder} holds {name}.*nothing was computed"):
        main(MotionConfig(root=tree, jobs=1))
    assert not (tree / "motion.yaml").exists() and not (tree / "flow_y_processed").exists()
