"""The whole pipeline offline on the synthetic kitchen: pictures, pre-training, both stages, table, heat maps.

Every step is one of the project's commands with fixed settings; the trainings are those of two recipes. A
finished step is not repeated, so a stopped demo goes on where it was.
"""

from pathlib import Path
from typing import Final

from pydantic import Field

from core.cli import read_flags, run
from core.config import Config as BaseConfig

RECIPES = tuple(Path(__file__).resolve().parent / "recipes" / f"step{step}_quick.yaml" for step in (1, 2))
SHOWN = ("S2/open_jam/1", "S2/close_jam/1", "S2/take_cheese/1", "S2/put_cheese,bread/1")
TEST_USER: Final = "S2"
"""Whose table and hands the pictures of the pre-training leave out too."""
# Rows of the two tables that the report's questions compare; ORDERLESS ignores the order of the frames.
ORDERLESS, JOINT, ATTENTION = "average pooling, stage 1", "two-stream (joint)", "ConvLSTM-attention"
PARTS = (ATTENTION, "temporal warp flow")
HEADS = (f"{ATTENTION} + MS classification", f"{ATTENTION} + MS regression")


class Config(BaseConfig):
    """Run the whole pipeline on a synthetic kitchen, offline, and write a page of results."""

    out: Path = Path("demo_out")
    """Folder for data, runs and report; a second start goes on where the first one stopped."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Seeds of the trainings; three give the numbers of docs/results.md."""
    epochs: int | None = Field(None, ge=1)
    """Upper limit of epochs per training, to try the whole path quickly; the numbers then mean nothing."""
    pictures: int = Field(3200, ge=320)
    """Pictures of single objects that the backbone is pre-trained on."""


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import evaluate
import grid
from core.errors import UserError
from core.files import write_text
from core.seeding import choose_device, computes_bfloat16
from data.motion import MotionConfig
from data.motion import command as motion
from data.synthetic import Settings
from data.synthetic import command as synthetic
from grids.recipe import read_recipes
from report import contested, has_heat, heat_section
from reporting.chapter import chapter
from reporting.collect import Row, read_tables
from reporting.measures import lacks_attention
from reporting.page import Section, write_report
from reporting.results import (
    HOW_TO_COMPARE,
    HOW_TO_READ,
    ORDER,
    comparison,
    results_chart,
    results_table,
)
from reporting.tables import as_markdown


@dataclass(frozen=True)
class Step:
    """A command of the project with its settings, which goes on where it was after a stop."""

    title: str
    minutes: float
    """Estimate for two cores."""
    command: Callable[[], int | None]
    """Returns an exit status."""
    mark: str = ""
    """File under --out that exists once the step is done; empty where the command itself keeps track."""


def steps(config: Config) -> list[Step]:
    """List the commands that make data and runs; their report follows."""
    kitchen, pictures = config.out / "kitchen", config.out / f"pictures-without-{TEST_USER}"
    draw = Settings(out=pictures, catalogue=config.pictures, without_users=(TEST_USER,))
    render = Settings(out=kitchen, preset="demo")
    train = grid.Config(
        recipe=RECIPES,
        out=config.out,
        data=kitchen,
        inputs=(f"pictures={pictures}",),
        seeds=config.seeds,
        settings=(f"amp={precision()}",),
        epochs=config.epochs,
        cache=config.out / "cache",  # trainings draw the same crops, so they can share cached outputs
    )
    drawn = f"pictures-{config.pictures}-without-{TEST_USER}.done"
    drawing = f"draw {config.pictures} pictures of single objects, which stand in for ImageNet"
    rendering = "render the kitchen: 20 actions, 4 users, 560 clips"
    moving = "compute warp flow and motion maps from the rendered frames"
    return [
        Step(drawing, 0.4, lambda: synthetic.main(draw), drawn),
        Step(rendering, 0.7, lambda: synthetic.main(render), "kitchen.done"),
        Step(moving, 1.5, lambda: compute_motion(kitchen), "motion.done"),
        Step("train the rows of both tables", training_minutes(config), lambda: grid.main(train)),
    ]


def main(config: Config) -> int:
    """Take every step that is not done yet, then write the page."""
    todo = steps(config)
    for number, step in enumerate(todo, start=1):
        place, mark = f"[{number}/{len(todo)}]", config.out / step.mark if step.mark else None
        if mark and mark.exists():
            print(f"{place} done before: {step.title}")
            continue
        print(f"{place} {step.title} (about {step.minutes:.1f} min)", flush=True)
        start = time.monotonic()
        if status := step.command():
            return status
        if mark:
            write_text(mark, "")
        print(f"    took {(time.monotonic() - start) / 60:.1f} min")
    print(f"\nOpen {report(config)}")
    return 0


def compute_motion(kitchen: Path) -> None:
    """Add flow and maps to the kitchen.

    Raises:
        UserError: A clip failed; the command has said why.
    """
    if motion.main(MotionConfig(root=kitchen, flow="dis", maps=True)):
        raise UserError(f"motion failed for clips of {kitchen}, named above; repair them and start again")


def precision() -> str:
    """Choose bfloat16 where the device has it, which halves the time of training."""
    return "bf16" if computes_bfloat16(choose_device("auto")) else "off"


def training_minutes(config: Config) -> float:
    """Estimate all trainings on two cores; a training that both recipes name counts once."""
    per_epoch = {"train_frame": 0.55, "train_flow": 0.13, "train_twostream": 0.28}  # as measured
    per_epoch_rgb = {1: 0.16, 2: 0.2}  # by stage; the first training of stage 1 also fills the cache
    recipes = read_recipes(RECIPES, config.seeds).values()
    seeded = [found for recipe in recipes for found in recipe.seeded_trainings()]
    minutes = 0.0
    for training in {(found.training.name, found.seed): found.training for found in seeded}.values():
        epochs: int = training.settings["epochs"]
        epoch = per_epoch.get(training.script) or per_epoch_rgb[training.settings["stage"]]
        minutes += min(epochs, config.epochs or epochs) * epoch
    return minutes


def report(config: Config) -> Path:
    """Measure attention, answer the demo's questions, report on both tables; returns the page."""
    folder, kitchen = config.out / "report", config.out / "kitchen"
    tables = read_tables(config.out)
    rows = {row.name: row for table in tables for row in table.shown}
    for row in rows.values():
        if lacks_attention(first := row.finished[0]):
            evaluate.main(evaluate.Config(run=first.folder, data=kitchen))
    looking = [row.finished[0] for row in rows.values() if has_heat(row.finished[0])]
    heat = heat_section(looking, SHOWN, kitchen, folder, more=contested(list(rows.values())))
    results = results_table(list(rows.values()))
    note = f"Trained layers compute in {'bfloat16' if precision() == 'bf16' else 'float32'}."
    sections = [
        Section("Results", [HOW_TO_READ, ORDER], results, note, results_chart(list(rows.values()))),
        Section("Three questions", [HOW_TO_COMPARE], parts=questions(rows, kitchen), key="questions"),
        heat,
        *(chapter(table, folder, results=False, plays=heat.plays) for table in tables),
    ]
    lead = (
        "Made offline by demo.py from rendered clips with known truth. The numbers show that the pipeline "
        "works and what each part adds; they say nothing about GTEA61."
    )
    print(f"\n{as_markdown(results)}")
    return write_report(folder, "Ego-RNN on a synthetic kitchen", lead, sections)


def questions(rows: Mapping[str, Row], kitchen: Path) -> list[Section]:
    """Compare the rows that answer each question; p values are corrected within a question."""
    others = [row for row in rows.values() if row.name != ORDERLESS]
    asked = {
        "Does it know the order of the frames?": ([(row, rows[ORDERLESS]) for row in others], True),
        "Are two streams better than one?": ([(rows[JOINT], rows[part]) for part in PARTS], False),
        "Does the motion head help?": ([(rows[head], rows[ATTENTION]) for head in HEADS], False),
    }
    return [comparison(title, pairs, order=order) for title, (pairs, order) in asked.items()]


if __name__ == "__main__":
    run(main, flags)
