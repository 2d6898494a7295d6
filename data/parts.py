"""What a network is shown of a clip: a sum of parts, such as frames and flow, as checkpoints store it.

A part knows everything that differs between kinds of input: which images it reads, which of them in
training, validation and test, the tensor it makes of them, and its entry in a checkpoint. A new kind of input
(depth, two frame rates, the first half of a clip) is one more part.

Axes: T frames, N flow stacks, C channels, H W pixels of a file, S pixels a side of what the network sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import InterpolationMode

from core.errors import UserError
from data.clips import Clip, Kind
from data.epochs import ClipKey, Item, MakeKey, Picks
from data.images import FrameReader, read_maps
from data.index import ClipIndex
from data.sampling import (
    Numbers,
    flow_centre_start,
    flow_random_start,
    flow_stack_numbers,
    flow_stack_starts,
    observed_length,
    rgb_frame_numbers,
    sample_frames,
)
from data.transforms import (
    Draw,
    Orientation,
    Preprocessing,
    normalise,
    scale_short_side,
    transform_flow,
    transform_frames,
    transform_maps,
)

When = Literal["validation", "test"]


class Part(ABC):
    """One kind of images of a clip as one tensor.

    Attributes:
        name: The tensor's name in items and batches.
        kinds: The images that are read.
        interpolation: How crops are scaled.
        dtype: Of the tensor.
        layout: Of images in memory.
        pixels: How they are scaled, cropped and normalised.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    interpolation: ClassVar[InterpolationMode] = InterpolationMode.BILINEAR
    dtype: ClassVar[torch.dtype] = torch.float32
    layout: ClassVar[torch.memory_format] = torch.contiguous_format
    pixels: Preprocessing

    @abstractmethod
    def pick(self, clip: Clip, when: When = "test") -> Picks:
        """Pick what is read of a clip after an epoch (validation) or for the reported number (test)."""

    def pick_for_training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick what is trained on: as in the test, where a part doesn't say otherwise."""
        return self.pick(clip)

    @property
    def items_per_clip(self) -> int:
        """Number of training items that an epoch takes from each clip."""
        return 1

    @abstractmethod
    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read what was picked, under a draw; the clip must have these images."""

    # The same in two steps, for pixels that are read once and cropped in every epoch.

    def numbers(self, clip: Clip, picks: Sequence[int]) -> Picks:
        """List the images that picks stand for, N of them, from 1."""
        return tuple(picks)

    def may_train_on(self, clip: Clip) -> Picks:
        """List every image of a clip that training may read: all, where it picks others than the test."""
        if type(self).pick_for_training is Part.pick_for_training:
            return self.numbers(clip, self.pick(clip))
        series = clip.series(self.kinds[0])
        return () if series is None else tuple(range(1, len(series) + 1))

    @abstractmethod
    def load(self, clip: Clip, numbers: Sequence[int]) -> Tensor:
        """Read images as crops are cut out of them, uint8 at the short side. Shape: (N, P planes, H, W)."""

    def planes(self, scaled: bool) -> int:
        """Count the planes P that `load` makes of an image, where the file's short side had to be scaled."""
        return 1

    def orientation(self, planes: int, draw: Draw | None) -> Orientation:
        """Say how the planes that `load` made are shown under a draw."""
        return tuple(range(planes)), (0,) * planes

    def finish(self, crops: Tensor, out: Tensor | None = None) -> Tensor:
        """Turn crops (..., C, S, S), uint8, into what the network takes, into `out` where it is given."""
        return normalise(crops, self.pixels, out)


class Stream(Part):
    """A part that a network takes: `name` is the argument of its forward.

    Attributes:
        stream: The part's name in checkpoints.
        settings: Its fields that checkpoints store, beside `pixels`.
        unless_default: Further ones, which checkpoints store where they are not the default.
    """

    stream: ClassVar[str]
    settings: ClassVar[tuple[str, ...]]
    unless_default: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def describe(self, when: When) -> str:
        """Say in words what `pick` picks."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of what the network sees at a time: all frames of a clip, or one view or stack."""

    @abstractmethod
    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Make the tensor as in the test where frames `numbers` (T, 3, H, W) were read already."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for a checkpoint."""
        settings = {name: getattr(self, name) for name in self.settings}
        further = {name: getattr(self, name) for name in self.unless_default}
        settings |= {name: value for name, value in further.items() if value != getattr(type(self), name)}
        return {"input": self.stream, **settings, "pixels": self.pixels.to_dict()}


def spread_frames(clip: Clip, frames: int, observed: float) -> Picks:
    """Spread T frames evenly over the first part of a clip, as `Frames` does; numbers are from 1."""
    return tuple(rgb_frame_numbers(observed_length(clip.num_frames, observed), frames).tolist())


@dataclass(frozen=True)
class Frames(Stream):
    """RGB frames spread evenly over a clip, or over its first part; always the same ones.

    Attributes:
        frames: Number of frames, T; shorter clips repeat frames.
        reader: What decodes them; it changes how long that takes and nothing else.
        observed: Share of the clip that frames come from, its beginning, in (0, 1].
    """

    name: ClassVar[str] = "frames"
    kinds: ClassVar[tuple[Kind, ...]] = ("frames",)
    stream: ClassVar[str] = "rgb"
    settings: ClassVar[tuple[str, ...]] = ("frames",)
    unless_default: ClassVar[tuple[str, ...]] = ("observed",)
    layout: ClassVar[torch.memory_format] = torch.channels_last  # as files are decoded
    frames: int
    pixels: Preprocessing
    reader: FrameReader = field(default_factory=FrameReader, compare=False)
    observed: float = 1.0

    def pick(self, clip: Clip, when: When = "test") -> Picks:
        """Pick frame numbers, from 1."""
        return spread_frames(clip, self.frames, self.observed)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (T, 3, S, S)."""
        return self.frames, 3, self.pixels.image_size, self.pixels.image_size

    def describe(self, when: When) -> str:
        """Say how many frames are seen, and of how much of a clip."""
        part = "" if self.observed == 1 else f" of the first {100 * self.observed:.10g} % of a clip"
        return f"{self.frames} frames{part}"

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read frames as normalised float32. Shape: (T, 3, S, S)."""
        return transform_frames(self.load(clip, picks), self.pixels, draw)

    def load(self, clip: Clip, numbers: Sequence[int]) -> Tensor:
        """Decode and scale frames, or take those that the reader has kept. Shape: (N, 3, H, W)."""
        return self.reader.read(clip.frames, numbers, self.pixels.short_side)

    def planes(self, scaled: bool) -> int:
        """Count the colours."""
        return 3

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Transform the frames that were read."""
        return transform_frames(frames, self.pixels, None)


@dataclass(frozen=True)
class SingleFrames(Frames):
    """One random frame at a time in training, for the classifier that sees no time; tested as `Frames`."""

    def pick_for_training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick any frame of the clip."""
        last = observed_length(clip.num_frames, self.observed)
        return (int(rng.integers(1, last, endpoint=True)),)

    def may_train_on(self, clip: Clip) -> Picks:
        """List all frames that are observed."""
        return tuple(range(1, observed_length(clip.num_frames, self.observed) + 1))

    @property
    def items_per_clip(self) -> int:
        """As many training frames from each clip as the test sees."""
        return self.frames


@dataclass(frozen=True)
class Views(Frames):
    """Views of a clip, L frames at a fixed interval each: a random one in training, several in the test.

    Their frames follow each other in one tensor (N * L, 3, S, S); a network that was built for L frames
    averages its scores over the views.

    Attributes:
        frames: Frames of all N views of a test together, N * L.
        frame_interval: Steps from one frame of a view to the next.
        num_clips: Views N of a clip that the reported number averages over; the middle one after an epoch.
    """

    stream: ClassVar[str] = "views"
    settings: ClassVar[tuple[str, ...]] = ("frames", "frame_interval", "num_clips")
    frame_interval: int = 1
    num_clips: int = 1

    @property
    def clip_len(self) -> int:
        """Frames L of a view."""
        return self.frames // self.num_clips

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one view (L, 3, S, S)."""
        return self.clip_len, 3, self.pixels.image_size, self.pixels.image_size

    def pick(self, clip: Clip, when: When = "test") -> Picks:
        """Pick the frame numbers of the middle view, or of those of the test."""
        return self._sample(clip, self.num_clips if when == "test" else 1)

    def pick_for_training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick the frame numbers of a random view."""
        return self._sample(clip, 1, rng)

    def may_train_on(self, clip: Clip) -> Picks:
        """List all frames."""
        return tuple(range(1, clip.num_frames + 1))

    def describe(self, when: When) -> str:
        """Say how many views are averaged, of which frames."""
        every = "" if self.frame_interval == 1 else f", {self.frame_interval} apart"
        view = f"{self.clip_len} frames{every}"
        return f"mean logits of {self.num_clips} views of {view}" if when == "test" else f"one view of {view}"

    def _sample(self, clip: Clip, num_clips: int, rng: np.random.Generator | None = None) -> Picks:
        views = sample_frames(clip.num_frames, self.clip_len, self.frame_interval, num_clips, rng)
        return tuple(views.flatten().tolist())


@dataclass(frozen=True)
class Maps(Part):
    """Motion maps of the frames that `Frames` shows: a target, which networks and checkpoints do not see.

    Attributes:
        frames: Number of frames, T.
        observed: Share of the clip that they come from.
    """

    name: ClassVar[str] = "maps"
    kinds: ClassVar[tuple[Kind, ...]] = ("maps",)
    interpolation: ClassVar[InterpolationMode] = InterpolationMode.NEAREST_EXACT
    dtype: ClassVar[torch.dtype] = torch.uint8
    frames: int
    pixels: Preprocessing
    observed: float = 1.0

    @classmethod
    def of(cls, frames: Frames) -> "Maps":
        """Describe the maps of the same frames."""
        return cls(frames.frames, frames.pixels, frames.observed)

    def pick(self, clip: Clip, when: When = "test") -> Picks:
        """Pick the numbers of the frames, from 1."""
        return spread_frames(clip, self.frames, self.observed)

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read maps as uint8, the nearest one for a frame that has none. Shape: (T, 1, S, S)."""
        return transform_maps(self.load(clip, picks), self.pixels, draw)

    def load(self, clip: Clip, numbers: Sequence[int]) -> Tensor:
        """Decode maps and scale them to the nearest pixels, as crops of them are. Shape: (N, 1, H, W)."""
        assert clip.maps is not None
        return scale_short_side(read_maps(clip.maps, numbers), self.pixels.short_side, self.interpolation)

    def finish(self, crops: Tensor, out: Tensor | None = None) -> Tensor:
        """Leave crops as they are."""
        return crops if out is None else out.copy_(crops)


@dataclass(frozen=True)
class Flow(Stream):
    """Stacks of consecutive flow images: a random one in training, the centre one after an epoch.

    Attributes:
        stack: Flow images (pairs of x and y) in a stack, 5 in the paper.
        test_stacks: Number of stacks that the reported number averages over.
    """

    name: ClassVar[str] = "flow"
    kinds: ClassVar[tuple[Kind, ...]] = ("flow_x", "flow_y")
    stream: ClassVar[str] = "flow"
    settings: ClassVar[tuple[str, ...]] = ("stack", "test_stacks")
    stack: int
    test_stacks: int
    pixels: Preprocessing

    def pick(self, clip: Clip, when: When = "test") -> Picks:
        """Pick the first flow number, from 1, of each stack; in the test they spread evenly over the clip."""
        if when == "validation":
            return (flow_centre_start(clip.num_flow, self.stack),)
        return tuple(flow_stack_starts(clip.num_flow, self.stack, self.test_stacks).tolist())

    def pick_for_training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick the first flow number of a random stack."""
        return (flow_random_start(rng, clip.num_flow, self.stack),)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one stack (2 * stack, S, S)."""
        return 2 * self.stack, self.pixels.image_size, self.pixels.image_size

    def describe(self, when: When) -> str:
        """Say which stack is seen, or how many are averaged."""
        if when == "test":
            return f"mean logits of {self.test_stacks} stacks of {self.stack} flow images"
        return f"the centre stack of {self.stack} flow images"

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read stacks as normalised float32, channels x1, y1, x2, y2, ... Shape: (N, 2 * stack, S, S)."""
        flow = transform_flow(*self._series(clip, self.numbers(clip, picks)), self.pixels, draw)
        return flow.reshape(len(picks), -1, *flow.shape[1:])  # from (2 * N * stack, S, S)

    def numbers(self, clip: Clip, picks: Sequence[int]) -> Picks:
        """List the flow images of the stacks that begin with the picks."""
        stacks = (flow_stack_numbers(clip.num_flow, start, self.stack).tolist() for start in picks)
        return tuple(number for stack in stacks for number in stack)

    def may_train_on(self, clip: Clip) -> Picks:
        """List all flow images."""
        return tuple(range(1, clip.num_flow + 1))

    def load(self, clip: Clip, numbers: Sequence[int]) -> Tensor:
        """Decode flow images: x, y, and where they are scaled 255 - x too. Shape: (N, 2 or 3, H, W).

        A flip turns levels round before they are scaled and rounded, which is not the same as afterwards.
        """
        x, y = self._series(clip, numbers)
        scaled = scale_short_side(pairs := torch.cat([x, y], dim=1), self.pixels.short_side)
        if scaled is pairs:
            return pairs
        turned = scale_short_side(torch.cat([255 - x, y], dim=1), self.pixels.short_side)
        return torch.cat([scaled, turned[:, :1]], dim=1)

    def planes(self, scaled: bool) -> int:
        """Count x and y, and 255 - x where images are scaled."""
        return 3 if scaled else 2

    def orientation(self, planes: int, draw: Draw | None) -> Orientation:
        """Show x and y, on a flip 255 - x and y."""
        if draw is None or not draw.flip:
            return (0, 1), (0, 0)
        return ((2, 1), (0, 0)) if planes == 3 else ((0, 1), (255, 0))

    def _series(self, clip: Clip, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        assert clip.flow_x is not None and clip.flow_y is not None
        return read_maps(clip.flow_x, numbers), read_maps(clip.flow_y, numbers)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Read the stack that begins with each of the frames, or the clip's last whole one."""
        assert clip is not None, "frames alone have no flow"
        last = max(clip.num_flow - self.stack + 1, 1)
        return self.read(clip, [min(number, last) for number in numbers], None)


STREAMS: dict[str, type[Frames] | type[Flow]] = {"rgb": Frames, "views": Views, "flow": Flow}
OnePart = TypeVar("OnePart", bound=Part)


@dataclass(frozen=True, init=False)
class ClipInput:
    """What is read of a clip: parts under one crop and flip.

    Streams that a network takes together are tested on their picks for validation (of flow the centre stack),
    since a joint network takes one stack.

    Attributes:
        parts: In the order of the network's arguments; the first decides which frames stand for the clip.
    """

    parts: tuple[Part, ...]

    def __init__(self, *parts: Part) -> None:
        """Join parts.

        Raises:
            UserError: They would be cropped differently.
        """
        object.__setattr__(self, "parts", parts)
        for part in parts[1:]:
            ours, theirs = parts[0].pixels, part.pixels
            if (ours.image_size, ours.short_side) != (theirs.image_size, theirs.short_side):
                raise UserError(
                    f"{parts[0].name} are seen at {ours.image_size} pixels a side and {part.name} at "
                    f"{theirs.image_size}; both need the same crop, so train them with the same --image-size"
                )

    def part(self, kind: type[OnePart]) -> OnePart | None:
        """Return the part of a class, None without one."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def plus(self, part: Part) -> "ClipInput":
        """Add a part, or replace the one of the same name."""
        if all(part.name != mine.name for mine in self.parts):
            return ClipInput(*self.parts, part)
        return ClipInput(*(part if part.name == mine.name else mine for mine in self.parts))

    def without(self, kind: type[Part]) -> "ClipInput":
        """Leave out the part of a class; the keys of this input serve the smaller one too."""
        return ClipInput(*(part for part in self.parts if not isinstance(part, kind)))

    @property
    def shown(self) -> tuple[Stream, ...]:
        """The parts that the network takes; the others are targets."""
        return tuple(part for part in self.parts if isinstance(part, Stream))

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors of a batch that the network takes, which are also its arguments' names."""
        return tuple(part.name for part in self.shown)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what the network sees of a clip at a time, by the names of its arguments."""
        return {part.name: part.shape for part in self.shown}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The images that are read."""
        return tuple(kind for part in self.parts for kind in part.kinds)

    @property
    def num_frames(self) -> int:
        """Frames seen of a clip, T; 0 where only flow is seen."""
        return sum(part.frames for part in self.parts if isinstance(part, Frames))

    @property
    def sizes(self) -> Preprocessing:
        """How all parts alike are scaled and cropped."""
        return self.parts[0].pixels

    def dataset(self, index: ClipIndex) -> "ClipDataset":
        """Open the clips of an index."""
        return ClipDataset(index, self)

    @property
    def counted(self) -> str:
        """What the items of a training epoch are, in the plural."""
        return "clips" if self.part(SingleFrames) is None else "frames"

    def training_items(self, index: ClipIndex) -> int:
        """Number of items of a training epoch."""
        return len(index) * max(part.items_per_clip for part in self.parts)

    def training_key(self, index: ClipIndex) -> MakeKey:
        """Make the function that turns a training item and its random numbers into a key."""

        def key(item: int, rng: np.random.Generator) -> ClipKey:
            number, draw = item % len(index), Draw.random(rng)  # the draw is the same whatever parts follow
            clip = index.clips[number]
            picks = {part.name: part.pick_for_training(clip, rng) for part in self.parts}
            return ClipKey(number, draw, picks)

        return key

    def test_keys(self, index: ClipIndex) -> list[ClipKey]:
        """List every clip once, as the reported number is measured: centre crop."""
        return self._keys(index, self._test)

    def validation_keys(self, index: ClipIndex) -> list[ClipKey]:
        """List every clip once, as it is measured after an epoch: centre crop."""
        return self._keys(index, "validation")

    def test_protocol(self) -> str:
        """Say what is shown of a clip for the reported number."""
        return self._protocol(self._test)

    def validation_protocol(self) -> str:
        """Say what is shown of a clip after an epoch."""
        return self._protocol("validation")

    @property
    def _test(self) -> When:
        return "validation" if len(self.shown) > 1 else "test"

    def _protocol(self, when: When) -> str:
        return f"{' and '.join(part.describe(when) for part in self.shown)}, centre crop"

    def _keys(self, index: ClipIndex, when: When) -> list[ClipKey]:
        return [
            ClipKey(number, None, {part.name: part.pick(clip, when) for part in self.parts})
            for number, clip in enumerate(index.clips)
        ]

    def shown_numbers(self, clip: Clip) -> Numbers:
        """Choose frames, from 1, that stand for what the test shows; of flow alone, where stacks start."""
        return np.array(self.parts[0].pick(clip), dtype=np.int64)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Make the network's input of frames that were read already, seen as in the test.

        Args:
            frames: RGB, uint8. Shape: (T, 3, H, W).
            clip: Where they are from; a network that sees flow needs it, with flow.
            numbers: Their numbers there, from 1. Length: T.

        Returns:
            A batch of one, by the names of the network's arguments. Shapes: (1, ...).
        """
        first, *others = self.shown
        found = {first.name: first.look(frames, clip, numbers)}
        for part in others:
            found[part.name] = part.look(frames, clip, () if clip is None else part.pick(clip, "validation"))
        return {name: tensor[None] for name, tensor in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for a checkpoint: {"input": "rgb", ...}, or the parts under "rgb+flow"."""
        if len(self.shown) == 1:
            return self.shown[0].to_dict()
        name = "+".join(part.stream for part in self.shown)
        return {"input": name, **{part.stream: part.to_dict() for part in self.shown}}


def read_input(preprocessing: Mapping[str, Any]) -> ClipInput:
    """Restore the input from what `ClipInput.to_dict` returned.

    Raises:
        UserError: The kind of input is unknown.
    """
    name = preprocessing.get("input")
    streams = str(name).split("+")
    if any(stream not in STREAMS for stream in streams):
        raise UserError(f"the checkpoint asks for input {name!r}; known are rgb, flow and rgb+flow")
    parts = []
    for stream in streams:
        values = preprocessing if len(streams) == 1 else preprocessing[stream]
        kind = STREAMS[stream]
        further = [name for name in kind.unless_default if name in values]
        settings = {name: values[name] for name in (*kind.settings, *further)}
        parts.append(kind(**settings, pixels=Preprocessing.from_dict(values["pixels"])))
    return ClipInput(*parts)


class ClipDataset(Dataset[Item]):
    """Clips as tensors, one for each part of an input, by `ClipKey`."""

    def __init__(self, index: ClipIndex, inputs: ClipInput) -> None:
        """Describe the set; nothing is read yet.

        Raises:
            UserError: A clip lacks images that are read.
        """
        index.require(inputs.kinds)
        self.index = index
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: ClipKey) -> Item:
        """Read a clip: a tensor for each part, "label", and "clip", the position in the index."""
        clip = self.index.clips[key.clip]
        item: Item = {"label": clip.label, "clip": key.clip}
        for part in self.inputs.parts:
            item[part.name] = part.read(clip, key.picks[part.name], key.draw)
        return item
