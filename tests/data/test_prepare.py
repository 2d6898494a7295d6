import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.index import ClipIndex
from data.prepare.command import PrepareConfig, main

REAL = Path(__file__).parents[3] / "shared" / "real_clips" / "annotations.csv"
WIDTH, HEIGHT, LEVEL_STEP = 96, 64, 8


def write_video(path, frames=24, fps=10.0):
    """Frame n is red of level 8 * n + 20 on the left, black on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (WIDTH, HEIGHT))
    for number in range(frames):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:, : WIDTH // 2, 2] = LEVEL_STEP * number + 20
        writer.write(image)
    writer.release()
    return path


def shown_numbers(folder):
    """Which of the video's frames the images of a clip are, read off their red level."""
    images = [np.asarray(Image.open(path)) for path in sorted((folder / "rgb").iterdir())]
    assert all(image[..., 1:].max() < 12 for image in images), "red should be the first channel"
    return [round((image[:, 4:20, 0].mean() - 20) / LEVEL_STEP) for image in images]


@pytest.fixture
def prepare(tmp_path, command):
    write_video(tmp_path / "videos/one.avi")

    def run_prepare(rows, *flags, header="video,user,action,start_frame,stop_frame", out="out"):
        table = tmp_path / "annotations.csv"
        table.write_text("\n".join((header, *rows)) + "\n")
        return command(main, PrepareConfig, "--annotations", table, "--out", tmp_path / out, *flags)

    return run_prepare


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_clips_hold_exactly_their_frames(tmp_path, prepare):
    rows = [
        "videos/one.avi,S1,open_jam,3,8",
        'videos/one.avi,S1,"pour_honey,bread",0,3',
        "videos/one.avi,S2,open_jam,20,24",
    ]
    status, out, _ = prepare(rows, "--short-side", "32")
    assert status == 0 and "3 clips of 2 actions and 2 users" in out
    top = tmp_path / "out/processed_frames2"
    assert shown_numbers(top / "S1/open_jam/1") == [3, 4, 5, 6, 7]
    assert shown_numbers(top / "S1/pour_honey,bread/1") == [0, 1, 2]
    assert shown_numbers(top / "S2/open_jam/1") == [20, 21, 22, 23]
    index = ClipIndex.from_tree(tmp_path / "out")
    assert len(index) == 3 and index.notes == ()
    assert Image.open(index.clips[0].frames.path(1)).size == (48, 32)


def test_annotations_named_from_a_sister_folder(tmp_path, prepare, command, monkeypatch):
    prepare(["videos/one.avi,S1,stir,0,4"])
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    flags = ("--annotations", "../annotations.csv", "--out", "../other")
    status, out, _ = command(main, PrepareConfig, *flags)
    assert status == 0 and "1 clips of 1 actions" in out


def test_instances_are_numbered_in_the_order_of_the_rows_and_clips_may_overlap(tmp_path, prepare):
    rows = ["videos/one.avi,S1,stir,10,14", "videos/one.avi,S1,stir,2,12", "videos/one.avi,S1,stir,11,12"]
    assert prepare(rows, "--short-side", "32")[0] == 0
    stir = tmp_path / "out/processed_frames2/S1/stir"
    assert shown_numbers(stir / "1") == [10, 11, 12, 13]
    assert shown_numbers(stir / "2") == list(range(2, 12))
    assert shown_numbers(stir / "3") == [11]


@pytest.mark.parametrize(
    "fps,expected",
    [
        ("5", [4, 6, 8, 10, 12]),
        ("20", [4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12]),
        ("3", [4, 7, 10]),
    ],
)
def test_another_frame_rate_takes_the_frame_shown_at_each_time(tmp_path, prepare, fps, expected):
    assert prepare(["videos/one.avi,S1,stir,4,13"], "--short-side", "32", "--fps", fps)[0] == 0
    assert shown_numbers(tmp_path / "out/processed_frames2/S1/stir/1") == expected


def test_seconds(tmp_path, prepare):
    rows = [
        "videos/one.avi,S1,stir,0.37,1.04",
        "videos/one.avi,S1,stir,0.0,0.01",
        "videos/one.avi,S1,stir,2.0,2.4",
    ]
    assert prepare(rows, "--short-side", "32", header="video,user,action,start_sec,stop_sec")[0] == 0
    stir = tmp_path / "out/processed_frames2/S1/stir"
    assert [shown_numbers(stir / n) for n in "123"] == [[4, 5, 6, 7, 8, 9], [0], [20, 21, 22, 23]]


GOOD = "videos/one.avi,S1,stir,0,4"


@pytest.mark.parametrize(
    "row,message",
    [
        ("videos/one.avi,S1,stir,4,25", r"line 3: the range ends at 25, .* ends \(or breaks off\) after 24"),
        ("videos/one.avi,S1,stir,4,4", "line 3: the range should .* start_frame 4, stop_frame 4"),
        ("videos/one.avi,S1,stir,-1,4", "line 3: the range should"),
        ("videos/one.avi,S1,stir,1.5,4", "line 3: start_frame and stop_frame should be whole frame numbers"),
        ("videos/one.avi,S1,stir,1", "line 3: start_frame and stop_frame should be"),
        ("videos/two.avi,S1,stir,0,4", "line 3: no such video: .*two.avi"),
        ("../one.avi,S1,stir,0,4", "line 3: video ../one.avi lies outside the folder"),
        ("/etc/hostname,S1,stir,0,4", "line 3: video /etc/hostname lies outside"),
        ("videos/text.avi,S1,stir,0,4", "line 3: .*text.avi can't be decoded; convert it"),
        ("videos/one.avi,S1/x,stir,0,4", "line 3: user 'S1/x' can't be a folder's name"),
        ("videos/one.avi,S1,..,0,4", "line 3: action '..' can't be a folder's name"),
        ("videos/one.avi,S1,stir (1),0,4", "line 3: action .* can't be a folder's name"),
        (f"videos/one.avi,S1,{'x' * 300},0,4", "line 3: action 'x+' can't be a folder's name"),
        ("videos/one.avi,S1,,0,4", "line 3: action is empty"),
        ("videos/one.avi,S1,pour_honey,bread,0,4", "line 3: more values than columns; put quotes"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_written(tmp_path, prepare, row, message):
    (tmp_path / "videos/text.avi").write_text("no video")
    status, _, err = prepare([GOOD, row])
    assert status == 2 and err.count("\n") == 1
    assert re.search(message, err), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "header,rows,message",
    [
        ("video,user,action,start_frame", [], "the columns should be video,user,action and either"),
        ("video,user,action,start_frame,stop_frame,start_sec,stop_sec", [], "the columns should be"),
        ("video,user,action,start_frame,stop_frame", [], "has no rows below its header"),
    ],
)
def test_a_bad_file_is_refused(prepare, header, rows, message):
    status, _, err = prepare(rows, header=header)
    assert status == 2 and message in err


def test_no_annotations(tmp_path, command):
    missing = tmp_path / "none.csv"
    status, _, err = command(main, PrepareConfig, "--annotations", missing, "--out", tmp_path / "out")
    assert status == 2 and str(missing) in err


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_header(prepare):
    assert (
        prepare([GOOD], "--short-side", "32", header="\ufeffvideo,user,action,start_frame,stop_frame")[0] == 0
    )


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, prepare, monkeypatch):
    rows = [GOOD, "videos/one.avi,S1,stir,6,9", "videos/one.avi,S1,stir,7,12"]
    assert prepare(rows, "--short-side", "32", out="whole")[0] == 0
    whole = files(tmp_path / "whole")

    encode, calls = cv2.imencode, []

    def fail_at_frame_8(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise OSError(28, "No space left on device")
        return encode(*arguments)

    monkeypatch.setattr(cv2, "imencode", fail_at_frame_8)
    status, _, err = prepare(rows, "--short-side", "32")
    assert status == 2 and "No space left on device" in err and "run the command again" in err
    assert [path.name for path in (tmp_path / "out/processed_frames2/S1/stir").iterdir()] == ["1"]
    monkeypatch.undo()
    first = tmp_path / "out/processed_frames2/S1/stir/1/rgb/rgb0001.png"
    written = first.stat().st_mtime_ns
    assert prepare(rows, "--short-side", "32")[0] == 0
    assert files(tmp_path / "out") == whole and first.stat().st_mtime_ns == written


def test_another_command_into_the_same_folder_is_refused(tmp_path, prepare):
    assert prepare([GOOD], "--short-side", "32")[0] == 0
    before = files(tmp_path / "out")
    for rows, flags, changed in (
        ([GOOD], ("--short-side", "48"), "short_side"),
        ([GOOD], ("--short-side", "32", "--fps", "5"), "fps"),
        ([GOOD, GOOD], ("--short-side", "32"), "annotations"),
    ):
        status, _, err = prepare(rows, *flags)
        assert status == 2 and f"started with other {changed}; choose a new --out" in err
    assert files(tmp_path / "out") == before


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, prepare):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("x")
    status, _, err = prepare([GOOD])
    assert status == 2 and "was not made by this command" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_video_that_breaks_off_names_the_row(tmp_path, prepare):
    path = tmp_path / "videos/one.avi"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    status, _, err = prepare([GOOD, "videos/one.avi,S1,stir,0,24"], "--short-side", "32")
    assert status == 2 and "line 3: the range ends at 24" in err
    # The file's header still promises 24 frames: clips that are complete stay, the broken one leaves nothing.
    assert [path.name for path in (tmp_path / "out/processed_frames2/S1/stir").iterdir()] == ["1"]


@pytest.mark.skipif(not REAL.is_file(), reason="no ../shared/real_clips beside the checkout")
def test_real_video(tmp_path, command):
    status, _, _ = command(
        main, PrepareConfig, "--annotations", REAL, "--out", tmp_path / "out", "--short-side", "32"
    )
    index = ClipIndex.from_tree(tmp_path / "out")
    assert status == 0 and len(index) == 28 and len(index.class_names) == 5
    assert len(index.select(["S2"])) == 7 and sum(clip.num_frames for clip in index.clips) == 720
