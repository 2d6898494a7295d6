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
    Count,
    Interval,
    Number,
    PValue,
    Spread,
    Table,
    Words,
    as_csv,
    as_latex,
    as_markdown,
    escape_tex,
)


def table(columns, *rows):
    """A table of rows whose values stand in the order of the columns."""
    return Table.of(rows, {column: lambda row, n=place: row[n] for place, column in enumerate(columns)})


def texts(column, *values):
    return [row[0].text for row in table([column], *([value] for value in values)).rows]


def test_cells():
    assert texts(Spread("x"), [40.0, 50.0, 60.0], [40.04], []) == ["50.0 ± 10.0", "40.0", EMPTY]
    assert texts(Spread("x", "+.1f"), [-1.0, -3.0]) == ["−2.0 ± 1.4"]
    assert texts(Number("x", ".0f"), 3, None) == ["3", EMPTY] and texts(Words("x"), "a", "") == ["a", EMPTY]
    assert texts(Interval("x"), (-3.21, 4), None) == ["−3.2 to 4.0", EMPTY]
    assert texts(PValue("x"), 0.00002, 0.00324, 0.04999, 1) == ["<0.0001", "0.0032", "0.050", "1.000"]
    assert texts(Count("x"), (2, 3), (3, 3)) == ["2 of 3", "3"]
    assert texts(Count("x", when_all=True), (3, 3)) == ["3 of 3"]


def test_columns_without_a_value_are_left_out_of_tables_with_rows():
    columns = [Words("row"), Spread("x"), Number("y")]
    assert table(columns, ["a", [], 1], ["b", (), None]).header == ["row", "y"]
    nothing = table(columns)
    assert not nothing and nothing.header == ["row", "x", "y"] and as_csv(nothing) == "row,x,y\n"


def test_pages_sort_by_the_first_number_of_a_cell():
    found = table([Words("row"), Interval("x"), Spread("y")], ["a", (2, 3), [4.0, 6.0]], ["b", None, []])
    assert [[cell.number for cell in row] for row in found.rows] == [[None, 2, 5], [None, None, None]]


def test_markdown_keeps_its_columns():
    found = table([Words("row"), Number("a|b", ".2f")], ["x | y\nz", 1.25])
    assert as_markdown(found) == "| row | a\\|b |\n| --- | ---: |\n| x \\| y z | 1.25 |\n"


def test_csv_holds_what_was_rounded():
    columns = [Words("row"), Spread("x %"), Interval("95 %"), Words("device")]
    rows = [["a, b", [1 / 3, 2 / 3], (0.1, 0.2), "GPU"], ["c", [], None, ""], ["d", [0.5], None, "CPU"]]
    lines = list(csv.reader(io.StringIO(as_csv(table(columns, *rows)))))
    assert lines[0] == ["row", "x %", "x %, sd", "95 %, low", "95 %, high", "device"]
    assert lines[1][0] == "a, b" and [float(cell) for cell in lines[1][1:3]] == [
        0.5,
        pytest.approx(0.2357, abs=1e-4),
    ]
    assert lines[1][3:] == ["0.1", "0.2", "GPU"]
    assert lines[2] == ["c", "", "", "", "", ""] and lines[3] == ["d", "0.5", "", "", "", "CPU"]


def test_columns_of_one_name_are_all_kept():
    """A row of a table may be called like a column of another table that has it for a heading."""
    found = table([Words("class"), Number("clips", ".0f"), Number("clips", ".0f")], ["a", 4, 75])
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
    found = as_latex(table([Words("row & all"), Number("%")], ["a & b", 1], ["c_d", None]), "50 % #1")
    lines = [line for line in found.splitlines() if "&" in line]
    assert lines[0] == r"row \& all & \% \\" and lines[-2:] == [r"a \& b & 1.0 \\", r"c\_d & --- \\"]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1] * len(lines)
    assert r"\caption{50 \% \#1} \\" in found and found.startswith(r"\begin{longtable}{lr}")


def test_latex_breaks_long_texts_and_headings():
    found = as_latex(table([Words("why"), Number("seeds that agree")], ["word " * 20, 1]), "")
    assert r"{>{\raggedright\arraybackslash}p{55mm}r}" in found
    assert r"\shortstack[r]{seeds that \\ agree}" in found


def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so report.tex was not compiled")
    odd = "put_cheese,bread & 50 % #1 $ ~ ^ \\ {x} <i> − … —"
    found = table([Words(odd), Spread("±"), PValue("p")], [odd, [1.0, 2.0], None], ["x", [], 0.00001])
    write_report(tmp_path, odd, odd, [Section(odd, [odd], found, note=odd, key="t")])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout[-800:]
    assert (tmp_path / "report.pdf").stat().st_size > 1000
