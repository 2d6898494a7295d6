"""What a network is shown of a clip: frames, flow or both, as checkpoints describe it under "preprocessing".

One object answers everything that differs between the streams, so that loaders and scripts need not ask.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from core.errors import UserError
from data.clips import Clip, Kind
from data.datasets import FlowStacks, MotionMaps, RgbClips, TwoStreamClips, read_stacks
from data.epochs import clip_key, evaluation_keys, flow_evaluation_keys, flow_keys
from data.index import ClipIndex
from data.kept_frames import FrameReader
from data.sampling import Numbers, flow_centre_start, flow_stack_starts, rgb_frame_numbers
from data.transforms import Preprocessing, transform_frames

MakeKey = Callable[[int, np.random.Generator], Any]


class ClipInput(ABC):
    """How clips become the input of a network.

    Attributes:
        names: The tensors of a batch that the network takes, which are also its arguments' names.
        kinds: The images that are read.
    """

    names: ClassVar[tuple[str, ...]]
    kinds: ClassVar[tuple[Kind, ...]]

    @abstractmethod
    def dataset(self, index: ClipIndex) -> Dataset[Any]:
        """Make the data set of an index, which keys are asked of."""

    @abstractmethod
    def training_key(self, index: ClipIndex) -> MakeKey:
        """Give what turns a clip and its random numbers into a training key."""

    @abstractmethod
    def test_keys(self, index: ClipIndex) -> list[Any]:
        """Give every clip once, as the reported number is measured."""

    @abstractmethod
    def test_protocol(self) -> str:
        """Say in words what is shown of a clip for the reported number."""

    def watching_keys(self, index: ClipIndex) -> list[Any]:
        """Give every clip once, as it is measured after an epoch: as in the test."""
        return self.test_keys(index)

    def watching_protocol(self) -> str:
        """Say in words what is shown of a clip after an epoch."""
        return self.test_protocol()

    @property
    def num_frames(self) -> int:
        """Count the frames that are seen of a clip, T; 0 where flow alone is seen."""
        return 0

    @property
    @abstractmethod
    def sizes(self) -> Preprocessing:
        """How frames and flow alike are scaled and cropped."""

    @abstractmethod
    def shown_numbers(self, clip: Clip) -> Numbers:
        """Choose the frames, from 1, that stand for what the test shows of a clip."""

    @abstractmethod
    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Make the network's input of frames that were read already, seen as in the test.

        Args:
            frames: RGB, uint8. Shape: (T, 3, H, W).
            clip: Where they are from; a network that sees flow needs it, with flow.
            numbers: Their numbers there, from 1. Length: T.

        Returns:
            A batch of one, by the names of the network's arguments. Shapes: (1, ...).
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Give plain values for a checkpoint."""


@dataclass(frozen=True)
class RgbInput(ClipInput):
    """Frames evenly spread over a clip.

    Attributes:
        frames: How many, T.
        pixels: How they are scaled and normalised.
        reader: What decodes them; it changes how long that takes and nothing else.
    """

    names: ClassVar[tuple[str, ...]] = ("frames",)
    kinds: ClassVar[tuple[Kind, ...]] = ("frames",)
    frames: int
    pixels: Preprocessing
    reader: FrameReader = field(default_factory=FrameReader, compare=False)

    def dataset(self, index: ClipIndex) -> RgbClips:
        """Make the data set of an index."""
        return RgbClips(index, self.frames, self.pixels, reader=self.reader)

    def training_key(self, index: ClipIndex) -> MakeKey:
        """Draw crop and flip; the frames are always the same."""
        return clip_key

    def test_keys(self, index: ClipIndex) -> list[Any]:
        """Take the centre crop."""
        return evaluation_keys(len(index))

    def test_protocol(self) -> str:
        """Say how many frames are seen."""
        return f"{self.frames} frames, centre crop"

    @property
    def num_frames(self) -> int:
        """Count the frames that are seen of a clip, T."""
        return self.frames

    @property
    def sizes(self) -> Preprocessing:
        """How frames are scaled and cropped."""
        return self.pixels

    def shown_numbers(self, clip: Clip) -> Numbers:
        """Take the frames themselves."""
        return rgb_frame_numbers(clip.num_frames, self.frames)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Make the input of the frames."""
        return {"frames": transform_frames(frames, self.pixels, None)[None]}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for a checkpoint."""
        return {"input": "rgb", "frames": self.frames, "pixels": self.pixels.to_dict()}


@dataclass(frozen=True)
class RgbMapsInput(RgbInput):
    """Frames with their motion maps, which are learned and never shown: checkpoints know the frames alone."""

    kinds: ClassVar[tuple[Kind, ...]] = ("frames", "maps")

    @property
    def rgb(self) -> RgbInput:
        """The frames alone."""
        return RgbInput(self.frames, self.pixels, self.reader)

    def dataset(self, index: ClipIndex) -> RgbClips:
        """Make the data set of an index."""
        return RgbClips(index, self.frames, self.pixels, maps=True, reader=self.reader)

    def beside(self, index: ClipIndex) -> MotionMaps:
        """Make the data set of what is read beside the frames."""
        return MotionMaps(index, self.frames, self.pixels)


@dataclass(frozen=True)
class FlowInput(ClipInput):
    """Stacks of consecutive flow images: one at random in training, the centre one after an epoch.

    Attributes:
        stack: Flow images in a stack.
        test_stacks: Stacks of a clip that the reported number averages over.
        pixels: How they are scaled and normalised.
    """

    names: ClassVar[tuple[str, ...]] = ("flow",)
    kinds: ClassVar[tuple[Kind, ...]] = ("flow_x", "flow_y")
    stack: int
    test_stacks: int
    pixels: Preprocessing

    def dataset(self, index: ClipIndex) -> FlowStacks:
        """Make the data set of an index."""
        return FlowStacks(index, self.stack, self.pixels)

    def training_key(self, index: ClipIndex) -> MakeKey:
        """Draw crop and flip, then where the stack starts."""
        return flow_keys(index, self.stack)

    def watching_keys(self, index: ClipIndex) -> list[Any]:
        """Take the centre crop of the centre stack."""
        return flow_evaluation_keys(index, self.stack)

    def test_keys(self, index: ClipIndex) -> list[Any]:
        """Take the centre crop of stacks spread over the clip."""
        return flow_evaluation_keys(index, self.stack, self.test_stacks)

    def watching_protocol(self) -> str:
        """Say which stack is seen."""
        return f"the centre stack of {self.stack} flow images, centre crop"

    def test_protocol(self) -> str:
        """Say how many stacks are averaged."""
        return f"mean logits of {self.test_stacks} stacks of {self.stack} flow images, centre crop"

    @property
    def sizes(self) -> Preprocessing:
        """How flow images are scaled and cropped."""
        return self.pixels

    def shown_numbers(self, clip: Clip) -> Numbers:
        """Take the frame with which each stack of the test begins: flow k leads from frame k to the next."""
        return flow_stack_starts(clip.num_flow, self.stack, self.test_stacks)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Read the stack that begins with each frame, or the clip's last whole one."""
        assert clip is not None, "frames alone have no flow"
        last = max(clip.num_flow - self.stack + 1, 1)
        starts = [min(number, last) for number in numbers]
        return {"flow": read_stacks(clip, starts, self.stack, self.pixels, None)[None]}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for a checkpoint."""
        sizes = {"stack": self.stack, "test_stacks": self.test_stacks}
        return {"input": "flow", **sizes, "pixels": self.pixels.to_dict()}


@dataclass(frozen=True)
class TwoStreamInput(ClipInput):
    """Frames and one flow stack of a clip under the same draw; the stack is the centre one in every test.

    Attributes:
        rgb: What the RGB stream is shown.
        flow: What the flow stream is shown.
    """

    names: ClassVar[tuple[str, ...]] = ("frames", "flow")
    kinds: ClassVar[tuple[Kind, ...]] = ("frames", "flow_x", "flow_y")
    rgb: RgbInput
    flow: FlowInput

    def __post_init__(self) -> None:
        """Refuse streams that would crop differently.

        Raises:
            UserError: They were trained at different image sizes.
        """
        ours, theirs = self.rgb.pixels, self.flow.pixels
        if (ours.image_size, ours.short_side) != (theirs.image_size, theirs.short_side):
            raise UserError(
                f"the RGB stream sees {ours.image_size} pixels a side and the flow stream "
                f"{theirs.image_size}; both need the same crop, so train them with the same --image-size"
            )

    def dataset(self, index: ClipIndex) -> TwoStreamClips:
        """Make the data set of an index."""
        return TwoStreamClips(self.rgb.dataset(index), self.flow.dataset(index))

    def beside(self, index: ClipIndex) -> FlowStacks:
        """Make the data set of what is read beside the frames."""
        return self.flow.dataset(index)

    def training_key(self, index: ClipIndex) -> MakeKey:
        """Draw crop and flip for both, then where the stack starts."""
        return self.flow.training_key(index)

    def test_keys(self, index: ClipIndex) -> list[Any]:
        """Take the centre crop and the centre stack."""
        return self.flow.watching_keys(index)

    def test_protocol(self) -> str:
        """Say what both streams see."""
        return f"{self.rgb.frames} frames and {self.flow.watching_protocol()}"

    @property
    def num_frames(self) -> int:
        """Count the frames that are seen of a clip, T."""
        return self.rgb.frames

    @property
    def sizes(self) -> Preprocessing:
        """How frames and flow are scaled and cropped, which is the same for both."""
        return self.rgb.pixels

    def shown_numbers(self, clip: Clip) -> Numbers:
        """Take the frames of the RGB stream."""
        return self.rgb.shown_numbers(clip)

    def look(self, frames: Tensor, clip: Clip | None, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Make the input of the frames, and of the clip's centre stack of flow."""
        assert clip is not None, "frames alone have no flow"
        centre = flow_centre_start(clip.num_flow, self.flow.stack)
        return self.rgb.look(frames, clip, numbers) | self.flow.look(frames, clip, [centre])

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for a checkpoint."""
        return {"input": "rgb+flow", "rgb": self.rgb.to_dict(), "flow": self.flow.to_dict()}


def read_input(preprocessing: Mapping[str, Any]) -> ClipInput:
    """Take back what `to_dict` gave.

    Raises:
        UserError: No such kind of input.
    """
    match preprocessing.get("input"):
        case "rgb":
            return RgbInput(preprocessing["frames"], Preprocessing.from_dict(preprocessing["pixels"]))
        case "flow":
            pixels = Preprocessing.from_dict(preprocessing["pixels"])
            return FlowInput(preprocessing["stack"], preprocessing["test_stacks"], pixels)
        case "rgb+flow":
            rgb, flow = read_input(preprocessing["rgb"]), read_input(preprocessing["flow"])
            assert isinstance(rgb, RgbInput) and isinstance(flow, FlowInput)
            return TwoStreamInput(rgb, flow)
        case other:
            raise UserError(f"the checkpoint asks for input {other!r}; known are rgb, flow and rgb+flow")
