"""The whole pipeline offline on the synthetic kitchen: pictures, pre-training, both stages, table, heat maps.

Every step is one of the project's commands with fixed settings. A step that is done is not done again, so a
stopped demo goes on where it was.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

import cam_viz
from data import motion, synthetic
from data.actions import reversed_actions
from data.index import ClipIndex
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.files import write_text
from engine.recipe import Recipe, Training
from engine.recipe import Step as TrainingStep
from viz.page import Picture, Section, write_page
from viz.results import (
    HOW_TO_COMPARE,
    HOW_TO_READ,
    HOW_TO_READ_MOTION,
    Result,
    accuracy_table,
    as_markdown,
    motion_table,
    order_table,
    results_table,
)

RECIPES = [Path(__file__).resolve().parent / "recipes" / f"step{step}_quick.yaml" for step in (1, 2)]
SHOWN = ("S2/open_jam/1", "S2/close_jam/1", "S2/take_cheese/1", "S2/put_cheese,bread/1")
# What joint training and CAM attention are compared with, and the baseline that can't know the order.
ORDERLESS, JOINT, ATTENTION = "average pooling, stage 1", "two-stream (joint)", "ConvLSTM-attention"
PARTS = (ATTENTION, "temporal warp flow")
HEADS = (f"{ATTENTION} + MS classification", f"{ATTENTION} + MS regression")


class Config(BaseConfig):
    """Run the whole pipeline on a synthetic kitchen, offline, and write a page of results."""

    out: Path = Path("demo_out")
    """Folder for data, runs and report; a second start goes on where the first one stopped."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Seeds of the trainings; three give the table of the README."""
    epochs: int | None = Field(None, ge=1)
    """At most so many epochs a training, to see the path at work; the numbers then mean nothing."""
    pictures: int = Field(3200, ge=320)
    """Pictures of single objects that the backbone is pre-trained on."""


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Attributes:
        title: What it does.
        minutes: About how long it takes on two cores.
        mark: A file that is there when the step is done.
        action: Does it; a step that was stopped goes on.
    """

    title: str
    minutes: float
    mark: Path
    action: Callable[[], object]


def plan(config: Config) -> list[Step]:
    """List the steps in the order they are taken."""
    kitchen, pictures = config.out / "kitchen", config.out / "pictures"
    data = [
        Step(
            f"draw {config.pictures} pictures of single objects, which stand in for ImageNet",
            0.4,
            config.out / "pictures.done",
            lambda: synthetic.main(synthetic.Settings(out=pictures, catalogue=config.pictures)),
        ),
        Step(
            "render the kitchen: 20 actions, 4 users, 560 clips",
            0.7,
            config.out / "kitchen.done",
            lambda: synthetic.main(synthetic.Settings(out=kitchen, preset="demo")),
        ),
        Step(
            "compute warp flow and motion maps from the rendered frames",
            1.5,
            config.out / "motion.done",
            lambda: compute_motion(kitchen),
        ),
    ]
    return data + [_training_step(step, config) for step in trainings(config)]


def compute_motion(kitchen: Path) -> None:
    """Add flow and maps to the kitchen.

    Raises:
        UserError: A clip failed; what is wrong with it has been said.
    """
    if motion.main(motion.MotionConfig(root=kitchen, flow="dis", maps=True)):
        raise UserError(f"motion failed for clips of {kitchen}, named above; mend them and start again")


def trainings(config: Config) -> list[TrainingStep]:
    """List the recipes' trainings for every seed, parents first; what both recipes name stands once."""
    inputs = {"data": config.out / "kitchen", "pictures": config.out / "pictures"}
    steps: dict[Path, TrainingStep] = {}
    for path in RECIPES:
        recipe = Recipe.from_yaml(path).replace(seeds=config.seeds)
        for step in recipe.steps(inputs, config.out / "runs"):
            steps.setdefault(step.out, step)
    return list(steps.values())


def _training_step(step: TrainingStep, config: Config) -> Step:
    script = importlib.import_module(step.training.script)
    values = step.values | {"amp": precision()}
    if (
        "cache" in script.Config.model_fields
    ):  # trainings draw the same crops, so what one computes others find
        values |= {"cache": config.out / "cache"}
    if config.epochs is not None:
        values |= {"epochs": min(config.epochs, values["epochs"])}
    title = f"train {step.training.row or step.training.name}, seed {step.seed}"
    minutes = values["epochs"] * _minutes_per_epoch(step.training)
    return Step(title, minutes, step.out / "eval.json", lambda: script.main(script.Config(**values)))


def precision() -> str:
    """What is trained is computed in bfloat16 where the CPU has it, which takes half the time."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "off"


def _minutes_per_epoch(training: Training) -> float:
    """As measured on two cores; the first training of stage 1 also fills the cache."""
    named = {"train_frame": 0.55, "train_flow": 0.13, "train_twostream": 0.28}
    stages = {1: 0.16, 2: 0.2}
    return named.get(training.script) or stages[training.settings["stage"]]


def report(config: Config) -> Path:
    """Draw the heat maps, write the tables, and put everything on one page."""
    results = table_rows(config)
    folder = config.out / "report"
    rivals = reversed_actions(ClipIndex.from_tree(config.out / "kitchen").class_names)
    baseline, joint = results[ORDERLESS], results[JOINT]
    others = [result for result in results.values() if result is not baseline]
    tables = [
        results_table(list(results.values())),
        order_table(others, baseline, rivals),
        accuracy_table([joint], [results[name] for name in PARTS]),
        accuracy_table([results[name] for name in HEADS], [results[ATTENTION]]),
        motion_table([results[name] for name in HEADS]),
    ]
    write_text(folder / "table.md", "\n".join(map(as_markdown, tables)))
    note = f"Seeds: {', '.join(map(str, config.seeds))}. What is trained is computed in " + (
        "bfloat16." if precision() == "bf16" else "float32."
    )
    sections = [
        Section("Results", [HOW_TO_READ], tables[0], note=note),
        Section("Does it know the order of the frames?", [HOW_TO_COMPARE], tables[1]),
        Section("Are two streams better than one?", ["Compared in the same way."], tables[2]),
        Section("Does the motion head help to know actions?", ["Compared in the same way."], tables[3]),
        Section(
            "Does the motion head know what moves?",
            [HOW_TO_READ_MOTION],
            tables[4],
            pictures=[Picture(results[name].runs[0] / "motion.png", name) for name in HEADS],
        ),
        _heat(config, [result for name, result in results.items() if ATTENTION in name], folder / "heat"),
        Section(
            "Confusions",
            [f"Test clips of seed {config.seeds[0]}: rows are the true actions, columns the predicted ones."],
            pictures=[Picture(r.runs[0] / "confusion.png", name) for name, r in results.items()],
        ),
    ]
    lead = (
        "Made by demo.py, offline, from rendered clips with known truth. The numbers show that the pipeline "
        "works and what each part adds; they say nothing about GTEA61."
    )
    write_page(folder / "index.html", "Ego-RNN on a synthetic kitchen", lead, sections)
    return folder / "index.html"


def table_rows(config: Config) -> dict[str, Result]:
    """Give the recipe's rows by name, each with the runs of every seed."""
    runs: dict[str, list[Path]] = {}
    for step in trainings(config):
        if step.training.row is not None:
            runs.setdefault(step.training.row, []).append(step.out)
    return {row: Result(row, outs) for row, outs in runs.items()}


def _heat(config: Config, results: list[Result], folder: Path) -> Section:
    runs = tuple(result.runs[0] for result in results)
    cam_viz.main(cam_viz.Config(runs=runs, data=config.out / "kitchen", clips=SHOWN, html=True, out=folder))
    files = [folder / f"{clip.replace('/', '_')}{suffix}" for clip in SHOWN for suffix in (".gif", ".png")]
    return Section(
        "Where the network looks",
        [
            "Attention over the seven frames that the network sees, a row for each run with attention. "
            "The white square is the part of the frame that the network is given; colours are on one scale "
            "for all runs, up to the highest value in the clip. Below, or beside, what the motion heads say "
            "of each frame and the clip's motion map, on a scale of their own.",
            "heat/index.html beside this page plays them, with controls.",
        ],
        pictures=[Picture(file, file.stem.replace("_", " / ", 1)) for file in files],
    )


def main(config: Config) -> None:
    """Take every step that is not done yet, then write the page."""
    steps = plan(config)
    left = [step for step in steps if not step.mark.exists()]
    minutes = sum(step.minutes for step in left)
    print(
        f"{len(left)} of {len(steps)} steps to do, about {minutes:.0f} minutes on two cores, in {config.out}"
    )
    for number, step in enumerate(steps, start=1):
        if step.mark.exists():
            print(f"[{number}/{len(steps)}] done before: {step.title}")
            continue
        print(f"[{number}/{len(steps)}] {step.title} (about {step.minutes:.1f} min)", flush=True)
        start = time.monotonic()
        step.action()
        if not step.mark.exists():
            write_text(step.mark, "")
        print(f"    took {(time.monotonic() - start) / 60:.1f} min")
    page = report(config)
    print(f"\n{(page.parent / 'table.md').read_text(encoding='utf-8')}\nOpen {page}")


if __name__ == "__main__":
    run(main, Config)
