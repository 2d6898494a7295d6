"""What a grid leaves for its report: the rows of one recipe's table, and where each seed's run lies."""

from pathlib import Path
from typing import Any

from core.config import Config

TABLES = "tables"


class TableRun(Config):
    """One training of a row, with one seed; it may not have been made yet."""

    seed: int
    """Its seed."""
    folder: Path
    """Run directory, relative to the grid's folder."""
    command: tuple[str, ...]
    """Words of the command that makes it."""


class TableRow(Config):
    """A row: one training with every seed."""

    row: str
    """What the table calls it."""
    training: str
    """What the recipe calls it."""
    script: str
    """The script that trains it, without .py."""
    settings: dict[str, Any]
    """What the recipe sets for it."""
    published: str | None = None
    """Which kind of published result it reproduces, if any."""
    runs: tuple[TableRun, ...]
    """One a seed."""


class TablePlan(Config):
    """The table of one recipe, kept as `TABLES`/NAME.yaml under the grid's folder."""

    title: str
    """What it shows."""
    recipe: str
    """The recipe's file name."""
    inputs: dict[str, Path]
    """Where the recipe's data lies."""
    baseline: str | None = None
    """The row that all others are compared with; every row with every other when left out."""
    rows: tuple[TableRow, ...]
    """In the recipe's order."""
