"""Grids whose runs were never trained: the files of finished runs with predictions made to order."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.files import write_json, write_text
from grids.plan import TABLES, TablePlan, TableRow, TableRun
from metrics.accuracy import cross_entropy
from metrics.early import EarlyPredictions, frames_seen
from metrics.predictions import Predictions, summarise
from training.batches import action_relations

ACTIONS = ("close_jam", "open_jam", "pour_honey,cup", "put_cheese,bread", "stir_spoon,cup", "take_cheese")
CLIPS = tuple(f"S2/{action}/{number}" for action in ACTIONS for number in range(1, 5))
LABELS = np.arange(len(ACTIONS)).repeat(4)


def make_run(folder: Path, predicted: Sequence[int], **changes: object) -> Path:
    """Write a finished run that takes each of `CLIPS` for the class that stands at its place."""
    logits = np.eye(len(ACTIONS))[np.asarray(predicted)] + np.linspace(0, 0.1, len(ACTIONS))
    predictions = Predictions(CLIPS, LABELS, logits, cross_entropy(logits, LABELS), {})
    summary = summarise(predictions, action_relations(ACTIONS))
    selected = summary | {"top1": summary["top1"] + 5, "selection": "best_on_test", "epoch": 1}
    summary |= {"epoch": 2, "selection": "last_epoch", "selected": selected} | changes
    predictions.save(folder / "predictions.npz")
    write_text(folder / "per_class.csv", "class,clips\n" + "".join(f'"{name}",4\n' for name in ACTIONS))
    header = "epoch,split,loss,accuracy,lr,seconds,clips_per_sec\n"
    epochs = "1,train,2.5,10,0.1,30,20\n1,test,2,20,,3,99\n2,train,1.5,30,0.1,30,40\n2,test,1,40,,3,99\n"
    write_text(folder / "metrics.csv", header + epochs)
    write_text(folder / "config.yaml", "device: cpu\n")
    write_json(folder / "env.json", {"command": ["python", "x.py"], "commit": "abc", "cpus": 2, "threads": 1})
    write_json(folder / "eval.json", summary)
    return folder


def make_plan(
    grid: Path, rows: Mapping[str, Sequence[Path]], name: str = "table", **changes: object
) -> TablePlan:
    """Write a table of rows whose runs, a seed each, lie in the folders given."""
    content = {
        "title": "A table",
        "recipe": f"{name}.yaml",
        "inputs": {"data": Path("clips")},
        "rows": tuple(_row(row, folders) for row, folders in rows.items()),
    }
    plan = TablePlan(**(content | changes))
    plan.to_yaml(grid / TABLES / f"{name}.yaml")
    return plan


def _row(row: str, folders: Sequence[Path]) -> TableRow:
    runs = tuple(
        TableRun(seed=seed, folder=folder, command=("python", "train_rgb.py", "--seed", str(seed)))
        for seed, folder in enumerate(folders)
    )
    return TableRow(row=row, training=row, script="train_rgb", settings={}, runs=runs)


def right_but(*wrong: int) -> list[int]:
    """Predictions that are right but for the clips at these places, which are taken for the next class."""
    predicted = LABELS.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % len(ACTIONS)
    return predicted.tolist()


def read_table(file: Path) -> list[dict[str, str]]:
    """Read a CSV file of the report."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def read_along(run: Path, right: Mapping[float, Sequence[int]], frames: int = 8) -> Path:
    """Add to a run what it knows after shares of a clip, in per cent: its predictions there."""
    logits = [2 * np.eye(len(ACTIONS))[np.asarray(predicted)] for predicted in right.values()]
    seen = [frames_seen(share, frames) or 0 for share in right]
    early = EarlyPredictions(CLIPS, LABELS, tuple(right), tuple(seen), np.stack(logits, axis=1))
    early.save(run / "early.npz")
    return run
