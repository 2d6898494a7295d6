"""The whole pipeline offline on the synthetic kitchen: pictures, pre-training, both stages, table, heat maps.

Every step is one of the project's commands with fixed settings. A step that is done is not done again, so a
stopped demo goes on where it was.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

import cam_viz
import train_frame
import train_rgb
from data import motion, synthetic
from data.actions import reversed_actions
from data.index import ClipIndex
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.files import write_text
from viz.page import Picture, Section, write_page
from viz.results import HOW_TO_COMPARE, HOW_TO_READ, Result, as_markdown, order_table, results_table

SHOWN = ("S2/open_jam/1", "S2/close_jam/1", "S2/take_cheese/1", "S2/put_cheese,bread/1")


class Config(BaseConfig):
    """Run the whole pipeline on a synthetic kitchen, offline, and write a page of results."""

    out: Path = Path("demo_out")
    """Folder for data, runs and report; a second start goes on where the first one stopped."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Seeds of the trainings; three give the table of the README."""
    stages: Literal[1, 2] = 2
    """Last stage of the trainings; 1 leaves out the rows of stage 2."""
    epochs: int = Field(12, ge=2)
    """Epochs of stage 1; stage 2 takes half of them."""
    pictures: int = Field(5000, ge=320)
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
    kitchen, pictures, backbone = (config.out / name for name in ("kitchen", "pictures", "backbone"))
    steps = [
        Step(
            f"draw {config.pictures} pictures of single objects, which stand in for ImageNet",
            0.6,
            config.out / "pictures.done",
            lambda: synthetic.main(synthetic.Settings(out=pictures, catalogue=config.pictures)),
        ),
        Step(
            "pre-train a ResNet-18 on them",
            4.0,
            backbone / "eval.json",
            lambda: train_frame.main(pretraining(pictures, backbone)),
        ),
        Step(
            "render the kitchen: 20 actions, 4 users, 560 clips",
            1.0,
            config.out / "kitchen.done",
            lambda: synthetic.main(synthetic.Settings(out=kitchen, preset="demo")),
        ),
        Step(
            "compute warp flow and motion maps from the rendered frames",
            2.0,
            config.out / "motion.done",
            lambda: compute_motion(kitchen),
        ),
    ]
    for seed in config.seeds:
        for row, training in trainings(config, seed).items():
            steps.append(_training_step(f"train {row}, seed {seed}", training))
    return steps


def compute_motion(kitchen: Path) -> None:
    """Add flow and maps to the kitchen.

    Raises:
        UserError: A clip failed; what is wrong with it has been said.
    """
    if motion.main(motion.MotionConfig(root=kitchen, flow="dis", maps=True)):
        raise UserError(f"motion failed for clips of {kitchen}, named above; mend them and start again")


def _training_step(title: str, training: train_rgb.Config) -> Step:
    minutes = (training.epochs or 0) * (0.2 if training.stage == 1 else 0.3)
    return Step(title, minutes, training.out / "eval.json", lambda: train_rgb.main(training))


def pretraining(pictures: Path, out: Path) -> train_frame.Config:
    """Settings of the backbone's pre-training."""
    schedule = {"epochs": 4, "milestones": (3,), "lr": 0.05, "batch_size": 64}
    return train_frame.Config(
        images=pictures, out=out, resume=True, backbone="resnet18", weights="none", image_size=112, **schedule
    )


def trainings(config: Config, seed: int) -> dict[str, train_rgb.Config]:
    """Settings of a seed's trainings by the name of their row, parents first."""
    half = config.epochs // 2
    shared = {"data": config.out / "kitchen", "seed": seed, "resume": True, "batch_size": 8}
    # The five trainings of a seed draw the same crops, so what one computes the others find.
    shared |= {"cache": config.out / "cache"}
    first = shared | {
        "stage": 1,
        "weights": str(config.out / "backbone"),
        "backbone": "resnet18",
        "image_size": 112,
        "hidden": 128,
        "dropout": 0.2,
        "epochs": config.epochs,
        "milestones": (config.epochs * 3 // 4,),
        "eval_every": 4,
    }
    second = shared | {"stage": 2, "epochs": half, "milestones": (max(1, half * 3 // 4),), "eval_every": 2}

    def folder(name: str) -> Path:
        return config.out / "runs" / f"{name}-seed{seed}"

    rows = {
        "average pooling, stage 1": ("avgpool", {"temporal": "avgpool", "attention": "none"}),
        "ConvLSTM, stage 1": ("convlstm", {"temporal": "convlstm", "attention": "none"}),
        "ConvLSTM + CAM attention, stage 1": ("attention", {"temporal": "convlstm", "attention": "cam"}),
    }
    made = {row: first | {"out": folder(f"{name}-1")} | model for row, (name, model) in rows.items()}
    if config.stages == 1:
        return {row: train_rgb.Config(**values) for row, values in made.items()}
    for row, name in (("ConvLSTM, stage 2", "convlstm"), ("ConvLSTM + CAM attention, stage 2", "attention")):
        made[row] = second | {"out": folder(f"{name}-2"), "init": folder(f"{name}-1")}
    return {row: train_rgb.Config(**values) for row, values in made.items()}


def report(config: Config) -> Path:
    """Draw the heat maps, write the table, and put everything on one page."""
    by_row = [trainings(config, seed) for seed in config.seeds]
    results = [Result(row, [runs[row].out for runs in by_row]) for row in by_row[0]]
    table = results_table(results)
    folder = config.out / "report"
    rivals = reversed_actions(ClipIndex.from_tree(config.out / "kitchen").class_names)
    order = order_table(results[1:], results[0], rivals)
    write_text(folder / "table.md", f"{as_markdown(table)}\n{as_markdown(order)}")
    viewed = tuple(training.out for row, training in by_row[0].items() if "CAM" in row)
    heat = folder / "heat"
    cam_viz.main(cam_viz.Config(runs=viewed, data=config.out / "kitchen", clips=SHOWN, out=heat))
    files = [heat / f"{clip.replace('/', '_')}{suffix}" for clip in SHOWN for suffix in (".gif", ".png")]
    sections = [
        Section("Results", [HOW_TO_READ], table, note=f"Seeds: {', '.join(map(str, config.seeds))}."),
        Section("Does it know the order of the frames?", [HOW_TO_COMPARE], order),
        Section(
            "Where the network looks",
            [
                "Attention over the seven frames that the network sees, a row for each run with attention. "
                "The white square is the part of the frame that the network is given; heat is scaled to its "
                "highest value in the clip."
            ],
            pictures=[Picture(file, file.stem.replace("_", " / ", 1)) for file in files],
        ),
        Section(
            "Confusions",
            [f"Test clips of seed {config.seeds[0]}: rows are the true actions, columns the predicted ones."],
            pictures=[Picture(runs.out / "confusion.png", row) for row, runs in by_row[0].items()],
        ),
    ]
    lead = (
        "Made by demo.py, offline, from rendered clips with known truth. The numbers show that the pipeline "
        "works and what each part adds; they say nothing about GTEA61."
    )
    write_page(folder / "index.html", "Ego-RNN on a synthetic kitchen", lead, sections)
    return folder / "index.html"


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
