"""Tables read back: what a cell says, as Markdown, LaTeX and CSV."""

import csv
import io
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.page import Section, write_report
from reporting.tables import (
    EMPTY,
    Table,
    as_csv,
    as_latex,
    as_markdown,
    count,
    escape_tex,
    interval,
    number,
    p_value,
    spread,
    words,
)


def test_cells():
    assert spread("x", [[40.0, 50.0, 60.0], [40.04], []]).texts == ["50.0 ± 10.0", "40.0", EMPTY]
    assert spread("x", [[-1.0, -3.0]], "+.1f").texts == ["−2.0 ± 1.4"]
    assert number("x", [3, None], ".0f").texts == ["3", EMPTY] and words("x", ["a", ""]).texts == ["a", EMPTY]
    assert interval("x", [(-3.21, 4), None]).texts == ["−3.2 to 4.0", EMPTY]
    assert p_value("x", [0.00002, 0.00324, 0.04999, 1]).texts == ["<0.0001", "0.0032", "0.050", "1.000"]
    assert count("x", [(2, 3), (3, 3)]).texts == ["2 of 3", "3"]
    assert count("x", [(3, 3), None], when_all=True).texts == ["3 of 3", EMPTY]


def test_columns_without_a_value_are_left_out_of_tables_with_rows():
    found = Table.of(words("row", "ab"), spread("x", [[], []]), number("y", [1, None]))
    assert found.header == ["row", "y"] and len(found) == 2
    nothing = Table.of(words("row", []), number("x", []))
    assert not nothing and nothing.header == ["row", "x"] and as_csv(nothing) == "row,x\n"


def test_pages_sort_by_the_first_number_of_a_cell():
    found = Table.of(words("row", "ab"), interval("x", [(2, 3), None]), spread("y", [[4.0, 6.0], []]))
    assert [[cell.number for cell in row] for row in found.rows()] == [[None, 2, 5], [None, None, None]]


def test_markdown_keeps_its_columns():
    found = Table.of(words("row", ["x | y\nz"]), number("a|b", [1.25], ".2f"))
    assert as_markdown(found) == "| row | a\\|b |\n| --- | ---: |\n| x \\| y z | 1.25 |\n"


def test_csv_holds_what_was_rounded():
    found = Table.of(
        words("row", ["a, b", "c", "d"]),
        spread("x %", [[1 / 3, 2 / 3], [], [0.5]]),
        interval("95 %", [(0.1, 0.2), None, None]),
        words("device", ["GPU", "", "CPU"]),
    )
    lines = list(csv.reader(io.StringIO(as_csv(found))))
    assert lines[0] == ["row", "x %", "x %, sd", "95 %, low", "95 %, high", "device"]
    assert lines[1][0] == "a, b" and [float(cell) for cell in lines[1][1:3]] == [
        0.5,
        pytest.approx(0.2357, abs=1e-4),
    ]
    assert lines[1][3:] == ["0.1", "0.2", "GPU"]
    assert lines[2] == ["c", "", "", "", "", ""] and lines[3] == ["d", "0.5", "", "", "", "CPU"]


def test_columns_of_one_name_are_all_kept():
    found = Table.of(words("class", ["a"]), number("clips", [4], ".0f"), number("clips", [75], ".0f"))
    assert as_csv(found) == "class,clips,clips\na,4.0,75.0\n" and "4 & 75" in as_latex(found, "")


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30))
def test_escaped_text_says_the_same(text):
    """Read LaTeX's escapes back; nothing special is left without one."""
    back = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"$\pm$": "±"}
    back |= {r"\textless{}": "<", r"\textgreater{}": ">"} | {f"\\{sign}": sign for sign in "&%$#_{}"}
    pattern = "|".join(re.escape(code) for code in sorted(back, key=len, reverse=True))
    escaped = escape_tex(text)
    assert re.sub(pattern, lambda found: back[found[0]], escaped) == text
    assert not set(re.sub(pattern, "", escaped)) & set("&%$#_{}~^\\")


def test_latex_lines_have_as_many_cells_as_the_header():
    found = as_latex(Table.of(words("row & all", ["a & b", "c_d"]), number("%", [1, None])), "50 % #1")
    lines = [line for line in found.splitlines() if "&" in line]
    assert lines[0] == r"row \& all & \% \\" and lines[-2:] == [r"a \& b & 1.0 \\", r"c\_d & --- \\"]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1] * len(lines)
    assert r"\caption{50 \% \#1} \\" in found and found.startswith(r"\begin{longtable}{lr}")


def test_latex_breaks_long_texts_and_headings():
    found = as_latex(Table.of(words("why", ["word " * 20]), number("seeds that agree", [1])), "")
    assert r"{>{\raggedright\arraybackslash}p{55mm}r}" in found
    assert r"\shortstack[r]{seeds that \\ agree}" in found


def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so report.tex was not compiled")
    odd = "put_cheese,bread & 50 % #1 $ ~ ^ \\ {x} <i> − … —"
    found = Table.of(words(odd, [odd, "x"]), spread("±", [[1.0, 2.0], []]), p_value("p", [1, 0.00001]))
    write_report(tmp_path, odd, odd, [Section(odd, [odd], found, note=odd, key="t")])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout[-800:]
    assert (tmp_path / "report.pdf").stat().st_size > 1000
