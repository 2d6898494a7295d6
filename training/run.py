"""A training run from start to measured result: what every training script does after building its model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._dynamo
from torch import nn

from core.files import write_json
from core.ranks import ONE, Ranks
from core.run_dir import RunDirectory, measure_cost
from core.seeding import choose_device
from core.shared_norm import share_batch_norm
from core.stage import Stage
from core.task import Task
from core.train_config import TrainConfig
from metrics.predictions import Predictions, Relations, summarise, write_evaluation
from training.evaluate import predict
from training.fit import EvaluationSet, FitSettings, TrainingSet, fit


@dataclass(frozen=True)
class Sets:
    """The items of a run.

    Attributes:
        train: What is learned from.
        watched: What is measured after epochs, and best.pt selected on: held-out training items, or the test
            items, maybe in a shorter way than the reported number is measured.
        test: What is reported.
    """

    train: TrainingSet
    watched: EvaluationSet
    test: EvaluationSet


@dataclass(frozen=True)
class Description:
    """What a checkpoint says about its model, so that nothing has to be typed again to use it.

    Attributes:
        architecture: Name and arguments of the model's class, for `models.build_model`.
        class_names: The K classes in the order of the logits.
        preprocessing: How the model's input is made.
        relations: What the classes are to each other; only used for the report.
        motion_made: How the motion in the data was made, as far as that is known.
    """

    architecture: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    relations: Relations
    motion_made: dict[str, Any] = field(default_factory=dict)


def prepare_model(model: nn.Module, config: TrainConfig, ranks: Ranks) -> nn.Module:
    """Move a model to the device and compile it if asked to; parts that can't be compiled run as they are."""
    model.to(choose_device(config.device))
    share_batch_norm(model, ranks)
    if config.compile:
        torch._dynamo.config.suppress_errors = True  # warns, naming what it could not compile
        model.compile()
    return model


def train_and_evaluate(
    config: TrainConfig,
    run: RunDirectory,
    task: Task,
    stage: Stage,
    sets: Sets,
    about: Description,
    draw: Callable[[], None] | None = None,
    ranks: Ranks = ONE,
) -> dict[str, Any]:
    """Train a stage, measure its last and its selected epoch on the test items, write the run's files.

    The number to report is the last epoch's; the selected epoch stands beside it under its selection's name.

    Args:
        config: The run's flags.
        run: Where results go.
        task: Model and losses; the model is on the device.
        stage: What is trained and how.
        sets: What is learned from and measured on.
        about: What checkpoints say about the model.
        draw: Makes the run's own pictures, before eval.json says that the run has finished.
        ranks: The processes of the training.

    Returns:
        The content of eval.json.
    """
    settings = FitSettings(
        seed=config.seed,
        device=choose_device(config.device),
        bf16=config.amp == "bf16",
        eval_every=config.eval_every,
    )
    description = {
        "architecture": about.architecture,
        "class_names": list(about.class_names),
        "preprocessing": about.preprocessing,
        "config": config.model_dump(mode="json"),
        "motion_made": about.motion_made,
        "items": {"train": _digest(sets.train.keys), "test": _digest(sets.test.keys)},
    }
    state, watched = fit(task, stage, sets.train, sets.watched, run, settings, description, ranks)
    last = watched if sets.watched is sets.test else None  # measured after the last epoch already
    if last is None:
        last = predict(task, sets.test.batches, sets.test.keys, show="evaluating", ranks=ranks)
    found = last if state.best_epoch == state.epoch else None
    selected = _selected(task, run, sets, about, found, ranks)
    summary = summarise(last, about.relations) | {
        "split": "test",
        "protocol": sets.test.protocol,
        "epoch": state.epoch,
        "checkpoint": "last.pt",
        "selection": "last_epoch",
        "selected": selected,
    }
    if ranks.first:
        run.refuse_if_gone()
        write_json(run.cost, measure_cost(settings.device))
        if draw is not None:
            draw()
        write_evaluation(run.path, last, about.class_names, summary)
    return summary


def _digest(keys: Sequence[str]) -> str:
    return f"{len(keys)} {hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:16]}"


def _selected(
    task: Task,
    run: RunDirectory,
    sets: Sets,
    about: Description,
    found: Predictions | None,
    ranks: Ranks,
) -> dict[str, Any]:
    """Measure best.pt, whose predictions are `found` if it is the last epoch's."""
    best, last = run.checkpoint("best"), task.model.state_dict()
    if found is None:
        kept = {key: value.clone() for key, value in last.items()}
        task.model.load_state_dict(best["model"])
        found = predict(task, sets.test.batches, sets.test.keys, show="evaluating best.pt", ranks=ranks)
        task.model.load_state_dict(kept)
    return summarise(found, about.relations) | {
        "protocol": sets.test.protocol,
        "epoch": best["epoch"],
        "checkpoint": "best.pt",
        "selection": f"best_on_{sets.watched.split}",
        "selected_with": sets.watched.protocol,
    }


def result_line(summary: Mapping[str, Any]) -> str:
    """Say what eval.json holds in one line, with the interval and how the epoch was chosen."""
    interval = f"95 % interval {summary['ci95_low']:.1f} to {summary['ci95_high']:.1f}"
    # A checkpoint that others trained does not say after how many epochs.
    epoch = f"epoch {summary['epoch']} ({summary['selection']})" if summary["epoch"] else summary["selection"]
    line = f"top-1 {summary['top1']:.1f} % ({interval}) on {summary['n_clips']} clips, {epoch}"
    selected = summary.get("selected")
    if selected is None or selected["epoch"] == summary["epoch"]:
        return line
    return f"{line}; {selected['selection']}: {selected['top1']:.1f} %, epoch {selected['epoch']}"
