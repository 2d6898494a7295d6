"""The one main of all trainings, from flags to a finished run directory.

A script says in a `Training` what is its own: how left-out flags are filled, what is read of a clip, and
which network is built. `train` does the rest, in the same order for all of them.
"""

import copy
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
import torch._dynamo
from torch import nn

from core.errors import UserError
from core.files import digest, write_json
from core.ranks import ONE, Ranks, join_ranks, share_batch_norm
from core.run_dir import RunDirectory, measure_cost
from core.seeding import choose_device, computes_bfloat16, seed_everything, set_up_numerics
from core.stage import Stage
from core.task import Classification, Composition, Task
from core.train_config import ClipTrainConfig, TrainConfig
from data.parts import ClipInput, Frames
from metrics.predictions import Predictions, Relations, summarise, write_evaluation
from models.base import ClipModel, Entry, make_no_heat
from training.batches import ClipData, Data, LoaderSettings, ResidentClips, open_clips
from training.cache import CacheFlags
from training.cache.store import CacheFolder
from training.evaluate import measure_turned, predict, predict_along, result_line
from training.fit import FitSettings, Loop, Sets
from training.parents import Parent, ParentKind, open_parents
from training.record import Recorder

if TYPE_CHECKING:
    from metrics.early import EarlyPredictions

C = TypeVar("C", bound=ClipTrainConfig)
M = TypeVar("M", bound=nn.Module)
Parents = Mapping[str, Parent]
"""The runs that a training starts from, by the flags that name them."""
Settings = Mapping[str, Mapping[str, Any]]
"""The same runs' settings."""
Architecture = dict[str, Any]
"""Name and arguments of a model's class, for `models.build_model`."""


def classification(config: Any, entry: Entry, names: tuple[str, ...]) -> Task:
    """Make the task of the networks that learn actions, whole or by their verbs and nouns."""
    if numbers := entry.model.numbers:
        return Composition(entry.model, names, numbers, entry=entry)
    return Classification(entry.model, names, keep=("along",), entry=entry)


def look_at(config: Any, model: ClipModel) -> Sequence[object]:
    """Say how to see where a run looks on clips that it gets wrong; nothing where it has no heat maps."""
    if config.data is None or not model.heats():
        return ()
    heat = () if (first := model.heats()[0]) == "attention" else ("--heat", first)
    chosen = ("--user", *config.test_users, "--wrong", "--sample", 6)
    words = ("--runs", config.out, "--data", config.data, *heat, *chosen, "--html", "--out", "look")
    return ("python", "cam_viz.py", *words)


@dataclass(frozen=True)
class Training(Generic[C]):
    """What a training script adds to `train`.

    Attributes:
        resolve: Fills the flags that were left out, from defaults or from the settings of the parents, and
            returns the stage.
        inputs: Describes what is read of a clip.
        build: Makes the model with its initial weights; the class names are those of the data.
        parents: For each flag that names a run to start from, the kind of run that it takes.
        open: Opens the data.
        task: Makes the task of a model, given the names of the tensors that the model takes.
        notes: What the user should know before the training begins.
        prepare: Lets the model learn what it keeps of the training clips as a whole.
        draw: Draws the run's own picture into its folder.
        following: The command that makes the most of a finished run; by default it shows where it looks.
    """

    resolve: Callable[[C, Settings], tuple[C, Stage]]
    inputs: Callable[[C, Parents], ClipInput]
    build: Callable[[C, tuple[str, ...], Parents], tuple[Architecture, ClipModel]]
    parents: Mapping[str, ParentKind] = field(default_factory=dict)
    open: Callable[[Any, ClipInput, Ranks], Data] = open_clips
    task: Callable[[C, Entry, tuple[str, ...]], Task] = classification
    notes: Callable[[C, Parents], Sequence[str]] = lambda config, parents: ()
    prepare: Callable[[C, Any, Any, Ranks], None] | None = None
    draw: Callable[[C, Any, Any, Path], None] | None = None
    following: Callable[[C, Any], Sequence[object]] = look_at


def train(config: C, training: Training[C]) -> None:
    """Train one stage of a network and measure it, in as many processes as torchrun has started.

    Raises:
        UserError: A flag, the data or a parent does not fit, or the training fails; the message says what to
            do. Everything that can be checked is checked before anything is written.
    """
    set_up_numerics()
    with join_ranks(config.device) as ranks:
        ranks.batch_size(config.batch_size)  # refused here if it can't be divided
        parents = open_parents(config, training.parents)
        config, stage = training.resolve(config, {name: parent.settings for name, parent in parents.items()})
        config = config.replace(**{f"{name}_sha256": parent.sha256 for name, parent in parents.items()})
        RunDirectory(config.out).refuse_if_taken(config, ranks)
        if config.amp == "bf16" and computes_bfloat16(choose_device(config.device)) is False:
            ranks.say("note: --amp bf16 is slower than off here: the device has no instructions for bfloat16")
        for note in training.notes(config, parents):
            ranks.say(note)
        inputs = training.inputs(config, parents)
        data = training.open(config, inputs, ranks)
        for parent in parents.values():
            parent.check(config, data.class_names, data.images)

        seed_everything(config.seed)
        with redirect_stdout(sys.stdout if ranks.first else None):
            architecture, model = training.build(config, data.class_names, parents)
        make_no_heat(model)
        if training.prepare is not None:
            training.prepare(config, model, data, ranks)
        take_own_weights(config, model)
        entry = place(Entry(model), config, ranks)
        about = Description(
            architecture, data.class_names, inputs.to_dict(), data.relations, data.motion_made, data.images
        )

        cache = config.open_cache(ranks.say) if isinstance(config, CacheFlags) else None
        sets, names = make_sets(config, data, model, stage, ranks, cache)
        task = training.task(config, entry, names)
        if ranks.size == 1 and min(config.batch_size, len(sets.train.keys)) == 1:
            refuse_single_items(task, stage, sets)
        with RunDirectory.begin(config, ranks) as run:
            draw = None if training.draw is None else partial(training.draw, config, model, data, run.path)
            clips = model.reads_along and isinstance(data, ClipData)
            frames = inputs.part(Frames) if clips else None
            turns = names if inputs.names == (Frames.name,) else ()
            summary = train_and_evaluate(
                config, run, task, stage, sets, about, draw, ranks, frames, turns, inputs.shapes
            )
        if cache is not None:
            cache.finish()
        ranks.say(result_line(summary))
        ranks.say(f"{config.out}: confusion.png and curves.png show how it went")
        if command := training.following(config, model):
            ranks.say(f"next: {shlex.join(map(str, command))}")


def take_own_weights(config: TrainConfig, model: ClipModel) -> None:
    """Load what a run that goes on has saved, whatever has become of the file that it once started from.

    Layers that are never trained are its own then, and so are the outputs of them that a cache keeps. Weights
    that don't fit are left alone; the message about what has changed comes when the run goes on.
    """
    run = RunDirectory(config.out)
    if not run.last.exists():
        return
    saved, own = run.checkpoint("last")["model"], model.state_dict()
    if {key: value.shape for key, value in saved.items()} == {key: value.shape for key, value in own.items()}:
        model.load_state_dict(saved)


def place(model: M, config: TrainConfig, ranks: Ranks = ONE) -> M:
    """Move a model to the device and compile it if asked to; parts that can't be compiled run as they are."""
    model.to(choose_device(config.device))
    share_batch_norm(model, ranks)
    if config.compile:
        torch._dynamo.config.suppress_errors = True  # warns, naming what it could not compile
        model.compile()
    return model


def make_sets(
    config: TrainConfig,
    data: Data,
    model: ClipModel,
    stage: Stage,
    ranks: Ranks = ONE,
    cache: CacheFolder | None = None,
) -> tuple[Sets, tuple[str, ...]]:
    """Make the batches, of frames and outputs of layers that the stage leaves alone where these are kept.

    With `cache` they are kept there, and on a GPU such outputs are held in its memory too, with or without.

    Returns:
        The batches, and the names of the tensors in them that the model takes.
    """
    settings = LoaderSettings(config.batch_size, config.workers, config.seed)
    on_gpu = choose_device(config.device).type == "cuda" and config.resident != "off"
    if not isinstance(data, ClipData) or (cache is None and not on_gpu):
        return data.sets(settings, ranks), data.inputs.names
    from training.cache.features import CachedInput
    from training.cache.frames import with_kept_frames
    from training.cache.held import HeldMemory

    if cache is not None:
        data = replace(data, inputs=with_kept_frames(data.inputs, cache))
    if not (prefixes := model.prefixes(stage)):
        return data.sets(settings, ranks), data.inputs.names
    device, limit = next(model.parameters()).device, config.resident
    memory = HeldMemory(device, None if isinstance(limit, str) else limit, ranks.say) if on_gpu else None
    cached = CachedInput(data.inputs, prefixes, cache, config.workers, data.split.train, data.load, memory)
    sets = data.sets(settings, ranks, cached.batches)
    if memory is not None and isinstance(data.load, ResidentClips):
        data.load.resident.room.share(memory.taken)
    return sets, cached.names


def refuse_single_items(task: Task, stage: Stage, sets: Sets) -> None:
    """Try a step on a copy where every batch holds one item.

    Raises:
        UserError: It is too little for batch norm, which divides by the spread of a channel's values.
    """
    task, device = copy.deepcopy(task), next(task.model.parameters()).device
    stage.set_modes(task.model)
    batch = next(iter(sets.train.batches(1)))
    try:
        with torch.no_grad():
            task({name: tensor.to(device) for name, tensor in batch.items()})
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"{stage.name} can't be trained on batches of one item, where batch norm sees one value of each "
            "channel. Use a --batch-size above 1 and at least two training items, or a larger --image-size"
        ) from None


@dataclass(frozen=True)
class Description:
    """What a checkpoint says about its model, so that nothing has to be typed again to use it.

    Attributes:
        architecture: Name and arguments of the model's class, for `models.build_model`.
        class_names: The K classes in the order of the logits.
        preprocessing: How the model's input is made.
        relations: How classes relate; only used for the report.
        motion_made: How the motion in the data was made, as far as that is known.
        images: Digests of the clips with the numbers of their frames, empty for pictures.
    """

    architecture: Architecture
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    relations: Relations
    motion_made: dict[str, Any] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    def for_checkpoint(self, config: TrainConfig, sets: Sets) -> dict[str, Any]:
        """Return the plain values that checkpoints hold beside the weights."""
        return {
            "architecture": self.architecture,
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing,
            "config": config.model_dump(mode="json"),
            "motion_made": self.motion_made,
            "items": {"train": digest(sets.train.keys + sets.train.beside), "test": digest(sets.test.keys)},
            "images": self.images,
        }


def train_and_evaluate(
    config: TrainConfig,
    run: RunDirectory,
    task: Task,
    stage: Stage,
    sets: Sets,
    about: Description,
    draw: Callable[[], None] | None = None,
    ranks: Ranks = ONE,
    frames: Frames | None = None,
    turns: tuple[str, ...] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Any]:
    """Train a stage, measure its last and its selected epoch on the test items, and write the run's files.

    The number to report is the last epoch's; the selected epoch's stands beside it, under its selection.
    Where frames lie at quarters of a clip, the network of the last epoch is also read along them.

    Args:
        config: The run's flags, resolved.
        run: The folder for the results, claimed.
        task: Model and losses; the model is on the device.
        stage: What is trained, and how.
        sets: Items to learn from and to measure on.
        about: What checkpoints say about the model.
        draw: Draws the run's own picture, before eval.json says that the run has finished.
        ranks: The processes of the training.
        frames: The frames of a clip that the model can be read along, if it can.
        turns: Names of the tensors that the model takes, if their frames can be reversed.
        shapes: Of what the model takes of one item, to count its operations.

    Returns:
        The content of eval.json.
    """
    device = choose_device(config.device)
    graphs = config.graphs == "auto" and device.type == "cuda" and ranks.size == 1 and not config.compile
    settings = FitSettings(
        config.seed, device, bf16=config.amp == "bf16", eval_every=config.eval_every, graphs=graphs
    )
    with Recorder(run, about.for_checkpoint(config, sets), ranks, config.save_every_sec) as recorder:
        loop = Loop(task, stage, sets, recorder, settings, ranks)
        loop.run()
    state, last = loop.state, loop.found
    if last is None or sets.validation is not sets.test:  # else the last epoch was measured on the test set
        last = predict(task, sets.test.batches, sets.test.keys, show="evaluating", ranks=ranks)
    best = last if state.best_epoch == state.epoch else _predict_best(task, run, sets, ranks)
    selected = summarise(best, about.relations) | {
        "protocol": sets.test.protocol,
        "epoch": state.best_epoch,
        "checkpoint": "best.pt",
        "selection": f"best_on_{sets.validation.split}",
        "selected_with": sets.validation.protocol,
    }
    summary = summarise(last, about.relations) | {
        "split": "test",
        "protocol": sets.test.protocol,
        "epoch": state.epoch,
        "checkpoint": "last.pt",
        "selection": "last_epoch",
        "selected": selected,
        "n_train": len(sets.train.keys),
    }
    if turns:
        summary |= measure_turned(task, turns, sets.test.batches, last, about.relations, ranks=ranks)
    early = None if frames is None else _read_along(task, sets, last, frames, ranks)
    if early is not None:
        from metrics.early import summarise_early

        summary["early"] = summarise_early(early, about.relations)
    if ranks.first:
        run.refuse_if_gone()
        cost = measure_cost(device)
        if shapes is not None:
            from models.cost import network_cost  # loaded at the end, where it is used

            cost |= network_cost(about.architecture, shapes)
        if frames is not None and isinstance(task.model, ClipModel):
            cost |= task.model.head_cost(frames.frames, frames.pixels.image_size, device)
        write_json(run.cost, cost)
        from metrics.figures import save_curves  # matplotlib takes its time, and only the end needs it

        save_curves(run.curves, [state.rows])
        if draw is not None:
            draw()
        if early is not None:
            early.save(run.early)
        write_evaluation(run.path, last, about.class_names, summary)  # eval.json is the last of its files
    return summary


def _read_along(
    task: Task, sets: Sets, last: Predictions, frames: Frames, ranks: Ranks
) -> "EarlyPredictions | None":
    """Read the test clips along their frames; None where no frame lies at a quarter of a clip."""
    from metrics.early import EarlyPredictions, measurable  # loaded at the end, where it is used

    if not (shares := measurable(frames.frames, frames.observed)):
        return None
    if "along" not in last.details:
        along = predict_along(task, sets.test.batches, sets.test.keys, ranks=ranks).details["along"]
        last = replace(last, details={**last.details, "along": along})
    return EarlyPredictions.read_off(last, shares, frames.observed)


def _predict_best(task: Task, run: RunDirectory, sets: Sets, ranks: Ranks) -> Predictions:
    """Measure best.pt on the test items; the model keeps its weights."""
    kept = {key: value.clone() for key, value in task.model.state_dict().items()}
    task.model.load_state_dict(run.checkpoint("best")["model"])
    found = predict(task, sets.test.batches, sets.test.keys, show="evaluating best.pt", ranks=ranks)
    task.model.load_state_dict(kept)
    return found
