"""Measures a finished run on clips: top-1 with its interval, accuracy by class, verb, noun, predictions.

A run with motion heads is measured on the motion maps too, where the clips have any; one with attention on
how well that falls on hands, the object acted on and what moves, where truth or motion maps are known.
With --fuse it averages the scores of several runs instead (late fusion) and says which classes that helps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from core.cli import run
from core.config import COSTS_MEMORY
from core.config import Config as BaseConfig
from core.errors import UserError
from core.files import write_text
from core.run_dir import RunDirectory
from core.seeding import DeviceName, choose_device, set_up_numerics
from core.task import Classification, Task
from data.index import ClipIndex
from data.parts import ClipInput, Frames, Maps, read_input
from data.provenance import refuse_other_motion
from data.split import hold_out
from metrics.attention import Seen, attention_quality, quality_lines
from metrics.figures import save_changes
from metrics.fusion import (
    Member,
    Scores,
    align,
    changes_by_class,
    changes_table,
    choose_weights,
    fuse,
    restrict,
)
from metrics.masks import clip_masks
from metrics.predictions import Predictions, summarise, write_evaluation
from models.build import build_trained
from selfsup import MotionSegmentation, MotionSettings
from selfsup.targets import MOVING_SHARE, binary, reduce_maps
from training.batches import action_relations, evaluation_set
from training.evaluate import predict
from training.parents import untrained_note
from training.run import result_line

SplitName = Literal["test", "train"]


class Config(BaseConfig):
    """Measure a run, or the late fusion of several.

    Writes eval.json, predictions.npz, per_class.csv and confusion.png; of motion heads also motion.png, true
    and predicted maps of some clips; for a fusion also fusion.csv and fusion.png, which say what it repairs
    and breaks in each class.
    """

    run: Path | None = None
    """Run directory of any training script."""
    fuse: tuple[Path, ...] = ()
    """In place of --run: two or more run directories whose saved test predictions are averaged."""
    data: Path | None = None
    """Tree of clips. With --fuse it serves to find the weights that training clips would have chosen."""
    split: SplitName = "test"
    """Which clips: of the run's test users, or of its training users."""
    users: tuple[str, ...] | None = None
    """Measure these users instead of a split's."""
    checkpoint: Literal["last", "best"] = "last"
    """last is the number to report; best was selected, see eval.json of the run for on what."""
    weights: tuple[float, ...] | None = None
    """With --fuse: a weight for each run, scaled to sum to 1; equal when left out."""
    scores: Scores = "logits"
    """With --fuse: what is averaged; the published late fusion averages logits."""
    out: Path | None = None
    """Folder for the results (RUN/evaluation/SPLIT-CHECKPOINT); an earlier evaluation's are replaced."""
    batch_size: int = Field(32, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips at a time."""
    workers: int = Field(1, ge=0, json_schema_extra=COSTS_MEMORY)
    """Processes that load clips."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    @model_validator(mode="after")
    def _run_or_fusion(self) -> "Config":
        if (self.run is None) == (not self.fuse):
            raise ValueError("give either --run (one run directory) or --fuse (two or more)")
        if self.run is not None and self.data is None:
            raise ValueError("--run needs --data, the tree of clips to measure it on")
        if self.run is not None and self.weights is not None:
            raise ValueError("--weights belongs to --fuse")
        if self.fuse:
            self._check_fusion()
        return self

    def _check_fusion(self) -> None:
        if len(self.fuse) < 2:
            raise ValueError("--fuse needs two run directories or more")
        if self.users is not None or self.split != "test" or self.checkpoint != "last":
            raise ValueError("--fuse is of the last checkpoints on the test users; leave the others out")
        if self.weights is None:
            return
        if len(self.weights) != len(self.fuse):
            raise ValueError(f"--weights: {len(self.fuse)} runs need as many, got {len(self.weights)}")
        if min(self.weights) < 0 or sum(self.weights) <= 0 or not np.isfinite(self.weights).all():
            raise ValueError(f"--weights should not be negative, nor all zero, got {self.weights}")


def measure(path: Path, config: Config) -> None:
    """Load the run's checkpoint, predict the clips, write and print what came out."""
    set_up_numerics()
    checkpoint = RunDirectory.finished(path).checkpoint(config.checkpoint)
    saved = checkpoint["config"]
    users = choose_users(path, saved, config)
    if note := untrained_note(saved, str(path)):
        print(note)
    names = tuple(checkpoint["class_names"])
    assert config.data is not None
    index = ClipIndex.from_tree(config.data).with_classes(names).select(users)
    inputs = choose_input(checkpoint, index)
    refuse_other_motion(checkpoint, config.data, inputs.kinds, str(path))
    index.verify(inputs.kinds)
    clips = evaluation_set(config.split, index, inputs, config.batch_size, config.workers)
    model = build_trained(checkpoint["architecture"], checkpoint["model"], str(path))
    model.to(choose_device(config.device))
    task: Task = Classification(model, inputs.names, keep=("heat",))
    if inputs.part(Maps) is not None:
        settings = MotionSettings.of_run(saved)
        task = MotionSegmentation(model, inputs.names, settings)
    predictions = predict(task, clips.batches, clips.keys, show="evaluating")
    summary = summarise(predictions, action_relations(names)) | {
        "split": config.split if config.users is None else " ".join(config.users),
        "protocol": clips.protocol,
        "epoch": checkpoint.get("epoch"),
        "checkpoint": f"{config.checkpoint}.pt",
        "selection": _selection(checkpoint, config),
    }
    if quality := measure_attention(predictions, index, inputs):
        summary["attention"] = quality
    out = config.out or path / "evaluation" / f"{config.split}-{config.checkpoint}"
    if inputs.part(Maps) is not None:
        from viz.motion import draw_motion

        draw_motion(out / "motion.png", settings, model, index, inputs)
    write_evaluation(out, predictions, names, summary)
    print("\n".join([result_line(summary), *quality_lines(quality)]))
    print(f"written to {out}")


def choose_users(path: Path, saved: dict[str, Any], config: Config) -> Sequence[str]:
    """Give whose clips are measured, and say what stands against the number.

    Raises:
        UserError: A test user of the run is among those it has learned from, and was not asked for by name.
    """
    users = config.users or {"test": saved["test_users"], "train": saved["train_users"]}[config.split]
    learned = sorted(set(users) & set(saved["train_users"]))
    if learned and config.users is None and config.split == "test":
        raise UserError(
            f"{path} has learned from {', '.join(learned)}, on whom it would be tested; to measure them all "
            f"the same, ask for them by name: --users {' '.join(users)}"
        )
    if learned:
        print(f"note: {path} has learned from {', '.join(learned)}; this is no measure of what it can do")
    return users


def choose_input(checkpoint: dict[str, Any], index: ClipIndex) -> ClipInput:
    """Give what a run is shown of the clips: with motion heads their maps too, where they have any."""
    inputs = read_input(checkpoint["preprocessing"])
    frames = inputs.part(Frames)
    if "motion" not in checkpoint["architecture"] or frames is None:
        return inputs
    if any(clip.maps is not None for clip in index.clips):
        return inputs.plus(Maps(frames.frames, frames.pixels))
    print(f"note: {index.root} has no motion maps, so the run's motion head is not measured")
    return inputs


def measure_attention(predictions: Predictions, index: ClipIndex, inputs: ClipInput) -> dict[str, Any]:
    """Measure how well attention falls on each mask that is known; nothing without attention or masks.

    Returns:
        What `attention_quality` found, by the masks' names as of `metrics.masks.clip_masks`.
    """
    frames = inputs.part(Frames)
    if "heat" not in predictions.details or frames is None:
        return {}
    clips, seen = dict(zip(index.keys, index.clips, strict=True)), dict[str, list[Seen]]()
    for key, heat in zip(predictions.keys, predictions.details["heat"], strict=True):
        clip = clips[key]
        masks = clip_masks(index.root, clip, inputs.shown_numbers(clip), frames.pixels)
        for name, mask in masks.items():
            covered = reduce_maps(binary(mask)[None], heat.shape[-1], "area")[0]
            seen.setdefault(name, []).append(Seen(heat, covered.numpy()))
    return {name: attention_quality(pairs, MOVING_SHARE) for name, pairs in seen.items()}


def _selection(checkpoint: dict[str, Any], config: Config) -> str:
    if "published" in checkpoint:
        return "published checkpoint"
    if not checkpoint.get("epoch"):
        return "untrained weights"
    if config.checkpoint == "best":
        return f"best_on_{checkpoint['selected_on']}"
    planned = checkpoint["config"].get("epochs")
    return "last_epoch" if checkpoint["epoch"] == planned else f"unfinished, of {planned} epochs"


def fuse_runs(config: Config) -> None:
    """Average the runs' scores, write and print what that repairs and breaks."""
    checkpoints = [RunDirectory.finished(path).checkpoint("last") for path in config.fuse]
    names = _short_names(config.fuse)
    members = _members(config, names, checkpoints, "test")
    weights = np.array(config.weights or [1.0] * len(members))
    fused = fuse(members, weights, config.scores)
    relations = action_relations(members[0].class_names)
    summary = summarise(fused, relations) | {
        "split": "test",
        "protocol": f"late fusion, weighted mean of {config.scores}",
        "epoch": None,
        "checkpoint": "last.pt",
        "selection": "equal weights" if config.weights is None else "given weights",
        "runs": _runs(config.fuse, members, weights / weights.sum(), fused),
    }
    if config.data is not None:
        summary["weights_by_training_clips"] = _training_choice(config, members, checkpoints)
    out = config.out or config.fuse[0] / "evaluation" / f"fusion-{'-'.join(names[1:])}".replace("/", "_")
    write_text(out / "fusion.csv", changes_table(fused, members))
    gains = {member.name: np.subtract(*changes_by_class(fused, member)) for member in members}
    title = f"late fusion: {summary['top1']:.1f} % of {summary['n_clips']} clips right"
    save_changes(out / "fusion.png", gains, members[0].class_names, title)
    write_evaluation(out, fused, members[0].class_names, summary)
    print("\n".join(_lines(summary)))
    print(f"written to {out}")


def _members(
    config: Config, names: Sequence[str], checkpoints: Sequence[dict[str, Any]], split: SplitName
) -> list[Member]:
    return align(
        [
            Member(name, tuple(checkpoint["class_names"]), _saved_predictions(path, split, config))
            for path, name, checkpoint in zip(config.fuse, names, checkpoints, strict=True)
        ]
    )


def _saved_predictions(path: Path, split: SplitName, config: Config) -> Predictions:
    """Read a run's predictions of a split; make them first if it has none."""
    measured = path / "evaluation" / f"{split}-last" / "predictions.npz"
    for place in ([path / "predictions.npz"] if split == "test" else []) + [measured]:
        if place.is_file():
            return Predictions.load(place)
    if config.data is None:
        raise UserError(f"{path} has no predictions of its {split} clips; give --data to make them")
    print(f"measuring {path} on its {split} clips")
    measure(path, config.replace(run=path, fuse=(), weights=None, split=split, out=None))
    return Predictions.load(measured)


def _training_choice(
    config: Config, members: Sequence[Member], checkpoints: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Find the weights that clips of the training users choose, and what they give on the test clips."""
    trained = _members(config, [member.name for member in members], checkpoints, "train")
    held = _held_out_by_all(config, checkpoints)
    shown = trained if held is None else [restrict(member, held) for member in trained]
    choice = choose_weights(shown, config.scores)
    found = fuse(members, choice.weights, config.scores)
    return {
        "clips": "learned from by the runs" if held is None else "held out by every run",
        "n_clips": len(shown[0].predictions.labels),
        "alone": [100.0 * float(member.right.mean()) for member in shown],
        "weights": choice.weights.tolist(),
        "top1_there": choice.accuracy,
        "ties": choice.ties,
        "top1": summarise(found, action_relations(members[0].class_names))["top1"],
    }


def _held_out_by_all(config: Config, checkpoints: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
    """Name the training users' clips that no run learned from, None without --val-fraction."""
    splits = [[c["config"][key] for key in ("val_fraction", "seed", "train_users")] for c in checkpoints]
    fraction, seed, users = splits[0]
    if fraction == 0 or any(split != splits[0] for split in splits):
        return None
    assert config.data is not None
    index = ClipIndex.from_tree(config.data).select(users)
    return index.subset(hold_out(index, fraction, seed)[1]).keys


def _runs(
    paths: Sequence[Path], members: Sequence[Member], weights: np.ndarray, fused: Predictions
) -> list[dict[str, Any]]:
    rows = []
    for path, member, weight in zip(paths, members, weights, strict=True):
        repaired, broken = (int(counts.sum()) for counts in changes_by_class(fused, member))
        top1 = summarise(member.predictions, action_relations(member.class_names))["top1"]
        row = {"name": member.name, "run": str(path), "weight": float(weight), "top1": top1}
        rows.append(row | {"repaired": repaired, "broken": broken})
    return rows


def _lines(summary: dict[str, Any]) -> list[str]:
    width = max(len(row["name"]) for row in summary["runs"])
    lines = [
        f"{row['name']:{width}}  weight {row['weight']:.2f}  top-1 {row['top1']:.1f} %; the fusion repairs "
        f"{row['repaired']} of its clips and breaks {row['broken']}"
        for row in summary["runs"]
    ]
    interval = f"95 % interval {summary['ci95_low']:.1f} to {summary['ci95_high']:.1f}"
    lines.append(f"late fusion: top-1 {summary['top1']:.1f} % ({interval}) on {summary['n_clips']} clips")
    if choice := summary.get("weights_by_training_clips"):
        weights = " ".join(f"{weight:.2f}" for weight in choice["weights"])
        alone = ", ".join(f"{accuracy:.1f}" for accuracy in choice["alone"])
        lines.append(
            f"training users' clips ({choice['n_clips']}, {choice['clips']}; alone {alone} %) would choose "
            f"weights {weights} ({choice['top1_there']:.1f} % there, {choice['ties']} weights are as "
            f"accurate), which give {choice['top1']:.1f} % on the test clips"
        )
    return lines


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def main(config: Config) -> None:
    """Measure one run, or fuse several."""
    if config.run is not None:
        measure(config.run, config)
    else:
        fuse_runs(config)


if __name__ == "__main__":
    run(main, Config)
