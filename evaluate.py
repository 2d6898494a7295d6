"""Measures a finished run on clips: top-1 with its interval, accuracy by class, verb, noun, predictions."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from data.index import ClipIndex
from data.inputs import read_input
from data.loaders import action_relations, evaluation_set
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.evaluation import predict, summarise, write_evaluation
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName, choose_device, set_up_numerics
from engine.task import Classification
from engine.training import result_line
from models import build_model


class Config(BaseConfig):
    """Measure a run. Writes eval.json, predictions.npz, per_class.csv and confusion.png."""

    run: Path
    """Run directory of any training script."""
    data: Path
    """Tree of clips."""
    split: Literal["test", "train"] = "test"
    """Which clips: of the run's test users, or of its training users."""
    users: tuple[str, ...] | None = None
    """Measure these users instead of a split's."""
    checkpoint: Literal["last", "best"] = "last"
    """last is the number to report; best was selected, see eval.json of the run for on what."""
    out: Path | None = None
    """Folder for the results (RUN/evaluation/SPLIT-CHECKPOINT); an earlier evaluation's are replaced."""
    batch_size: int = Field(32, ge=1)
    """Clips at a time."""
    workers: int = Field(1, ge=0)
    """Processes that load clips."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def main(config: Config) -> None:
    """Load the run's checkpoint, predict the clips, write and print what came out."""
    set_up_numerics()
    checkpoint = RunDirectory.finished(config.run).checkpoint(config.checkpoint)
    saved = checkpoint["config"]
    users = config.users or {"test": saved["test_users"], "train": saved["train_users"]}[config.split]
    names = tuple(checkpoint["class_names"])
    index = ClipIndex.from_tree(config.data).with_classes(names).select(users)
    inputs = read_input(checkpoint["preprocessing"])
    index.verify(inputs.kinds)
    clips = evaluation_set(config.split, index, inputs, config.batch_size, config.workers)
    model = build_model(checkpoint["architecture"])
    model.load_state_dict(checkpoint["model"])
    task = Classification(model.to(choose_device(config.device)), inputs.names)
    predictions = predict(task, clips.batches, clips.keys, show="evaluating")
    summary = summarise(predictions, action_relations(names)) | {
        "split": config.split if config.users is None else " ".join(config.users),
        "protocol": clips.protocol,
        "epoch": checkpoint["epoch"],
        "checkpoint": f"{config.checkpoint}.pt",
        "selection": "last_epoch" if config.checkpoint == "last" else f"best_on_{checkpoint['selected_on']}",
    }
    out = config.out or config.run / "evaluation" / f"{config.split}-{config.checkpoint}"
    write_evaluation(out, predictions, names, summary)
    print(result_line(summary))
    print(f"written to {out}")


if __name__ == "__main__":
    run(main, Config)
