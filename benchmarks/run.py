"""How fast training is compared with a plain frame-by-frame loop, how exact, and how its cost grows.

`python -m benchmarks.run --tree GTEA61 --write docs/performance.md` makes the tables and the picture of
docs/performance.md. Numbers are medians over rounds.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.epochs import measure_clips, measure_decoding, measure_epochs
from benchmarks.measures import (
    measure_compiling,
    measure_evaluation,
    measure_exactness,
    measure_growth,
    measure_machine,
    measure_memory,
    measure_steps,
    measure_work,
)
from benchmarks.recipes import measure_recipes
from benchmarks.steps import Size
from benchmarks.tables import TABLES, draw_growth, insert_tables, read_page, write_tables
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.files import read_json, write_json, write_text
from core.seeding import set_up_numerics

TableName = Literal[
    "machine",
    "steps",
    "work",
    "evaluation",
    "compiling",
    "exactness",
    "memory",
    "epochs",
    "decoding",
    "growth",
    "clips",
    "recipes",
]
Found = dict[str, Any]


class BenchmarkConfig(Config):
    """Measure training steps, epochs and memory in comparison with a plain loop."""

    tree: Path | None = None
    """Tree of clips to measure epochs and decoding on; without one these are not measured."""
    clips: int = Field(64, ge=8)
    """Number of its clips to use."""
    rounds: int = Field(5, ge=1)
    """Rounds of alternation."""
    batch: int = Field(8, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips a step."""
    lengths: tuple[int, ...] = Field((7, 16), min_length=1)
    """Frames a clip."""
    tables: tuple[TableName, ...] = ()
    """Measure only these (all); with --write the others stay as they are."""
    quick: bool = False
    """A small network and one round, to see that everything works; the numbers mean nothing."""
    write: Path | None = None
    """Markdown file that has places for the tables; a JSON file and a picture are written next to it."""

    @property
    def size(self) -> Size:
        """The size of a step at the first length."""
        size = Size(self.batch, self.lengths[0])
        return replace(size, side=64, hidden=16, backbone="resnet18") if self.quick else size

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return min(self.rounds, 3)


def main(config: BenchmarkConfig) -> None:
    """Measure and print the tables, and write them to the page of --write."""
    page = read_page(config.write, TABLES) if config.write else ""
    set_up_numerics()
    found = _measured_before(config)
    for name in config.tables or MEASURES:
        print(f"measuring: {name}", flush=True)
        found[name] = MEASURES[name](config)
        if config.write:
            write_json(config.write.with_suffix(".json"), found)  # an hour's work is not lost to a crash
    tables = write_tables(found)
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if config.write:
        write_text(config.write, insert_tables(page, tables))
        draw_growth(found, config.write.with_suffix(".png"))


def _measured_before(config: BenchmarkConfig) -> Found:
    """Read the measurements that stay as they are.

    Raises:
        UserError: They come from another machine, or can't be read.
    """
    if not config.tables or config.write is None:
        return {}
    path = config.write.with_suffix(".json")
    found: Found = read_json(path)
    before, here = found["machine"], measure_machine()
    for key in ("cpu", "threads", "torch"):
        if before[key] != here[key]:
            raise UserError(
                f"{path}: measured with {key} {before[key]}, and here it is {here[key]}; measure all tables"
            )
    return found


def _on_tree(measure: Callable[..., Found]) -> Callable[[BenchmarkConfig], Found]:
    """Measure on the clips of --tree; nothing without one."""
    return lambda config: measure(config.tree, config.clips, config.size, config.few) if config.tree else {}


MEASURES: dict[str, Callable[[BenchmarkConfig], Found]] = {
    "machine": lambda config: measure_machine(),
    "steps": lambda config: measure_steps(config.size, config.lengths, config.rounds),
    "work": lambda config: measure_work(config.size),
    "evaluation": lambda config: measure_evaluation(config.size, config.rounds),
    "compiling": lambda config: {} if config.quick else measure_compiling(config.size, config.rounds),
    "exactness": lambda config: measure_exactness(config.size),
    "memory": lambda config: {} if config.quick else measure_memory(config.size, config.few),
    "epochs": _on_tree(measure_epochs),
    "decoding": _on_tree(measure_decoding),
    "growth": lambda config: measure_growth(config.size, config.few),
    "clips": _on_tree(measure_clips),
    "recipes": lambda config: measure_recipes(config.size, config.lengths, config.few),
}


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.run")
