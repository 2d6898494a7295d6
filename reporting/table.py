"""Tables of words and numbers.

A cell knows its numbers as well as its text, so that pages sort by them and CSV files hold them unrounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: What is read.
        numbers: What it says in numbers, under the names that its columns have in a CSV file behind the
            table's own; by the first of them pages sort.
    """

    text: str
    numbers: tuple[tuple[str, float], ...] = ()


EMPTY = Cell("—")
LONG = 40
"""Characters beyond which a text may be broken into lines."""


@dataclass(frozen=True)
class Table:
    """A table; words are aligned left, numbers right."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def is_worded(self, column: int) -> bool:
        """Whether a column has no number."""
        return not any(row[column].numbers for row in self.rows)

    def width(self, column: int) -> int:
        """Length of a column's longest text."""
        return max((len(row[column].text) for row in self.rows), default=0)


def without_gaps(table: Table) -> Table:
    """Leave out the columns in which nothing stands; a table without a row keeps its header."""
    columns = range(len(table.header))
    kept = [c for c in columns if not table.rows or any(row[c] != EMPTY for row in table.rows)]
    return Table([table.header[c] for c in kept], [[row[c] for c in kept] for row in table.rows])


def words(text: str) -> Cell:
    """Text without a number."""
    return Cell(text) if text else EMPTY


def number(value: float | None, spec: str = ".1f") -> Cell:
    """A number, or nothing."""
    return EMPTY if value is None else Cell(f"{value:{spec}}".replace("-", "−"), (("", float(value)),))


def spread(values: Sequence[float], spec: str = ".1f") -> Cell:
    """Mean and, behind the sign, standard deviation of a few values; nothing when there are none."""
    if not values:
        return EMPTY
    centre = number(mean(values), spec)
    if len(values) == 1:
        return centre
    deviation = stdev(values)
    return Cell(f"{centre.text} ± {deviation:{spec.lstrip('+')}}", (*centre.numbers, ("sd", deviation)))


def interval(low: float, high: float, spec: str = ".1f") -> Cell:
    """Both ends of an interval."""
    ends = [number(end, spec).text for end in (low, high)]
    return Cell(" to ".join(ends), (("low", low), ("high", high)))


def p_value(p: float) -> Cell:
    """A p value, to the digits that matter."""
    return Cell("<0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}", (("", p),))
