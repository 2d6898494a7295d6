"""Tables read back: what a cell says, as Markdown, LaTeX and CSV."""

import csv
import io
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.files import write_report
from reporting.page import Section
from reporting.table import EMPTY, Table, interval, number, p_value, spread, words
from reporting.table_formats import as_csv, as_latex, as_markdown, escape_tex


def test_cells():
    assert spread([40.0, 50.0, 60.0]).text == "50.0 ± 10.0" and spread([40.04]).text == "40.0"
    assert spread([-1.0, -3.0], "+.1f").text == "−2.0 ± 1.4"
    assert spread([]) == number(None) == words("") == EMPTY
    assert interval(-3.21, 4).text == "−3.2 to 4.0"
    assert [p_value(p).text for p in (0.00002, 0.00324, 0.04999, 1)] == [
        "<0.0001",
        "0.0032",
        "0.050",
        "1.000",
    ]


def test_markdown_keeps_its_columns():
    table = Table(["row", "a|b"], [[words("x | y\nz"), number(1.25, ".2f")]])
    assert as_markdown(table) == "| row | a\\|b |\n| --- | ---: |\n| x \\| y z | 1.25 |\n"


def test_csv_holds_what_was_rounded():
    rows = [
        [words("a, b"), spread([1 / 3, 2 / 3]), interval(0.1, 0.2), words("GPU")],
        [words("c"), EMPTY, EMPTY, EMPTY],
        [words("d"), spread([0.5]), EMPTY, words("CPU")],
    ]
    lines = list(csv.reader(io.StringIO(as_csv(Table(["row", "x %", "95 %", "device"], rows)))))
    assert lines[0] == ["row", "x %", "x %, sd", "95 %, low", "95 %, high", "device"]
    assert lines[1][0] == "a, b" and [float(cell) for cell in lines[1][1:3]] == [
        0.5,
        pytest.approx(0.2357, abs=1e-4),
    ]
    assert lines[1][3:] == ["0.1", "0.2", "GPU"]
    assert lines[2] == ["c", "", "", "", "", ""] and lines[3] == ["d", "0.5", "", "", "", "CPU"]


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
    table = Table(["row & all", "%"], [[words("a & b"), number(1)], [words("c_d"), EMPTY]])
    lines = [line for line in as_latex(table, "50 % #1").splitlines() if line.endswith(r"\\")]
    assert lines[0] == r"\caption{50 \% \#1} \\"
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines[1:]] == [1, 1]
    assert r"\toprule row \& all & \% \\ \midrule" in as_latex(table, "")


def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so report.tex was not compiled")
    odd = "put_cheese,bread & 50 % #1 $ ~ ^ \\ {x} <i> − … —"
    table = Table([odd, "±"], [[words(odd), spread([1.0, 2.0])], [words("x"), p_value(0.00001)]])
    write_report(tmp_path, odd, odd, [Section(odd, [odd], table, note=odd, key="t")])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout[-800:]
    assert (tmp_path / "report.pdf").stat().st_size > 1000
