"""What the training loop costs beside the network: a training of a network that does nothing.

Its time is that of crops, batches, and the loop itself. Crops alone, of pixels that lie in memory, are the
bound. Axes: B clips, T frames, K classes, S pixels a side.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.epochs import open_clips
from benchmarks.steps import CLASSES, Size, Way, alternate
from core.ranks import Batches
from core.run_dir import RunDirectory
from core.stage import Group, Stage
from core.task import Classification
from data.epochs import EpochSampler
from data.index import ClipIndex
from data.parts import ClipInput
from data.resident import HeldImages, Resident
from data.transforms import transform_frames
from models.base import ClipOutput
from training.batches import ClipData, KeyBatches, LoaderSettings, ResidentClips, load_clips
from training.fit import FitSettings, Loop, TimedBatches
from training.record import Recorder

Found = dict[str, Any]
STAGE = Stage("nothing", (Group(("*",)),), (), "sgd", 0.0, 0.0, (), 1.0, 1)


class Nothing(nn.Module):
    """Gives every clip the same scores, which learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(CLASSES))

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify frames (B, T, 3, S, S) without looking at them: scores (B, K)."""
        scores = self.scores.expand(len(frames), -1)
        return ClipOutput(scores, scores)


def measure_loop(tree: Path, clips: int, size: Size, rounds: int) -> Found:
    """Time epochs of a network that does nothing: the steps of an epoch, and seconds of each round by way."""
    size = replace(size, batch=min(32, clips // 2), side=min(size.side, 112))
    with tempfile.TemporaryDirectory(prefix="egornn-loop-") as folder:
        ways, steps = loop_ways(tree, clips, size, Path(folder))
        return {"steps": steps, "seconds": alternate(ways, rounds)}


def loop_ways(tree: Path, clips: int, size: Size, folder: Path) -> tuple[dict[str, Way], int]:
    """Prepare epochs over the first clips of a tree, from held pixels and from files, and count their steps.

    The first way is the bound: the crops of an epoch, of pixels that lie where they are wanted.
    """
    split, inputs = open_clips(tree, clips, size)
    device = torch.device(size.device)
    ways: dict[str, Way] = {"crops alone": _crops(split.train, inputs, size.batch, device)}
    for workers in (0, 1):
        for name, load in (("held", ResidentClips(Resident(1000, device))), ("read", load_clips)):
            sets = ClipData(split, inputs, load).sets(LoaderSettings(size.batch, workers, seed=0))
            task, recorder = (
                Classification(Nothing().to(device), inputs.names),
                Recorder(RunDirectory(folder), {}),
            )
            loop = Loop(task, STAGE, sets, recorder, FitSettings(0, device))
            ways[f"{name}, {workers} workers"] = partial(_epoch, loop, sets.train.batches)
    return ways, len(sets.train.batches(1))


def _epoch(loop: Loop, batches: Callable[[int], Batches]) -> None:
    with tqdm(disable=True) as bar:
        loop.train_epoch(1, TimedBatches(batches(1)), bar)


def _crops(index: ClipIndex, inputs: ClipInput, batch_size: int, device: torch.device) -> Way:
    """Prepare the crops of the first epoch: on a CPU clip by clip, on a GPU a batch at once."""
    [frames] = inputs.parts
    keys = list(EpochSampler(len(index), 0, inputs.training_key(index)))
    if device.type == "cpu":
        images = [frames.load(index.clips[key.clip], key.picks["frames"]) for key in keys]

        def crop_each() -> None:
            for clip, key in zip(images, keys, strict=True):
                transform_frames(clip, frames.pixels, key.draw)

        return crop_each
    held = HeldImages(frames, index)
    for number, clip in enumerate(index.clips):
        held.want(number, picks := frames.may_train_on(clip))
        held.add_block([number], frames.load(clip, picks).to(device))
    return lambda: [held.look(part, device) for part in KeyBatches(keys, batch_size)]
