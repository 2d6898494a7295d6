"""Measures a finished run on clips: top-1 with its interval, accuracy by class, verb, noun, predictions.

A run with motion heads is also measured on its predicted motion maps, where the clips have true ones; a run
with attention on how well that falls on hands, the object acted on and what moves, where truth or motion
maps are known. With --fuse it averages the scores of several runs instead (late fusion) and says which
classes that helps.
"""

import math
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY, DeviceName, refuse_repeated
from core.config import Config as BaseConfig
from metrics import Scores

SplitName = Literal["test", "train"]


class Config(BaseConfig):
    """Measure a run, a run along its frames, or the late fusion of several.

    Writes eval.json, predictions.npz, per_class.csv and confusion.png; for motion heads also motion.png, true
    and predicted maps of some clips; for a fusion also fusion.csv and fusion.png, which say what it repairs
    and breaks in each class. Along the frames it writes early.json, early.npz, early.csv and early.png.
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "late fusion": "weights scores",
        "clips": "split users observed",
        "speed": "batch_size workers device",
    }

    run: Path | None = None
    """Run directory of any training script."""
    fuse: tuple[Path, ...] = ()
    """Instead of --run: two or more run directories, whose saved test predictions are averaged."""
    data: Path | None = None
    """Tree of clips. With --fuse it is used to find the weights that training clips would have chosen."""
    split: SplitName = "test"
    """Clips of the run's test users, or of its training users."""
    users: tuple[str, ...] | None = Field(None, min_length=1)
    """Measure these users instead of those of a split."""
    checkpoint: Literal["last", "best"] = "last"
    """last gives the number to report; best was selected on the clips that the run's eval.json names."""
    weights: tuple[float, ...] | None = None
    """With --fuse: a weight for each run, scaled to sum to 1; equal when left out."""
    scores: Scores = "logits"
    """With --fuse: the scores that are averaged; the published late fusion averages logits."""
    out: Path | None = None
    """Folder for the results (RUN/evaluation/SPLIT-CHECKPOINT); earlier results in it are replaced."""
    observed: tuple[float, ...] = ()
    """With --run: read it along its frames, and measure what it knows after these shares of a clip, in per
    cent (25 50 75 100). Results lie in a folder of their own (RUN/evaluation/observed-SPLIT-CHECKPOINT)."""
    batch_size: int = Field(32, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips at a time."""
    workers: int = Field(1, ge=0, json_schema_extra=COSTS_MEMORY)
    """Processes that load clips."""
    device: DeviceName = "auto"
    """Device to compute on; auto takes a GPU if there is one."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if (self.run is None) == (not self.fuse):
            raise ValueError("give either --run (one run directory) or --fuse (two or more)")
        if self.run is not None and self.data is None:
            raise ValueError("--run needs --data, the tree of clips to measure it on")
        if self.run is not None and self.weights is not None:
            raise ValueError("--weights belongs to --fuse")
        if self.observed:
            self._check_shares()
        if self.users is not None and len(set(self.users)) < len(self.users):
            raise ValueError("--users names a user twice; name each once")
        if self.fuse:
            self._check_fusion()
        return self

    def _check_shares(self) -> None:
        if self.fuse:
            raise ValueError("--observed reads one run along its frames; it needs --run, not --fuse")
        if not all(1 <= share <= 100 for share in self.observed):
            raise ValueError(
                f"--observed takes per cent of a clip from 1 to 100, such as 25 50 75 100, got "
                f"{' '.join(f'{share:g}' for share in self.observed)}"
            )
        if sorted(set(self.observed)) != list(self.observed):
            raise ValueError("--observed should name each share once, from the smallest to the largest")

    def _check_fusion(self) -> None:
        if len(self.fuse) < 2:
            raise ValueError("--fuse needs two run directories or more")
        refuse_repeated("--fuse", self.fuse)
        if self.users is not None or self.split != "test" or self.checkpoint != "last":
            raise ValueError(
                "--fuse measures last checkpoints on test users; leave out --users, --split and --checkpoint"
            )
        if self.weights is None:
            return
        if len(self.weights) != len(self.fuse):
            raise ValueError(
                f"--weights: {len(self.fuse)} runs need {len(self.fuse)}, got {len(self.weights)}"
            )
        if min(self.weights) < 0 or sum(self.weights) <= 0 or not all(map(math.isfinite, self.weights)):
            raise ValueError(f"--weights should not be negative, nor all zero, got {self.weights}")
        if sum(weight > 0 for weight in self.weights) == 1:
            alone = self.fuse[self.weights.index(max(self.weights))]
            raise ValueError(f"--weights leaves {alone} alone, which is no fusion; measure it with --run")


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from core.errors import UserError
from core.files import refuse_no_folder, write_json
from core.run_dir import RunDirectory, read_evaluation
from core.seeding import choose_device, set_up_numerics
from core.task import Classification, Composition, Task
from data.index import ClipIndex
from data.parts import ClipInput, Frames, Maps, read_input
from data.provenance import refuse_other_motion
from metrics.attention import measure_attention, quality_lines
from metrics.early import EarlyPredictions, early_lines, refuse_between_frames, summarise_early
from metrics.fusion import (
    Member,
    align,
    changes_by_class,
    changes_table,
    choice_line,
    fuse,
    fusion_lines,
    held_out_by_all,
    members_table,
    training_choice,
)
from metrics.predictions import Predictions, summarise, write_csv, write_evaluation
from models.base import ClipModel
from models.build import build_trained
from selfsup.settings import MotionSettings
from selfsup.task import MotionSegmentation
from training.batches import action_relations, evaluation_set
from training.evaluate import measure_turned, predict, predict_along, result_line
from training.fit import EvaluationSet
from training.parents import untrained_note


@dataclass(frozen=True)
class Opened:
    """A run with the clips that it is measured on.

    Attributes:
        checkpoint: Content of its checkpoint.
        index: The clips.
        inputs: What is read of them.
        clips: The same in batches.
        model: The network, with the checkpoint's weights, on the device.
        measured: Names the clips and the checkpoint in folders.
    """

    checkpoint: dict[str, Any]
    index: ClipIndex
    inputs: ClipInput
    clips: EvaluationSet
    model: ClipModel
    measured: str

    @classmethod
    def of(cls, path: Path, config: Config) -> Self:
        """Load a run's checkpoint, and find and check the clips."""
        assert config.data is not None
        set_up_numerics()
        checkpoint = RunDirectory.finished(path).checkpoint(config.checkpoint)
        saved, names = checkpoint["config"], tuple(checkpoint["class_names"])
        users = choose_users(path, saved, config)
        if note := untrained_note(saved, str(path)):
            print(note)
        whole = ClipIndex.from_tree(config.data).with_classes(names)
        # A folder named "test" holds the test users and nobody else, of the run's own tree: reports and
        # fusions read it.
        measured = config.split if config.users is None else f"users-{'-'.join(config.users)}"
        if config.users is None and not is_own_tree(path, saved, whole):
            measured = f"other-{measured}"
            print(f"note: {config.data} holds other clips of the test users than {path} was tested on")
        refuse_replacing(config.out or path / "evaluation")
        index = whole.select(users)
        inputs = choose_input(checkpoint, index)
        refuse_other_motion(checkpoint, config.data, inputs.kinds, str(path))
        index.verify(inputs.kinds)
        clips = evaluation_set(config.split, index, inputs, config.batch_size, config.workers)
        model = build_trained(checkpoint["architecture"], checkpoint["model"], str(path))
        model.to(choose_device(config.device))
        return cls(checkpoint, index, inputs, clips, model, f"{measured}-{config.checkpoint}")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(self.checkpoint["class_names"])

    def about(self, config: Config) -> dict[str, Any]:
        """Say what was measured, for the file of results."""
        return {
            "split": config.split if config.users is None else " ".join(config.users),
            "protocol": self.clips.protocol,
            "epoch": self.checkpoint.get("epoch"),
            "checkpoint": f"{config.checkpoint}.pt",
            "selection": selection_of(self.checkpoint, config.checkpoint),
        }


def measure(path: Path, config: Config) -> None:
    """Load the run's checkpoint, predict the clips, write and print the results."""
    run = Opened.of(path, config)
    inputs, model = run.inputs, run.model
    task: Task = Classification(model, inputs.names, keep=("heat",))
    if model.numbers:
        task = Composition(model, inputs.names, model.numbers, keep=("heat",))
    if inputs.part(Maps) is not None:
        settings = MotionSettings.of_run(run.checkpoint["config"])
        task = MotionSegmentation(model, inputs.names, settings)
    predictions = predict(task, run.clips.batches, run.clips.keys, show="evaluating")
    relations = action_relations(run.names)
    summary = summarise(predictions, relations) | run.about(config)
    if inputs.names == (Frames.name,):
        summary |= measure_turned(task, inputs.names, run.clips.batches, predictions, relations)
    if quality := measure_attention(predictions, run.index, inputs):
        summary["attention"] = quality
    out = config.out or path / "evaluation" / run.measured
    if inputs.part(Maps) is not None:
        from viz.motion import draw_motion

        draw_motion(out / "motion.png", settings, model, run.index, inputs)
    write_evaluation(out, predictions, run.names, summary)
    print("\n".join([result_line(summary), *quality_lines(quality)]))
    print(f"written to {out}")


def read_along(path: Path, config: Config) -> None:
    """Read the run along its frames; write and print what it knows after each share of a clip.

    Raises:
        UserError: The network can't be read so, or no frame lies at a share.
    """
    from metrics.figures import Estimate, save_shares  # matplotlib takes its time, and only this needs it

    run = Opened.of(path, config)
    frames = run.inputs.part(Frames)
    if frames is None or not run.model.reads_along:
        raise UserError(
            f"{path} can't be read along its frames: --observed takes runs of train_rgb.py and "
            "train_frame.py whose network sees no later frame"
        )
    refuse_between_frames(config.observed, frames.frames, frames.observed, str(path))
    task = Classification(run.model, run.inputs.names, keep=("along",))
    predictions = predict_along(task, run.clips.batches, run.clips.keys, show="reading along the frames")
    early = EarlyPredictions.read_off(predictions, config.observed, frames.observed)
    found = summarise_early(early, action_relations(run.names))
    out = config.out or path / "evaluation" / f"observed-{run.measured}"
    ends = ("observed", "top1", "ci95_low", "ci95_high")
    curve = [Estimate(*(line[key] for key in ends)) for line in found["shares"]]
    save_shares(out / "early.png", {path.name: curve}, "how early an action is known")
    columns = [key for key in found["shares"][-1] if key != "below_last"]
    write_csv(out / "early.csv", {key: [line[key] for line in found["shares"]] for key in columns})
    early.save(out / "early.npz")
    write_json(out / "early.json", found | run.about(config))
    print("\n".join([*early_lines(found), f"written to {out}"]))


def is_own_tree(path: Path, saved: dict[str, Any], index: ClipIndex) -> bool:
    """Whether a tree has the clips on which a run was tested when it ended, as far as that is known."""
    try:
        own = Predictions.load(path / "predictions.npz").keys
    except UserError:
        return True
    return set(own) == {clip.key for clip in index.clips if clip.user in saved["test_users"]}


def refuse_replacing(out: Path) -> None:
    """Refuse to write where nothing can be written, or over the numbers of a run.

    Raises:
        UserError: No folder can be there, or it is a run's own.
    """
    refuse_no_folder("--out", out)
    if (run := RunDirectory(out)).last.exists() or run.config.exists():
        raise UserError(f"--out {out} is a run's own folder, whose results would be lost; name another")


def choose_users(path: Path, saved: dict[str, Any], config: Config) -> Sequence[str]:
    """Choose the users whose clips are measured, and say what stands against the number.

    Raises:
        UserError: The run has learned from one of its own test users, who was not asked for by name.
    """
    users = config.users or {"test": saved["test_users"], "train": saved["train_users"]}[config.split]
    learned = sorted(set(users) & set(saved["train_users"]))
    if learned and config.users is None and config.split == "test":
        raise UserError(
            f"{path} has learned from {', '.join(learned)}, on whom it would be tested; to measure them all "
            f"the same, ask for them by name: --users {' '.join(users)}"
        )
    if learned:
        print(f"note: {path} has learned from {', '.join(learned)}; this does not measure generalisation")
    return users


def choose_input(checkpoint: dict[str, Any], index: ClipIndex) -> ClipInput:
    """Read what the run's network takes of a clip; with motion heads also the maps, where clips have any."""
    inputs = read_input(checkpoint["preprocessing"])
    frames = inputs.part(Frames)
    if "motion" not in checkpoint["architecture"] or frames is None:
        return inputs
    if any(clip.maps is not None for clip in index.clips):
        return inputs.plus(Maps.of(frames))
    print(f"note: {index.root} has no motion maps, so the run's motion head is not measured")
    return inputs


def selection_of(checkpoint: dict[str, Any], name: Literal["last", "best"]) -> str:
    """Say how the checkpoint's epoch was chosen, as eval.json does under "selection"."""
    if "published" in checkpoint:
        return "published checkpoint"
    if not checkpoint.get("epoch"):
        return "untrained weights"
    if name == "best":
        return f"best_on_{checkpoint['selected_on']}"
    planned = checkpoint["config"].get("epochs")
    return "last_epoch" if checkpoint["epoch"] == planned else f"unfinished, of {planned} epochs"


def fuse_runs(config: Config) -> None:
    """Average the runs' scores, write and print what that repairs and breaks.

    With --data the weights that training clips would choose come last: the runs may have to be measured on
    them first, which takes its time.
    """
    from metrics.figures import save_changes  # matplotlib takes its time, and only this needs it

    checkpoints = [RunDirectory.finished(path).checkpoint("last") for path in config.fuse]
    names = [path.name for path in config.fuse]
    if len(set(names)) < len(names):
        names = [str(path) for path in config.fuse]
    out = config.out or config.fuse[0] / "evaluation" / f"fusion-{'-'.join(names[1:])}".replace("/", "_")
    refuse_replacing(out)

    def members(split: SplitName) -> list[Member]:
        runs = zip(names, checkpoints, config.fuse, strict=True)
        return align(
            [Member(n, tuple(c["class_names"]), saved_predictions(p, split, config)) for n, c, p in runs]
        )

    tested = members("test")
    weights = np.array(config.weights or [1.0] * len(tested))
    fused, classes = fuse(tested, weights, config.scores), tested[0].class_names
    summary = summarise(fused, action_relations(classes)) | {
        "split": "test",
        "protocol": f"late fusion, weighted mean of {config.scores}",
        "epoch": None,
        "checkpoint": "last.pt",
        "selection": "equal weights" if config.weights is None else "given weights",
        "runs": members_table(config.fuse, tested, weights / weights.sum(), fused),
    }
    write_csv(out / "fusion.csv", changes_table(fused, tested))
    gains = {member.name: np.subtract(*changes_by_class(fused, member)) for member in tested}
    title = f"late fusion: {summary['top1']:.1f} % of {summary['n_clips']} clips right"
    save_changes(out / "fusion.png", gains, classes, title)
    write_evaluation(out, fused, classes, summary)
    print("\n".join([*fusion_lines(summary), f"written to {out}"]), flush=True)
    if config.data is not None:
        held = held_out_by_all(config.data, checkpoints)
        choice = training_choice(tested, members("train"), held, config.scores)
        if held is None and any(checkpoint["config"].get("unseen") for checkpoint in checkpoints):
            choice["clips"] = "of which --unseen kept some from a run"
        write_json(out / "eval.json", summary | {"weights_by_training_clips": choice})
        print(choice_line(choice))


def saved_predictions(path: Path, split: SplitName, config: Config) -> Predictions:
    """Read a run's predictions of a split; make them first, and say no more than that, if it has none.

    Raises:
        UserError: It has none, and there is no --data to make them from, or that is not the run's tree.
    """
    measured = path / "evaluation" / f"{split}-last" / "predictions.npz"
    if split == "test" and (path / "predictions.npz").is_file():
        return Predictions.load(path / "predictions.npz")
    if measured.is_file() and read_evaluation(path, split):
        return Predictions.load(measured)
    if config.data is None:
        raise UserError(
            f"{path} has no predictions of its {split} clips; name their tree with --data to make them"
        )
    why = ", to see which weights they would choose" if split == "train" else ""
    print(f"measuring {path} on its {split} clips{why}", flush=True)
    with redirect_stdout(io.StringIO()):  # its own results, which were not asked for
        measure(path, config.replace(run=path, fuse=(), weights=None, split=split, out=None))
    if not measured.is_file():
        raise UserError(
            f"{config.data} is not the tree of {path}; name with --data the one it was trained on"
        )
    return Predictions.load(measured)


def main(config: Config) -> None:
    """Measure one run, or fuse several."""
    if config.run is not None and config.observed:
        read_along(config.run, config)
    elif config.run is not None:
        measure(config.run, config)
    else:
        fuse_runs(config)


if __name__ == "__main__":
    run(main, flags)
