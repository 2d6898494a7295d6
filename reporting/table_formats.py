"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
import math
import textwrap
from collections.abc import Sequence

from reporting.table import EMPTY, LONG, Cell, Table

_HEADING, _LONG_MM = 14, 55

_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "…": r"\dots{}",
    "—": "---",
}


def as_markdown(table: Table) -> str:
    """Write a table for a README."""
    rule = ["---" if table.is_worded(column) else "---:" for column in range(len(table.header))]
    lines = [table.header, rule, *([cell.text for cell in row] for row in table.rows)]
    return "\n".join("| " + " | ".join(_one_line(text) for text in line) + " |" for line in lines) + "\n"


def as_latex(table: Table, caption: str) -> str:
    """Write a table for the packages array, booktabs and longtable."""
    columns = "".join(_column(table, column) for column in range(len(table.header)))
    named = enumerate(table.header)
    header = " & ".join(escape_tex(t) if table.is_worded(c) else _heading(t) for c, t in named) + r" \\"
    rows = [" & ".join(escape_tex(cell.text) for cell in row) + r" \\" for row in table.rows]
    lines = [
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{escape_tex(caption)}}} \\",
        rf"\toprule {header} \midrule \endhead",
        *rows,
        r"\bottomrule",
        r"\end{longtable}",
    ]
    return "\n".join(lines) + "\n"


def _column(table: Table, column: int) -> str:
    if not table.is_worded(column):
        return "r"
    return rf">{{\raggedright\arraybackslash}}p{{{_LONG_MM}mm}}" if table.width(column) > LONG else "l"


def _heading(text: str) -> str:
    """Break a long heading of numbers into lines, so that its column is as narrow as they are."""
    lines = [escape_tex(line) for line in textwrap.wrap(text, _HEADING)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[r]{{{stacked}}}" if len(lines) > 1 else stacked


def escape_tex(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_TEX.get(character, character) for character in text)


def as_csv(table: Table) -> str:
    """Write a table for other programs: every number in a column of its own, unrounded."""
    parts = [_parts([row[column] for row in table.rows]) for column in range(len(table.header))]
    text = io.StringIO()
    file = csv.writer(text, lineterminator="\n")
    named = zip(table.header, parts, strict=True)
    file.writerow([f"{name}, {part}" if part else name for name, found in named for part in found])
    for row in table.rows:
        file.writerow(
            [value for cell, found in zip(row, parts, strict=True) for value in _values(cell, found)]
        )
    return text.getvalue()


def _parts(cells: Sequence[Cell]) -> list[str]:
    """Name the numbers of a column's cells; a column of words has one nameless part."""
    return list(dict.fromkeys(name for cell in cells for name, _ in cell.numbers)) or [""]


def _values(cell: Cell, parts: Sequence[str]) -> list[str]:
    numbers = dict(cell.numbers)
    if not numbers:
        return ["" if cell == EMPTY else cell.text] + [""] * (len(parts) - 1)
    return [repr(numbers[part]) if math.isfinite(numbers.get(part, math.nan)) else "" for part in parts]


def _one_line(text: str) -> str:
    return " ".join(escape_markdown(text).replace("|", r"\|").split())


def escape_markdown(text: str) -> str:
    """Write text so that no reader of Markdown takes it for HTML."""
    return text.replace("<", r"\<")
