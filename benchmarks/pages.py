"""Tables that a benchmark puts into a page of the documentation, between marks."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import UserError


def read_page(path: Path, names: Iterable[str]) -> str:
    """Read the file that the tables go to, before minutes are spent on measuring.

    Raises:
        UserError: It is not there, or has no place for a table.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for name in names:
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if not all(mark in text for mark in marks):
            raise UserError(
                f"--write {path} has no lines {' and '.join(marks)}; put them where the table goes"
            )
    return text


def insert_tables(text: str, tables: dict[str, str]) -> str:
    """Put tables between `<!-- name -->` and `<!-- end of name -->`."""
    for name, table in tables.items():
        marks = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        before, *rest = re.split(marks, text, flags=re.DOTALL)
        assert len(rest) == 3, f"the file should have one place for the table {name}"
        text = f"{before}{rest[0]}{table}\n{rest[1]}{rest[2]}"
    return text


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text and the others numbers."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
