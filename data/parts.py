"""What a network is shown of a clip: a sum of parts, such as frames and flow, as checkpoints store it.

A part knows everything that differs between kinds of input: which images it reads, which of them in
training, validation and test, the tensor it makes of them, and its entry in a checkpoint. A new kind of input
(depth, two frame rates, the first half of a clip) is one more part.

Axes: T frames, N flow stacks, C channels, H W pixels of a file, S pixels a side of what the network sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from core.errors import UserError
from data.clips import Clip, Kind
from data.images import FrameReader, read_maps
from data.index import ClipIndex
from data.sampling import (
    Numbers,
    flow_centre_start,
    flow_random_start,
    flow_stack_numbers,
    flow_stack_starts,
    rgb_frame_numbers,
)
from data.transforms import Draw, Preprocessing, transform_flow, transform_frames, transform_maps

Item = dict[str, Tensor | int]
Picks = tuple[int, ...]


class ClipKey(NamedTuple):
    """What a data set is asked for: it says everything, so that data sets hold no random state.

    Attributes:
        clip: Position in the index.
        draw: The crop and flip; None is the centre crop of the test.
        picks: What each part reads, by its name: frame numbers, or the first number of each flow stack.
    """

    clip: int
    draw: Draw | None
    picks: dict[str, Picks]


MakeKey = Callable[[int, np.random.Generator], ClipKey]


class Part(ABC):
    """One kind of images of a clip as one tensor.

    Attributes:
        name: The tensor's name in items and batches.
        kinds: The images that are read.
        pixels: How they are scaled, cropped and normalised.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    pixels: Preprocessing

    @abstractmethod
    def test(self, clip: Clip) -> Picks:
        """Pick what the reported number is measured on."""

    def validation(self, clip: Clip) -> Picks:
        """Pick what is measured after an epoch, and in a test together with another stream."""
        return self.test(clip)

    def training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick what is trained on."""
        return self.test(clip)

    @property
    def items_per_clip(self) -> int:
        """Number of training items that an epoch takes from each clip."""
        return 1

    @abstractmethod
    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read the picked images under a draw; the clip must have them."""


class Stream(Part):
    """A part that a network takes: `name` is the argument of its forward.

    Attributes:
        stream: The part's name in checkpoints.
    """

    stream: ClassVar[str]

    @abstractmethod
    def test_words(self) -> str:
        """Say what `test` picks."""

    def validation_words(self) -> str:
        """Say what `validation` picks."""
        return self.test_words()

    @abstractmethod
    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Make the tensor as in the test where frames `numbers` (T, 3, H, W) were read already."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for a checkpoint."""


@dataclass(frozen=True)
class Frames(Stream):
    """RGB frames spread evenly over a clip, always the same ones.

    Attributes:
        frames: Number of frames, T; shorter clips repeat frames.
        reader: What decodes them; it changes how long that takes and nothing else.
    """

    name: ClassVar[str] = "frames"
    kinds: ClassVar[tuple[Kind, ...]] = ("frames",)
    stream: ClassVar[str] = "rgb"
    frames: int
    pixels: Preprocessing
    reader: FrameReader = field(default_factory=FrameReader, compare=False)

    def test(self, clip: Clip) -> Picks:
        """Pick the frame numbers, from 1."""
        return tuple(rgb_frame_numbers(clip.num_frames, self.frames).tolist())

    def test_words(self) -> str:
        """Say how many frames are seen."""
        return f"{self.frames} frames"

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read frames as normalised float32. Shape: (T, 3, S, S)."""
        scaled = self.reader.read(clip.frames, picks, self.pixels.short_side)
        return transform_frames(scaled, self.pixels, draw)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Transform the frames that were read."""
        return transform_frames(frames, self.pixels, None)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for a checkpoint."""
        return {"input": self.stream, "frames": self.frames, "pixels": self.pixels.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Frames":
        """Restore the part from what `to_dict` returned."""
        return cls(values["frames"], Preprocessing.from_dict(values["pixels"]))


@dataclass(frozen=True)
class SingleFrames(Frames):
    """One random frame at a time in training, for the classifier that sees no time; tested as `Frames`."""

    def training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick any frame of the clip."""
        return (int(rng.integers(1, clip.num_frames, endpoint=True)),)

    @property
    def items_per_clip(self) -> int:
        """As many training frames from each clip as the test sees."""
        return self.frames


@dataclass(frozen=True)
class Maps(Part):
    """Motion maps of the frames that `Frames` shows: a target, which networks and checkpoints do not see.

    Attributes:
        frames: Number of frames, T.
    """

    name: ClassVar[str] = "maps"
    kinds: ClassVar[tuple[Kind, ...]] = ("maps",)
    frames: int
    pixels: Preprocessing

    def test(self, clip: Clip) -> Picks:
        """Pick the numbers of the frames, from 1."""
        return tuple(rgb_frame_numbers(clip.num_frames, self.frames).tolist())

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read maps as uint8, the nearest one for a frame that has none. Shape: (T, 1, S, S)."""
        assert clip.maps is not None
        return transform_maps(read_maps(clip.maps, picks), self.pixels, draw)


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
    stack: int
    test_stacks: int
    pixels: Preprocessing

    def test(self, clip: Clip) -> Picks:
        """Pick the first flow number, from 1, of stacks spread evenly over the clip."""
        return tuple(flow_stack_starts(clip.num_flow, self.stack, self.test_stacks).tolist())

    def test_words(self) -> str:
        """Say how many stacks are averaged."""
        return f"mean logits of {self.test_stacks} stacks of {self.stack} flow images"

    def validation(self, clip: Clip) -> Picks:
        """Pick the first flow number of the centre stack."""
        return (flow_centre_start(clip.num_flow, self.stack),)

    def validation_words(self) -> str:
        """Say which stack is seen."""
        return f"the centre stack of {self.stack} flow images"

    def training(self, clip: Clip, rng: np.random.Generator) -> Picks:
        """Pick the first flow number of a random stack."""
        return (flow_random_start(rng, clip.num_flow, self.stack),)

    def read(self, clip: Clip, picks: Sequence[int], draw: Draw | None) -> Tensor:
        """Read stacks as normalised float32, channels x1, y1, x2, y2, ... Shape: (N, 2 * stack, S, S)."""
        assert clip.flow_x is not None and clip.flow_y is not None
        stacks = [flow_stack_numbers(clip.num_flow, start, self.stack).tolist() for start in picks]
        numbers = [number for numbers in stacks for number in numbers]
        series = read_maps(clip.flow_x, numbers), read_maps(clip.flow_y, numbers)
        flow = transform_flow(*series, self.pixels, draw)  # (2 * N * stack, S, S)
        return flow.reshape(len(picks), -1, *flow.shape[1:])

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> Tensor:
        """Read the stack that begins with each of the frames, or the clip's last whole one."""
        assert clip is not None, "frames alone have no flow"
        last = max(clip.num_flow - self.stack + 1, 1)
        return self.read(clip, [min(number, last) for number in numbers], None)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for a checkpoint."""
        sizes = {"stack": self.stack, "test_stacks": self.test_stacks}
        return {"input": self.stream, **sizes, "pixels": self.pixels.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Flow":
        """Restore the part from what `to_dict` returned."""
        return cls(values["stack"], values["test_stacks"], Preprocessing.from_dict(values["pixels"]))


STREAMS: dict[str, type[Frames] | type[Flow]] = {"rgb": Frames, "flow": Flow}
OnePart = TypeVar("OnePart", bound=Part)


class ClipInput:
    """What is read of a clip: parts under one crop and flip.

    A part that stands alone is tested as it says itself; parts that are shown together are tested on what
    each validates on (of flow the centre stack), since a joint network takes one stack.

    Attributes:
        parts: In the order of the network's arguments; of several, the first leads.
    """

    def __init__(self, *parts: Part) -> None:
        """Join parts.

        Raises:
            UserError: They would be cropped differently.
        """
        self.parts = parts
        for part in parts[1:]:
            ours, theirs = parts[0].pixels, part.pixels
            if (ours.image_size, ours.short_side) != (theirs.image_size, theirs.short_side):
                raise UserError(
                    f"{parts[0].name} are seen at {ours.image_size} pixels a side and {part.name} at "
                    f"{theirs.image_size}; both need the same crop, so train them with the same --image-size"
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClipInput) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"ClipInput{self.parts}"

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
    def kinds(self) -> tuple[Kind, ...]:
        """The images that are read."""
        return tuple(kind for part in self.parts for kind in part.kinds)

    @property
    def num_frames(self) -> int:
        """Frames seen of a clip, T; 0 where only flow is seen."""
        frames = self.part(Frames)
        return 0 if frames is None else frames.frames

    @property
    def sizes(self) -> Preprocessing:
        """How all parts alike are scaled and cropped."""
        return self.parts[0].pixels

    def dataset(self, index: ClipIndex) -> "ClipDataset":
        """Open the clips of an index.

        Raises:
            UserError: A clip lacks images that are read.
        """
        return ClipDataset(index, self)

    def training_items(self, index: ClipIndex) -> int:
        """Number of items of a training epoch."""
        return len(index) * max(part.items_per_clip for part in self.parts)

    def training_key(self, index: ClipIndex) -> MakeKey:
        """Make the function that turns a training item and its random numbers into a key."""

        def key(item: int, rng: np.random.Generator) -> ClipKey:
            number, draw = item % len(index), Draw.random(rng)  # the draw comes first, whatever parts follow
            clip = index.clips[number]
            return ClipKey(number, draw, {part.name: part.training(clip, rng) for part in self.parts})

        return key

    def test_keys(self, index: ClipIndex) -> list[ClipKey]:
        """List every clip once, as the reported number is measured: centre crop."""
        if len(self.shown) > 1:
            return self.validation_keys(index)
        return self._keys(index, lambda part, clip: part.test(clip))

    def validation_keys(self, index: ClipIndex) -> list[ClipKey]:
        """List every clip once, as it is measured after an epoch: centre crop."""
        return self._keys(index, lambda part, clip: part.validation(clip))

    def _keys(self, index: ClipIndex, pick: Callable[[Part, Clip], Picks]) -> list[ClipKey]:
        return [
            ClipKey(number, None, {part.name: pick(part, clip) for part in self.parts})
            for number, clip in enumerate(index.clips)
        ]

    def test_protocol(self) -> str:
        """Say what is shown of a clip for the reported number."""
        if len(self.shown) > 1:
            return self.validation_protocol()
        return f"{self.shown[0].test_words()}, centre crop"

    def validation_protocol(self) -> str:
        """Say what is shown of a clip after an epoch."""
        return f"{' and '.join(part.validation_words() for part in self.shown)}, centre crop"

    def shown_numbers(self, clip: Clip) -> Numbers:
        """Choose the frames, from 1, that stand for what the test shows of a clip.

        Where only flow is seen, these are the frames with which the test's stacks begin: flow k leads from
        frame k to the next.
        """
        return np.array(self.parts[0].test(clip), dtype=np.int64)

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
            found[part.name] = part.look(frames, clip, () if clip is None else part.validation(clip))
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
        raise UserError(
            f"the checkpoint asks for input {name!r}; known are {', '.join(STREAMS)} and rgb+flow"
        )
    if len(streams) == 1:
        return ClipInput(STREAMS[streams[0]].from_dict(preprocessing))
    return ClipInput(*(STREAMS[stream].from_dict(preprocessing[stream]) for stream in streams))


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
