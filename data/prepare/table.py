"""Reads tables of text as people, spreadsheets and scripts write them."""

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError, reason

_DELIMITERS = ",;\t"
_DOCUMENTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how workbooks of spreadsheets begin


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: Their names in lower case, without blanks around them.
        rows: Line of the file and values by column of each row that isn't empty. Short rows lack their last
            columns; values without a column stand under "".
        decimal_comma: Whether columns are separated by semicolons, as where "1,5" is a number.
        notes: What had to be guessed.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    decimal_comma: bool
    notes: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a table with a header, whatever its encoding and its separator.

    Raises:
        UserError: The file can't be read, isn't text, is empty or has a column twice.
    """
    text, notes = _read_text(path)
    first = re.match(r'"?sep=([,;\t])"?\r?\n', text)  # a line in which Excel is told the separator
    if first:
        delimiter = first[1]
    else:
        header = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        rows = [(reader.line_num, [value.strip() for value in row]) for row in reader][bool(first) :]
    except csv.Error as error:
        raise UserError(f"can't read the annotations {path}: {error} in line {reader.line_num}") from None
    filled = [(line, row) for line, row in rows if any(row)]
    if not filled:
        raise UserError(f"{path} is empty; it should hold a header and a row for each clip")
    columns = _names(filled[0][1])
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise UserError(f"{path}: there are two columns {twice[0]}; remove or rename one")
    values = []
    for line, row in filled[1:]:
        if _names(row) == columns:  # tables that were put one below the other
            continue
        extra = {"": ",".join(filter(None, row[len(columns) :]))}
        values.append((line, dict(zip(columns, row, strict=False)) | extra))
    return Table(tuple(filter(None, columns)), tuple(values), delimiter == ";", notes)


def _names(header: list[str]) -> list[str]:
    return ["_".join(name.lower().split()) for name in header]


def _read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Read a text file in UTF-8, UTF-16 or Windows-1252; the last is a guess, and noted."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"can't read the annotations {path}: {reason(error)}") from None
    if content.startswith(_DOCUMENTS):
        raise UserError(f"{path} is a spreadsheet's own document; save it as CSV (UTF-8)")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif b"\0" in content[:2]:  # of a header's first letter in UTF-16, one byte is zero
        encodings = ["utf-16-be" if content[0] == 0 else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "cp1252" and (odd := re.search(r"\w*[^\0-\x7f]\w*", text)):
            note = f"{path} is not UTF-8; it is read as Windows-1252, with words such as {odd[0]!r}"
            return text, (note,)
        return text, ()
    raise UserError(f"can't read the annotations {path}: its encoding is unknown; save it as CSV (UTF-8)")
