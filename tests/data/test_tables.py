"""Tables of annotations as people, spreadsheets and scripts write them."""

import re
import unicodedata

import pytest

from data.prepare.command import PrepareConfig, main
from tests.support.films import red_film, shown_numbers

HEADER = "video,user,action,start_frame,stop_frame"
SECONDS = "video,user,action,start_sec,stop_sec"


def prepare_bytes(tmp_path, command, content, *flags):
    """Prepare by a table of bytes; returns status, what was said, and the frames shown in each clip."""
    red_film(tmp_path / "one.avi")
    (tmp_path / "table.csv").write_bytes(content)
    paths = ("--annotations", tmp_path / "table.csv", "--out", tmp_path / "out")
    status, out, err = command(main, PrepareConfig, *paths, "--short-side", "32", *flags)
    top = tmp_path / "out/processed_frames2"
    clips = {"/".join(path.parts[-3:]): shown_numbers(path) for path in sorted(top.glob("*/*/*"))}
    return status, out + err, clips


ROW = "one.avi,S1,rühren,2,8"
TABLES = {
    "semicolons": f"{HEADER}\r\n{ROW}\r\n".replace(",", ";").encode(),
    "tabs": f"{HEADER}\n{ROW}\n".replace(",", "\t").encode(),
    "a line that names the separator": b"sep=;\r\n" + f"{HEADER}\r\n{ROW}\r\n".replace(",", ";").encode(),
    "UTF-16": f"{HEADER}\n{ROW}\n".encode("utf-16"),
    "UTF-16, big-endian, without a mark": f"{HEADER}\n{ROW}\n".encode("utf-16-be"),
    "Windows-1252": f"{HEADER}\n{ROW}\n".encode("cp1252"),
    "Windows-1252 without a letter": f"{HEADER},remark\n{ROW},–\n".replace("ü", "u").encode("cp1252"),
    "two tables, one below the other": f"{HEADER}\n{ROW}\n\n{HEADER}\n".encode(),
    "line ends of old Macs": f"{HEADER}\r{ROW}\r".encode(),
    "blanks and capitals in the header": f"Video, USER ,action,Start Frame,stop_frame \n{ROW}\n".encode(),
    "empty rows and columns": f"\n{HEADER},,\n,,,,\n{ROW},,\n,,,,\n , ,\n".encode(),
    "8.0": f"{HEADER}\n{ROW.replace('2,8', '2.0,8.0')}\n".encode(),
    "8,0 in quotes": f'{HEADER}\none.avi,S1,rühren,2,"8,0"\n'.encode(),
    "accents as two characters": f"{HEADER}\n{unicodedata.normalize('NFD', ROW)}\n".encode(),
    "seconds": f"{SECONDS}\n{ROW.replace('2,8', '.2,0.8')}\n".encode(),
    "decimal commas": f"{SECONDS}\none.avi,S1,rühren,0:2,0:800\n".replace(",", ";")
    .replace(":", ",")
    .encode(),
    "clock times": f"{SECONDS}\n{ROW.replace('2,8', '0:00.2,00:00:00.80')}\n".encode(),
    "clock times of subtitles": f'{SECONDS}\none.avi,S1,rühren,"00:00:00,200","00:00:00,800"\n'.encode(),
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES.keys())
def test_a_table_is_read_as_people_write_it(tmp_path, command, content):
    status, said, clips = prepare_bytes(tmp_path, command, content)
    assert status == 0, said
    ((clip, numbers),) = clips.items()
    assert clip in ("S1/rühren/1", "S1/ruhren/1") and numbers == [2, 3, 4, 5, 6, 7]
    guessed = content in (TABLES["Windows-1252"], TABLES["Windows-1252 without a letter"])
    assert ("is read as Windows-1252, with words such as " in said) == guessed


@pytest.mark.parametrize(
    "header,row,first,last",
    [
        ("video,user,action", "one.avi,S1,stir", 0, 24),
        ("video,user,action,remark", "one.avi,S1,stir,slow", 0, 24),
        (HEADER, "one.avi,S1,stir,,", 0, 24),
        (HEADER, "one.avi,S1,stir,20,", 20, 24),
        (HEADER, "one.avi,S1,stir,,3", 0, 3),
        (SECONDS, "one.avi,S1,stir,2.2,", 22, 24),
    ],
)
def test_without_a_range_the_whole_video_without_a_stop_the_rest(tmp_path, command, header, row, first, last):
    status, said, clips = prepare_bytes(tmp_path, command, f"{header}\n{row}\n".encode())
    assert status == 0, said
    assert clips == {"S1/stir/1": list(range(first, last))}


@pytest.mark.parametrize(
    "content,message",
    [
        (
            b"video,user,action,start,stop\none.avi,S1,stir,0,4\n",
            "the columns should be .* found .*start,stop",
        ),
        (b"video,user,user,action\none.avi,S1,S1,stir\n", "there are two columns user"),
        (b"PK\x03\x04 workbook", "is a spreadsheet's own document; save it as CSV"),
        (b"", "is empty; it should hold a header"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16")[:-1], "its encoding is unknown; save it as CSV"),
        (b"\x1b[31m,user\nx,y\n", r"found '\\x1b\[31m,user'"),
        (
            f'{SECONDS}\none.avi,S1,stir,0,"1,500"\n'.encode(),
            "line 2: .* seconds such as .* got '0' and '1,500'",
        ),
        (f"{SECONDS}\none.avi,S1,stir,0,00:00:01:15\n".encode(), "line 2: .* seconds such as"),
        (f"{SECONDS}\none.avi,S1,stir,0,0:90:00\n".encode(), "line 2: .* seconds such as"),
        (f"{SECONDS}\none.avi,S1,stir,0,inf\n".encode(), "line 2: the range should"),
        (f"{HEADER}\none.avi,S1,stir,0,0:01\n".encode(), "line 2: .* whole frame numbers"),
        (f"{HEADER}\none.avi,S1,stir,30,\n".encode(), "line 2: the range starts at 30, .* after 24 frames"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused(tmp_path, command, content, message):
    status, said, _ = prepare_bytes(tmp_path, command, content)
    assert status == 2 and re.search(message, said), said
    assert not (tmp_path / "out").exists()
