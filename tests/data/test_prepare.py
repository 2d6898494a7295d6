import re
import unicodedata
from pathlib import Path

import cv2
import pytest
from PIL import Image

from data.index import ClipIndex
from data.prepare.command import PrepareConfig, main
from tests.support.films import red_film, shown_numbers

REAL = Path(__file__).parents[3] / "shared" / "real_clips" / "annotations.csv"


@pytest.fixture
def prepare(tmp_path, command):
    red_film(tmp_path / "videos/one.avi")

    def run_prepare(rows, *flags, header="video,user,action,start_frame,stop_frame", out="out"):
        table = tmp_path / "annotations.csv"
        table.write_text("\n".join((header, *rows)) + "\n")
        return command(main, PrepareConfig, "--annotations", table, "--out", tmp_path / out, *flags)

    return run_prepare


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def times_of_change(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*.png")}


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
        ("videos/text.avi,S1,stir,0,4", "line 3: .*text.avi can't be decoded: it is text .* 'no video'"),
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
    assert (status, err) == (2, f"error: can't read the annotations {missing}: No such file or directory\n")


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
    ):
        status, _, err = prepare(rows, *flags)
        assert status == 2 and f"started with other {changed}; choose a new --out" in err
    assert files(tmp_path / "out") == before


def test_a_corrected_row_changes_only_its_own_clip(tmp_path, prepare):
    """Rows corrected, put in, and taken away; flow that was made of a clip goes where the clip goes."""
    flags = ("--short-side", "32")
    rows = [GOOD, "videos/one.avi,S1,stir,4,12", "videos/one.avi,S1,stir,12,16"]
    assert prepare(rows, *flags)[0] == 0
    top = tmp_path / "out/processed_frames2/S1/stir"
    flow = tmp_path / "out/flow_x_processed/S1/stir/2/flow_x_00001.png"
    flow.parent.mkdir(parents=True)
    flow.write_bytes(b"flow")
    before = times_of_change(top)
    status, out, _ = prepare(["videos/one.avi,S1,stir,20,22", GOOD, "videos/one.avi,S1,stir,12,16"], *flags)
    assert status == 0 and "note: clips that no row asks for" in out and out.count("S1/stir/2") == 1
    assert shown_numbers(top / "2") == [20, 21] and not flow.exists()
    after = times_of_change(top)
    assert all(after[path] == before[path] for path in before if path.parts[0] != "2")
    aside = tmp_path / "out/replaced"
    assert shown_numbers(aside / "processed_frames2/S1/stir/2") == list(range(4, 12))
    assert (aside / "flow_x_processed/S1/stir/2/flow_x_00001.png").read_bytes() == b"flow"
    assert prepare(rows, *flags)[0] == 0  # and back: the second one that is replaced keeps the first
    assert shown_numbers(top / "2") == list(range(4, 12))
    assert shown_numbers(aside / "processed_frames2/S1/stir/2-2") == [20, 21]


def test_a_video_that_was_exchanged_is_cut_again_and_a_renamed_one_is_not(tmp_path, prepare):
    red_film(tmp_path / "videos/two.avi", fps=20)
    rows = [GOOD, "videos/two.avi,S2,stir,0,4"]
    assert prepare(rows, "--short-side", "32")[0] == 0
    before = times_of_change(tmp_path / "out/processed_frames2")
    (tmp_path / "videos/two.avi").rename(tmp_path / "videos/three.avi")
    red_film(tmp_path / "videos/one.avi", fps=30)
    assert prepare([GOOD, "videos/three.avi,S2,stir,0,4"], "--short-side", "32")[0] == 0
    after = times_of_change(tmp_path / "out/processed_frames2")
    assert {path.parts[0] for path in after if after[path] != before[path]} == {"S1"}


def test_a_tree_of_before_clips_were_listed_goes_on_under_the_same_table_alone(tmp_path, prepare):
    rows = [GOOD, "videos/one.avi,S1,stir,4,12"]
    assert prepare(rows, "--short-side", "32")[0] == 0
    whole = files(tmp_path / "out")
    (tmp_path / "out/clips.csv").unlink()
    status, _, err = prepare(rows[:1], "--short-side", "32")
    assert status == 2 and "started with other annotations; choose a new --out" in err
    assert prepare(rows, "--short-side", "32")[0] == 0 and files(tmp_path / "out") == whole


def test_skip_broken_goes_on_and_lists_the_rest(tmp_path, prepare):
    red_film(tmp_path / "videos/half.avi")
    content = (tmp_path / "videos/half.avi").read_bytes()
    (tmp_path / "videos/half.avi").write_bytes(content[: len(content) * 6 // 10])
    (tmp_path / "videos/empty.mp4").touch()
    rows = [
        "videos/half.avi,S1,cut,0,24",
        "videos/empty.mp4,S1,stir,0,4",
        "videos/none.avi,S1,stir,0,4",
        "videos/half.avi,S1,stir,0,4",
        "videos/one.avi,S1,stir,5,x",
        "videos/one.avi,S1,stir,5,8",
    ]
    status, _, err = prepare(rows, "--short-side", "32")
    assert status == 2 and re.findall(r"line (\d)", err) == ["3", "4", "6"]
    assert not (tmp_path / "out").exists()
    status, out, _ = prepare(rows, "--short-side", "32", "--skip-broken")
    assert status == 1 and "2 clips of 1 actions and 1 users" in out and "4 rows skipped" in out
    assert re.findall(r"line (\d): ", out) == ["2", "3", "4", "6"]
    assert re.search(r"line 2: .* after \d+ of the 24 frames that it states", out)
    assert "empty.mp4 can't be decoded: it is empty; copy" in out
    before = times_of_change(tmp_path / "out")
    rows = ["videos/half.avi,S1,cut,0,6", *rows[3:4], *rows[5:]]
    assert prepare(rows, "--short-side", "32")[0] == 0
    after = times_of_change(tmp_path / "out")
    assert {path: after[path] for path in before} == before and len(after) == len(before) + 6


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "emptied"])
def test_clips_whose_video_is_lost_stay_when_it_is_skipped(tmp_path, prepare, lose):
    red_film(tmp_path / "videos/two.avi")
    rows = [GOOD, "videos/two.avi,S1,stir,0,3"]
    assert prepare(rows, "--short-side", "32")[0] == 0
    before = times_of_change(tmp_path / "out")
    lose(tmp_path / "videos/two.avi")
    rows = ["videos/one.avi,S1,stir,8,12", *rows]
    for _ in range(2):
        assert prepare(rows, "--short-side", "32", "--skip-broken")[0] == 1
        after = times_of_change(tmp_path / "out")
        assert {path: after[path] for path in before} == before and len(after) == len(before) + 4
        assert shown_numbers(tmp_path / "out/processed_frames2/S1/stir/3") == [8, 9, 10, 11]


def test_a_corrected_label_leaves_no_clip_under_the_old_one_though_rows_are_skipped(tmp_path, prepare):
    red_film(tmp_path / "videos/two.avi")
    rows = [GOOD, "videos/one.avi,S1,cut,0,6", "videos/two.avi,S1,stir,0,3"]
    assert prepare(rows, "--short-side", "32")[0] == 0
    (tmp_path / "videos/two.avi").unlink()
    rows[1] = "videos/one.avi,S1,pour,0,6"
    status, said, _ = prepare(rows, "--short-side", "32", "--skip-broken")
    assert status == 1 and "clips that no row asks for are now in" in said and "S1/cut/1" in said
    assert not (tmp_path / "out/processed_frames2/S1/cut/1").exists()
    assert shown_numbers(tmp_path / "out/processed_frames2/S1/pour/1") == [0, 1, 2, 3, 4, 5]
    assert "note: 1 clips that no valid row asks for stay, since rows that are skipped may: S1/stir/" in said


def test_what_was_not_cut_by_this_command_keeps_its_place(tmp_path, prepare):
    assert prepare([GOOD], "--short-side", "32")[0] == 0
    own = tmp_path / "out/processed_frames2/S1/stir/2"
    own.mkdir()
    assert prepare([GOOD, "videos/one.avi,S1,stir,8,9"], "--short-side", "32")[0] == 0
    assert not any(own.iterdir()) and shown_numbers(own.with_name("3")) == [8]


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


def test_all_bad_rows_are_named_in_their_order(prepare):
    rows = [
        "videos/one.avi,S1,stir,0,99",
        "videos/one.avi,S1,,0,4",
        GOOD,
        "videos/two.avi,S1,stir,0,4",
        "a,b,c,d,e,f",
    ]
    status, _, err = prepare(rows)
    assert status == 2 and re.findall(r"line (\d): ", err) == ["2", "3", "5", "6"]


def test_videos_are_found_however_their_names_are_written(tmp_path, prepare):
    red_film(tmp_path / "videos" / unicodedata.normalize("NFD", "rühren.avi"))
    rows = ["videos\\rühren.avi,S1,stir,0,2", "videos\\..\\..\\one.avi,S1,stir,0,2"]
    status, _, err = prepare(rows)
    assert status == 2 and "line 2" not in err and "line 3: video" in err and "outside the folder" in err


@pytest.mark.parametrize(
    "rows,told",
    [
        ([GOOD, GOOD], ["lines 2 and 3: the same frames 0 to 4 of one.avi twice, as S1/stir"]),
        ([GOOD, GOOD.replace("S1", "S2")], ["lines 2 and 3: .* under users S1 and S2"]),
        (
            [GOOD, "videos/one.avi,S2,cut,3,9"],
            ["lines 2 and 3: the same frames 3 to 4 .* under users S1 and S2"],
        ),
        (
            [GOOD, GOOD.replace("one", "copy").replace("S1", "S2")],
            ["lines 2 and 3: .* under users S1 and S2"],
        ),
        ([GOOD, GOOD.replace("stir", "cut")], ["lines 2 and 3: .* as stir and as cut"]),
        (
            ["videos/one.avi,S1,stir,2,9", GOOD],
            ["lines 2 and 3: the same frames 2 to 4 .* in two clips of S1/stir"],
        ),
        ([GOOD, "videos/one.avi,S1,cut,3,9", "videos/one.avi,S2,cut,9,12"], []),
        ([GOOD, GOOD.replace("stir", "Stir").replace("0,4", "4,8")], ["actions 'Stir', 'stir' differ"]),
        ([GOOD, GOOD.replace("S1", "s1").replace("0,4", "4,8")], ["users 'S1', 's1' differ"]),
    ],
)
def test_the_same_twice_and_names_that_look_alike_are_noted(tmp_path, prepare, rows, told):
    red_film(tmp_path / "videos/copy.avi")
    status, out, _ = prepare(rows, "--short-side", "32")
    found = [line for line in out.splitlines() if line.startswith("note: ")]
    assert status == 0 and len(found) == len(told), out
    assert all(re.match(f"note: {line}", note) for line, note in zip(told, found, strict=True)), out


def test_many_pairs_are_counted(prepare):
    status, out, _ = prepare([GOOD] * 6, "--short-side", "32")
    assert (
        status == 0 and out.count("twice, as") == 10 and "5 more pairs of lines show the same frames" in out
    )
