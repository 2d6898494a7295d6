"""Tables of words and numbers: made of columns, kept as pandas frames, written as CSV, Markdown and LaTeX.

A table holds its numbers unrounded, for CSV files and for sorting on a page, and the texts that readers see;
a column's class says how a value becomes either.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
EMPTY = "—"
_LONG, _HEADING = 40, 14
"""Characters beyond which a text, and the heading of a column of numbers, is broken into lines."""
_PARAGRAPH = r">{\raggedright\arraybackslash}p{55mm}"

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


@dataclass(frozen=True, eq=False)
class Column:
    """How values of one kind are written; None and empty values are `EMPTY`.

    Attributes:
        name: The heading.
        spec: Format of its numbers.
        parts: Names of a cell's numbers in a CSV file, after the heading; pages sort by the first.
        words: Whether it holds text alone.
    """

    name: str
    spec: str = ".1f"
    parts: ClassVar[tuple[str, ...]] = ("",)
    words: ClassVar[bool] = False

    def numbers(self, value: Any) -> tuple[Any, ...]:
        """Convert a value to the numbers of its cell, one a part."""
        return (value,)

    def text(self, value: Any) -> str:
        """Convert a value to the text of its cell."""
        return self.format(value)

    def format(self, number: float) -> str:
        """Write one number, with a minus sign in place of a hyphen."""
        return f"{number:{self.spec}}".replace("-", "−")


class Words(Column):
    """Text, aligned left."""

    words = True

    def text(self, value: Any) -> str:
        """Leave it as it is."""
        return str(value)


class Number(Column):
    """One number."""

    def numbers(self, value: Any) -> tuple[Any, ...]:
        """Take numpy's numbers too."""
        return (float(value),)


class Spread(Column):
    """Mean and, after the sign, standard deviation of a few values, such as those of seeds."""

    parts = ("", "sd")

    def numbers(self, value: Any) -> tuple[Any, ...]:
        """Compute mean and standard deviation; a single value has none."""
        return mean(value), stdev(value) if len(value) > 1 else None

    def text(self, value: Any) -> str:
        """Write "50.0 ± 10.0"."""
        centre, deviation = self.numbers(value)
        after = "" if deviation is None else f" ± {deviation:{self.spec.lstrip('+')}}"
        return self.format(centre) + after


class Interval(Column):
    """Lower and upper end of an interval."""

    parts = ("low", "high")

    def numbers(self, value: Any) -> tuple[Any, ...]:
        """Take both ends."""
        return tuple(value)

    def text(self, value: Any) -> str:
        """Write "1.0 to 2.0"."""
        return " to ".join(map(self.format, value))


class PValue(Column):
    """A p value, to the digits that matter."""

    def text(self, value: Any) -> str:
        """Write "<0.0001", "0.0032" or "0.050"."""
        return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


@dataclass(frozen=True, eq=False)
class Count(Column):
    """A count, and what it is out of: "2 of 3".

    Attributes:
        when_all: Write what it is out of also when it is all of it.
    """

    when_all: bool = False

    def numbers(self, value: Any) -> tuple[Any, ...]:
        """Take the count alone."""
        return (value[0],)

    def text(self, value: Any) -> str:
        """Write "2 of 3", or "3"."""
        count, total = value
        return f"{count} of {total}" if count != total or self.when_all else str(count)


class Cell(NamedTuple):
    """One place of a table.

    Attributes:
        text: What is read.
        number: What pages sort by; None for words and for nothing.
    """

    text: str
    number: float | None

    @property
    def long(self) -> bool:
        """Whether the text may be broken into lines."""
        return len(self.text) > _LONG


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: The columns; those without any value are left out.
        rows: What is read, a cell for each of the columns.
        numbers: The same unrounded; a column for each of their parts that has a value.
    """

    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    numbers: "pd.DataFrame"

    @classmethod
    def of(cls, items: Iterable[T], columns: Mapping[Column, Callable[[T], Any]]) -> "Table":
        """Make a row of each item.

        Args:
            items: What rows are about.
            columns: How to get the value of each column from an item.
        """
        import pandas as pd  # takes its time to import, and a help text needs none

        items, kept, cells = list(items), [], []
        headings, numbers = list[str](), list[list[Any]]()
        for column, get in columns.items():
            values = [None if _is_empty(value) else value for value in map(get, items)]
            if items and all(value is None for value in values):
                continue
            kept.append(column)
            nothing = (None,) * len(column.parts)
            parts = [nothing if value is None else column.numbers(value) for value in values]
            texts = [EMPTY if value is None else column.text(value) for value in values]
            cells.append([Cell(t, None if column.words else n[0]) for t, n in zip(texts, parts, strict=True)])
            for place, name in enumerate(column.parts):
                found = [numbers_of_cell[place] for numbers_of_cell in parts]
                if place == 0 or any(number is not None for number in found):
                    headings.append(f"{column.name}, {name}" if name else column.name)
                    numbers.append(found)
        # Headings are set afterwards, since a row of a table may be called like another column.
        frame = pd.DataFrame(dict(enumerate(numbers))).set_axis(headings, axis=1)
        return cls(tuple(kept), [list(row) for row in zip(*cells, strict=True)], frame)

    @property
    def header(self) -> list[str]:
        """The headings."""
        return [column.name for column in self.columns]

    def __bool__(self) -> bool:
        return bool(self.rows)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Sequence) and len(value) == 0)


def as_csv(table: Table) -> str:
    """Write a table for other programs: every number in a column of its own, unrounded."""
    return table.numbers.to_csv(index=False, lineterminator="\n")


def as_markdown(table: Table) -> str:
    """Write a table for a README."""
    rule = ["---" if column.words else "---:" for column in table.columns]
    lines = [table.header, rule, *([cell.text for cell in row] for row in table.rows)]
    return "\n".join("| " + " | ".join(_one_line(text) for text in line) + " |" for line in lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(escape_markdown(text).replace("|", r"\|").split())


def escape_markdown(text: str) -> str:
    """Write text so that no reader of Markdown takes it for HTML."""
    return text.replace("<", r"\<")


def as_latex(table: Table, caption: str) -> str:
    """Write a table for the packages array, booktabs and longtable."""
    import pandas as pd

    headings = [escape_tex(c.name) if c.words else _stack(c.name) for c in table.columns]
    texts = pd.DataFrame([[escape_tex(cell.text) for cell in row] for row in table.rows])
    longest = [max(len(row[place].text) for row in table.rows) for place in range(len(headings))]
    alignment = [
        ("l" if longest[place] <= _LONG else _PARAGRAPH) if column.words else "r"
        for place, column in enumerate(table.columns)
    ]
    style = texts.style.hide(axis="index").format_index(lambda place: headings[int(str(place))], axis=1)
    return style.to_latex(
        environment="longtable", caption=escape_tex(caption), column_format="".join(alignment), hrules=True
    )


def _stack(heading: str) -> str:
    """Break a long heading of numbers into lines, so that its column is as narrow as they are."""
    lines = [escape_tex(line) for line in textwrap.wrap(heading, _HEADING)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[r]{{{stacked}}}" if len(lines) > 1 else stacked


def escape_tex(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_TEX.get(character, character) for character in text)
