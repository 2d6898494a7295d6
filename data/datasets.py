"""Clips as tensors. A data set holds no random state: its key says which clip and which draw.

Axes: T frames, S pixels a side of what the network sees.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

from core.errors import UserError
from data.clips import Clip, Kind
from data.epochs import ClipKey, FlowKey, FrameKey
from data.frames import read_frames, read_maps
from data.index import ClipIndex, motion_command
from data.kept_frames import FrameReader
from data.sampling import flow_stack_numbers, rgb_frame_numbers
from data.transforms import Draw, Preprocessing, transform_flow, transform_frames, transform_maps

Item = dict[str, Tensor | int]


class MotionMaps(Dataset[Item]):
    """The motion maps of the frames that `RgbClips` shows."""

    def __init__(self, index: ClipIndex, num_frames: int, preprocessing: Preprocessing) -> None:
        """Describe the set as `RgbClips` does; nothing is read yet.

        Raises:
            UserError: A clip has no maps.
        """
        require_images(index, ("maps",))
        self.index = index
        self.num_frames = num_frames
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.index)

    def __getitem__(self, key: ClipKey) -> Item:
        """Read a clip's maps, the nearest one for a frame that has none.

        Args:
            key: Position in the index, and the draw (None for the centre crop of the test).

        Returns:
            maps, uint8 (T, 1, S, S), cropped and flipped as the frames are; label; clip, the position in the
            index.
        """
        number, draw = key
        clip = self.index.clips[number]
        assert clip.maps is not None
        chosen = rgb_frame_numbers(clip.num_frames, self.num_frames).tolist()
        maps = transform_maps(read_maps(clip.maps, chosen), self.preprocessing, draw)
        return {"maps": maps, "label": clip.label, "clip": number}


class RgbClips(Dataset[Item]):
    """Evenly spread frames of each clip, with their motion maps when asked for."""

    def __init__(
        self,
        index: ClipIndex,
        num_frames: int,
        preprocessing: Preprocessing,
        *,
        maps: bool = False,
        reader: FrameReader | None = None,
    ) -> None:
        """Describe the set; nothing is read yet.

        Args:
            index: The clips.
            num_frames: Frames a clip, T; shorter clips repeat frames.
            preprocessing: Sizes, mean and std.
            maps: Whether items hold the frames' motion maps too.
            reader: What decodes the frames; left out, they are decoded whenever they are asked for.

        Raises:
            UserError: Maps are asked for and a clip has none.
        """
        self.maps = MotionMaps(index, num_frames, preprocessing) if maps else None
        self.reader = reader or FrameReader()
        self.index = index
        self.num_frames = num_frames
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.index)

    def __getitem__(self, key: ClipKey) -> Item:
        """Read a clip.

        Args:
            key: Position in the index, and the draw (None for the centre crop of the test).

        Returns:
            frames, normalised float32 (T, 3, S, S); label; clip, the position in the index; and with maps
            also maps, as of `MotionMaps`.
        """
        number, draw = key
        clip = self.index.clips[number]
        chosen = rgb_frame_numbers(clip.num_frames, self.num_frames).tolist()
        scaled = self.reader.read(clip.frames, chosen, self.preprocessing.short_side)
        frames = transform_frames(scaled, self.preprocessing, draw)
        item: Item = {"frames": frames, "label": clip.label, "clip": number}
        return item if self.maps is None else item | self.maps[key]


class SingleFrames(Dataset[Item]):
    """One frame of a clip at a time, for the classifier that sees no time."""

    def __init__(self, index: ClipIndex, preprocessing: Preprocessing) -> None:
        """Describe the set; nothing is read yet."""
        self.index = index
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.index)

    def __getitem__(self, key: FrameKey) -> Item:
        """Read a frame.

        Args:
            key: Position in the index, the draw (None for the centre crop), and the frame number from 1.

        Returns:
            frames, normalised float32 (1, 3, S, S); label; clip, the position in the index.
        """
        number, draw, frame = key
        clip = self.index.clips[number]
        frames = transform_frames(read_frames(clip.frames, [frame]), self.preprocessing, draw)
        return {"frames": frames, "label": clip.label, "clip": number}


class FlowStacks(Dataset[Item]):
    """Stacks of consecutive flow images."""

    def __init__(self, index: ClipIndex, stack: int, preprocessing: Preprocessing) -> None:
        """Describe the set; nothing is read yet.

        Args:
            index: The clips.
            stack: Consecutive flow images in a stack (5 in the paper).
            preprocessing: Sizes, and the mean and std of flow.

        Raises:
            UserError: A clip has no flow.
        """
        require_images(index, ("flow_x", "flow_y"))
        self.index = index
        self.stack = stack
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.index)

    def __getitem__(self, key: FlowKey) -> Item:
        """Read a stack.

        Args:
            key: Position in the index, the draw (None for the centre crop), and the first flow number, from
                1, of each of N stacks.

        Returns:
            flow, normalised float32 (N, 2 * stack, S, S) with channels x1, y1, x2, y2 and so on; label;
            clip, the position in the index.
        """
        number, draw, starts = key
        clip = self.index.clips[number]
        stacks = read_stacks(clip, starts, self.stack, self.preprocessing, draw)
        return {"flow": stacks, "label": clip.label, "clip": number}


class TwoStreamClips(Dataset[Item]):
    """Frames and flow stacks of the same clips, under one draw."""

    def __init__(self, rgb: RgbClips, flow: FlowStacks) -> None:
        """Join two data sets over one index."""
        assert rgb.index is flow.index, "both streams see the same clips"
        self.rgb = rgb
        self.flow = flow

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.rgb)

    def __getitem__(self, key: FlowKey) -> Item:
        """Read a clip; the key's draw crops and flips its frames and its flow alike.

        Returns:
            frames, as of `RgbClips`; flow, as of `FlowStacks`; label; clip, the position in the index.
        """
        number, draw, _ = key
        return {**self.rgb[number, draw], **self.flow[key]}


def read_stacks(
    clip: Clip, starts: Sequence[int], stack: int, preprocessing: Preprocessing, draw: Draw | None
) -> Tensor:
    """Read stacks of a clip that has flow.

    Args:
        clip: The clip.
        starts: First flow number of each of N stacks, from 1.
        stack: Consecutive flow images in a stack.
        preprocessing: Sizes, and the mean and std of flow.
        draw: The training clip's draw; None is the centre crop of the test.

    Returns:
        Normalised float32, channels x1, y1, x2, y2 and so on. Shape: (N, 2 * stack, S, S).
    """
    assert clip.flow_x is not None and clip.flow_y is not None
    stacks = [flow_stack_numbers(clip.num_flow, start, stack).tolist() for start in starts]
    numbers = [number for numbers in stacks for number in numbers]
    series = read_maps(clip.flow_x, numbers), read_maps(clip.flow_y, numbers)
    flow = transform_flow(*series, preprocessing, draw)
    return flow.reshape(len(starts), -1, *flow.shape[1:])


def require_images(index: ClipIndex, kinds: Sequence[Kind]) -> None:
    """Make sure that every clip has images of some kinds.

    Raises:
        UserError: One has none; the message says how they are made.
    """
    for clip in index.clips:
        if lacking := [kind for kind in kinds if clip.series(kind) is None]:
            raise UserError(
                f"{index.root}: clip {clip.key} has no {' and no '.join(lacking)}; "
                f"make them with `{motion_command(index.root, kinds)}`"
            )
