"""Tables of words and numbers, written as CSV by pandas, as LaTeX by its Styler, and as Markdown.

A column holds what readers see and, for CSV files and for sorting on a page, the same numbers unrounded.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Column:
    """A column, of one entry a row.

    Attributes:
        name: The heading.
        texts: What is read.
        numbers: What it says in numbers, by their names in a CSV file after the heading; pages sort by the
            first. The words of a column without numbers.
        words: Whether it holds words, which are aligned left.
    """

    name: str
    texts: list[str]
    numbers: dict[str, list[Any]]
    words: bool = False


def words(name: str, values: Iterable[str]) -> Column:
    """Make a column of texts; an empty one is missing."""
    values = list(values)
    return Column(name, [value or EMPTY for value in values], {"": [v or None for v in values]}, words=True)


def number(name: str, values: Iterable[float | None], spec: str = ".1f") -> Column:
    """Make a column of numbers, None where one is missing."""
    return _column(name, values, lambda value: _written(value, spec), {"": float})


def spread(name: str, values: Iterable[Sequence[float]], spec: str = ".1f") -> Column:
    """Make a column of "mean ± standard deviation" of a few values each, such as those of seeds."""

    def text(value: Sequence[float]) -> str:
        after = f" ± {stdev(value):{spec.lstrip('+')}}" if len(value) > 1 else ""
        return _written(mean(value), spec) + after

    def deviation(value: Sequence[float]) -> float | None:
        return stdev(value) if len(value) > 1 else None

    return _column(name, [value or None for value in values], text, {"": mean, "sd": deviation})


def interval(name: str, values: Iterable[tuple[float, float] | None], spec: str = ".1f") -> Column:
    """Make a column of "low to high"."""
    parts = {"low": lambda ends: ends[0], "high": lambda ends: ends[1]}
    return _column(name, values, lambda ends: " to ".join(_written(end, spec) for end in ends), parts)


def p_value(name: str, values: Iterable[float | None]) -> Column:
    """Make a column of p values, to the digits that matter; None where one is missing."""

    def text(p: float) -> str:
        return "<0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"

    return _column(name, values, text, {"": float})


def count(name: str, values: Iterable[tuple[int, int] | None], *, when_all: bool = False) -> Column:
    """Make a column of "2 of 3"; of all it says "3" alone, unless `when_all`."""

    def text(value: tuple[int, int]) -> str:
        there, total = value
        return f"{there} of {total}" if there != total or when_all else str(there)

    return _column(name, values, text, {"": lambda value: value[0]})


def _column(
    name: str, values: Iterable[Any], text: Callable[[Any], str], parts: dict[str, Callable[[Any], Any]]
) -> Column:
    values = list(values)
    texts = [EMPTY if value is None else text(value) for value in values]
    numbers = {n: [None if value is None else part(value) for value in values] for n, part in parts.items()}
    return Column(name, texts, numbers)


def _written(value: float, spec: str) -> str:
    return f"{value:{spec}}".replace("-", "−")


class Cell(NamedTuple):
    """One place of a table as a page shows it; `number` is what it sorts by, None for words."""

    text: str
    number: float | None
    words: bool
    long: bool


@dataclass(frozen=True)
class Table:
    """Columns of equal length; make it with `Table.of`."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, *columns: Column) -> "Table":
        """Join columns; those in which nothing stands are left out, unless there is no row at all."""
        filled = [column for column in columns if set(column.texts) - {EMPTY}]
        return cls(tuple(filled or columns))

    def __len__(self) -> int:
        return len(self.columns[0].texts)

    @property
    def header(self) -> list[str]:
        """The headings."""
        return [column.name for column in self.columns]

    def rows(self) -> list[list[Cell]]:
        """List the cells of each row."""
        cells = [
            [
                Cell(text, None if column.words else value, column.words, column.words and len(text) > _LONG)
                for text, value in zip(column.texts, next(iter(column.numbers.values())), strict=True)
            ]
            for column in self.columns
        ]
        return [list(row) for row in zip(*cells, strict=True)]

    def frame(self) -> "pd.DataFrame":
        """Convert to a DataFrame of unrounded numbers, each in a column of its own."""
        import pandas as pd  # takes its time to import, and a help text needs none

        named = [
            (f"{column.name}, {part}" if part else column.name, values)
            for column in self.columns
            for place, (part, values) in enumerate(column.numbers.items())
            if place == 0 or any(value is not None for value in values)
        ]
        # Headings are set afterwards: a row of a grid, which heads a column, may be called like another one.
        frame = pd.DataFrame(dict(enumerate(values for _, values in named)))
        return frame.set_axis([name for name, _ in named], axis=1)


def as_csv(table: Table) -> str:
    """Write a table for other programs."""
    return table.frame().to_csv(index=False, lineterminator="\n")


def as_markdown(table: Table) -> str:
    """Write a table for a README."""
    rule = ["---" if column.words else "---:" for column in table.columns]
    lines = [table.header, rule, *([cell.text for cell in row] for row in table.rows())]
    return "\n".join("| " + " | ".join(_one_line(text) for text in line) + " |" for line in lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(escape_markdown(text).replace("|", r"\|").split())


def escape_markdown(text: str) -> str:
    """Write text so that no reader of Markdown takes it for HTML."""
    return text.replace("<", r"\<")


def as_latex(table: Table, caption: str) -> str:
    """Write a table for the packages array, booktabs and longtable."""
    import pandas as pd

    texts = pd.DataFrame({n: map(escape_tex, column.texts) for n, column in enumerate(table.columns)})
    headings = []
    for column in table.columns:
        # A long heading is broken into lines, so that a column of numbers is as narrow as they are.
        lines = [column.name] if column.words else textwrap.wrap(column.name, _HEADING)
        heading = r" \\ ".join(map(escape_tex, lines))
        headings.append(r"\shortstack[r]{" + heading + "}" if len(lines) > 1 else heading)
    alignment = [
        ("l" if max(map(len, column.texts)) <= _LONG else _PARAGRAPH) if column.words else "r"
        for column in table.columns
    ]
    style = texts.style.hide(axis="index").format_index(lambda place: headings[int(str(place))], axis=1)
    return style.to_latex(
        environment="longtable", caption=escape_tex(caption), column_format="".join(alignment), hrules=True
    )


def escape_tex(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_TEX.get(character, character) for character in text)
