"""Pixels of clips that a training reads, decoded once and held: on the device if there is room, else in RAM.

Images are held as crops are cut out of them, whole grey levels at the short side. For each batch, what the
network sees is cut out, scaled and normalised: on a CPU with the bits of reading from disk, on a GPU within a
grey level. Parts (`data.parts`) know what they read; here it is held, and batches are made of it.

Axes: B clips, N images of a clip, M images of a block, P planes, C channels, H W pixels of what is held, S
pixels a side of what the network sees.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.files import identify
from core.memory import Limit, Room, Want
from core.ranks import ONE, Ranks
from data.ahead import Buffers, decoded, made_ahead
from data.decoding import BadImage, read_size
from data.epochs import ClipKey
from data.images import scaled_size
from data.index import ClipIndex
from data.parts import ClipInput, Part
from data.transforms import crop_together, cut, orient, scale_short_side

Shape = tuple[int, int, int]

_IMAGES_AT_ONCE = 64  # that a thread decodes before they go to their place


class Place(NamedTuple):
    """Where the images of a clip are: the block, and the row of each image by its number."""

    block: int
    rows: dict[int, int]


class HeldImages:
    """The images of one part, for clips of one index; those of one size lie in one block.

    Attributes:
        part: What they are.
        index: Whose they are.
        wanted: By the clip's position, the numbers of the images that will be read.
        blocks: Shape of each: (M, P, H, W), uint8.
    """

    def __init__(self, part: Part, index: ClipIndex) -> None:
        """Hold nothing yet."""
        self.part, self.index = part, index
        self.wanted: dict[int, dict[int, None]] = {}
        self.blocks: list[Tensor] = []
        self.places: dict[int, Place] = {}

    def want(self, clip: int, numbers: Iterable[int]) -> None:
        """Note that images of a clip will be read."""
        self.wanted.setdefault(clip, {}).update(dict.fromkeys(numbers))

    def missing(self) -> list[int]:
        """List the clips of which an image is wanted and not held."""
        return [clip for clip, numbers in self.wanted.items() if not self._has(clip, numbers)]

    def has(self, key: ClipKey) -> bool:
        """Say whether everything is held that a key reads."""
        return self._has(key.clip, self._numbers(key))

    def shape(self, clip: int) -> Shape:
        """Read from the header of a clip's first image which shape its images will have: (P, H, W)."""
        part = self.part
        series = self.index.clips[clip].series(part.kinds[0])
        assert series is not None, "an index lacks images that are read"
        path, short_side = series.paths[0], part.pixels.short_side
        try:
            scaled = min(read_size(path)) != short_side
            return part.planes(scaled), *scaled_size(path, short_side)
        except BadImage as bad:
            raise UserError(f"{path}: {bad}; copy it again") from None

    def block(self, clips: Sequence[int], shape: Shape) -> Want:
        """Describe the block of the wanted images of clips of one size, for whoever reads the same files."""
        read = [(self.index.clips[clip], list(self.wanted[clip])) for clip in clips]
        files = (
            series.nearest(number)
            for clip, numbers in read
            for kind in self.part.kinds
            for number in numbers
            if (series := clip.series(kind)) is not None
        )
        looks = (self.part.name, self.part.pixels.short_side, shape, [numbers for _, numbers in read])
        key = hashlib.sha256(f"{looks} {identify(files)}".encode()).hexdigest()
        return Want((sum(len(numbers) for _, numbers in read), *shape), self.part.layout, key)

    def add_block(self, clips: Sequence[int], block: Tensor) -> None:
        """Give the wanted images of clips of one size their places in a block."""
        row = 0
        for clip in clips:
            numbers = self.wanted[clip]
            self.places[clip] = Place(len(self.blocks), {n: row + at for at, n in enumerate(numbers)})
            row += len(numbers)
        self.blocks.append(block)

    def divided(self, clips: Sequence[int], block: Tensor) -> Iterator[tuple[int, Sequence[int], Tensor]]:
        """Divide the wanted images of clips into what is decoded at once: clip, numbers, rows of a block."""
        row = 0
        for clip in clips:
            numbers = list(self.wanted[clip])
            for start in range(0, len(numbers), _IMAGES_AT_ONCE):
                part = numbers[start : start + _IMAGES_AT_ONCE]
                yield clip, part, block[row : (row := row + len(part))]

    def shown(self, keys: Sequence[ClipKey], images: Tensor) -> Tensor:
        """Give what a batch holds of its clips (B, N, C, S, S) the shape that the network takes."""
        [picks] = {len(key.picks[self.part.name]) for key in keys}
        size = self.part.pixels.image_size
        return images.view(len(keys), picks, -1, size, size)

    def look(self, keys: Sequence[ClipKey], device: torch.device) -> Tensor:
        """Crop and finish the images of a batch on a device."""
        places, rows = [self.places[key.clip] for key in keys], list(map(self._rows, keys))
        order = sorted(range(len(keys)), key=lambda number: places[number].block)
        made = []
        for block, members in groupby(order, key=lambda number: places[number].block):
            numbers = list(members)
            draws = [keys[number].draw for number in numbers]
            images, which = self.blocks[block], [rows[number] for number in numbers]
            if images.device != device:
                images, which = _bring(images, which, device)
            planes = images.shape[1]
            orientations = [self.part.orientation(planes, draw) for draw in draws]
            pixels, interpolation = self.part.pixels, self.part.interpolation
            made.append(
                crop_together(images, which, pixels, draws, orientations, interpolation=interpolation)
            )
        crops = torch.cat(made) if len(made) > 1 else made[0]
        if order != list(range(len(keys))):
            crops = crops[torch.tensor(order).argsort().to(device)]
        return self.part.finish(crops)

    def look_into(self, key: ClipKey, out: Tensor) -> None:
        """Crop and finish a clip's images on the CPU into `out`, with the bits of reading them from disk."""
        part, rows = self.part, self._rows(key)
        block = self.blocks[self.places[key.clip].block]
        first, last = rows[0], rows[-1]
        together = rows == list(range(first, last + 1))
        images = cut(block[first : last + 1] if together else block[rows], part.pixels, key.draw)
        images = orient(images, part.orientation(block.shape[1], key.draw))
        part.finish(scale_short_side(images, part.pixels.image_size, part.interpolation), out)

    def empty_shape(self, keys: Sequence[ClipKey]) -> tuple[int, ...]:
        """Compute (B, N, C, S, S) of a batch."""
        planes, _ = self.part.orientation(self.blocks[self.places[keys[0].clip].block].shape[1], None)
        size = self.part.pixels.image_size
        return len(keys), len(self._numbers(keys[0])), len(planes), size, size

    def _numbers(self, key: ClipKey) -> tuple[int, ...]:
        return self.part.numbers(self.index.clips[key.clip], key.picks[self.part.name])

    def _rows(self, key: ClipKey) -> list[int]:
        rows = self.places[key.clip].rows
        return [rows[number] for number in self._numbers(key)]

    def _has(self, clip: int, numbers: Iterable[int]) -> bool:
        return clip in self.places and self.places[clip].rows.keys() >= set(numbers)


class Resident:
    """Holds what is read of clips, and makes batches of it.

    Sets say what they will read (`want`); before the first batch all of it is decoded, in parallel. Where
    there is no room, on the device, in RAM or at all, a line says so, and what can't be held is read as it is
    needed. Of several ranks, each holds the whole of what is trained on, since every epoch divides it anew,
    and its own part of what is measured on.
    """

    def __init__(
        self, limit: Limit, device: torch.device, ranks: Ranks = ONE, epochs: int | None = None
    ) -> None:
        """Hold nothing yet.

        Args:
            limit: How many GiB of the device pixels may take, or "auto".
            device: Where batches are wanted.
            ranks: The processes of the training; the first one says what is chosen.
            epochs: Length of the training: on a CPU, "auto" doesn't decode more images than it would read.
        """
        self.limit, self.device, self.ranks, self.epochs = limit, device, ranks, epochs
        self.room = Room(limit, device, ranks)
        self._held: dict[tuple[Part, int], HeldImages] = {}
        self._refused = set[tuple[Part, int]]()
        self._settled = False  # whether everything wanted is held or refused
        self._buffers = Buffers()

    def want(self, inputs: ClipInput, index: ClipIndex, keys: Sequence[ClipKey] | None) -> None:
        """Note what will be read of an index's clips.

        Args:
            inputs: What is read of a clip.
            index: The clips.
            keys: Everything that is read; None where each epoch draws its keys.
        """
        self._settled = False
        for part in inputs.parts:
            held = self._held.setdefault((part, id(index)), HeldImages(part, index))
            if keys is None:
                for number, clip in enumerate(index.clips):
                    held.want(number, part.may_train_on(clip))
            for key in keys or ():
                held.want(key.clip, part.numbers(index.clips[key.clip], key.picks[part.name]))
        if keys is None:
            self._refuse_if_few_are_read(inputs, index)

    def holds(self, inputs: ClipInput, index: ClipIndex) -> bool:
        """Decode what is wanted and not held yet, where there is room; say whether an input is held."""
        if not self._settled:
            self._hold_wanted()
            self._settled = True
        return not any((part, id(index)) in self._refused for part in inputs.parts)

    def batches(
        self, inputs: ClipInput, index: ClipIndex, keys: Iterable[Sequence[ClipKey]], threads: int = 0
    ) -> Iterator[dict[str, Tensor]]:
        """Make batches of what is held, as a data set and a DataLoader make them.

        Args:
            inputs: What is read of a clip.
            index: The clips.
            keys: The keys of each batch.
            threads: On a CPU, threads that make a batch while the one before is used; 0 makes each when it is
                asked for.

        Returns:
            Iterates over batches: the parts of each item on the device; "label", and "clip", its position in
            the index, on the CPU.
        """
        held = [self._held[part, id(index)] for part in inputs.parts]
        begin = partial(self._begin, held, index)
        return made_ahead(keys, begin, threads if self.device.type == "cpu" else 0)

    def _begin(
        self,
        held: Sequence[HeldImages],
        index: ClipIndex,
        keys: Sequence[ClipKey],
        pool: ThreadPoolExecutor | None,
    ) -> Callable[[], dict[str, Tensor]]:
        """Begin a batch; what is returned waits for it."""
        labels = [index.clips[key.clip].label for key in keys]
        batch = {"label": torch.tensor(labels), "clip": torch.tensor([key.clip for key in keys])}
        running = list[Future[None]]()
        for images in held:
            name = images.part.name
            if self.device.type != "cpu":
                batch[name] = images.shown(keys, images.look(keys, self.device))
                continue
            out = self._buffers.take(images.empty_shape(keys), images.part.dtype)
            batch[name] = images.shown(keys, out)
            for key, place in zip(keys, out, strict=True):
                if pool is None:
                    images.look_into(key, place)
                else:
                    running.append(pool.submit(images.look_into, key, place))

        def wait() -> dict[str, Tensor]:
            for piece in running:
                piece.result()
            return batch

        return wait

    def _refuse_if_few_are_read(self, inputs: ClipInput, index: ClipIndex) -> None:
        """On a CPU, leave a short training as it was, where decoding all it may read would take longer."""
        if self.limit != "auto" or self.device.type != "cpu" or self.epochs is None:
            return
        rng, clip = np.random.default_rng(0), index.clips[0]
        of_clip = (len(part.numbers(clip, part.pick_for_training(clip, rng))) for part in inputs.parts)
        items = inputs.training_items(index) * self.epochs / self.ranks.size
        read, held = round(items * sum(of_clip)), sum(len(numbers) for numbers in self._wanted(inputs, index))
        if read < held:
            self._refused |= {(part, id(index)) for part in inputs.parts}
            epochs = f"{self.epochs} epochs read {read} images, and the clips have {held}"
            self.ranks.say(f"resident: off, since {epochs}")

    def _wanted(self, inputs: ClipInput, index: ClipIndex) -> Iterator[Collection[int]]:
        for part in inputs.parts:
            yield from self._held[part, id(index)].wanted.values()

    def _hold_wanted(self) -> None:
        planned = list[tuple[HeldImages, Shape, list[int]]]()
        for key, held in self._held.items():
            if key not in self._refused:
                by_shape: dict[Shape, list[int]] = {}
                for clip in held.missing():
                    by_shape.setdefault(held.shape(clip), []).append(clip)
                planned += [(held, shape, clips) for shape, clips in by_shape.items()]
        if not planned:
            return
        what = " and ".join(dict.fromkeys(held.part.name for held, _, _ in planned))
        wanted = [held.block(clips, shape) for held, shape, clips in planned]
        if (blocks := self.room.take(what, wanted)) is None:
            self._refused |= {key for key, held in self._held.items() if held.missing()}
            return
        pieces = [
            Piece(held, clip, numbers, rows)
            for (held, _, clips), block in zip(planned, blocks, strict=True)
            for clip, numbers, rows in ([] if block.filled else held.divided(clips, block.source))
        ]
        for piece, images in decoded(pieces, [len(piece.numbers) for piece in pieces], self.ranks):
            piece.keep(images)
        for (held, _, clips), block in zip(planned, blocks, strict=True):
            held.add_block(clips, block.complete())


class Piece(NamedTuple):
    """Images of a clip that one thread decodes at once, and the rows of a block where they go."""

    held: HeldImages
    clip: int
    numbers: Sequence[int]
    rows: Tensor

    def read(self) -> Tensor:
        """Decode them: (N, P, H, W)."""
        return self.held.part.load(self.held.index.clips[self.clip], self.numbers)

    def keep(self, images: Tensor) -> None:
        """Put them where they go.

        Raises:
            UserError: They have another size than the header of the clip's first image said before.
        """
        if images.shape != self.rows.shape:
            root, clip = self.held.index.root, self.held.index.clips[self.clip]
            raise UserError(
                f"{root}: the {self.held.part.name} of {clip.key} changed while they were read. "
                "Give the command again when the tree is complete; a training goes on with --resume"
            )
        self.rows.copy_(images)


def _bring(
    images: Tensor, which: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, list[list[int]]]:
    """Copy the images of a batch from RAM to a device, and number them as they lie there."""
    last = torch.channels_last
    layout = last if images.is_contiguous(memory_format=last) else torch.contiguous_format
    rows = [row for of_clip in which for row in of_clip]
    there = torch.empty(
        (len(rows), *images.shape[1:]), dtype=torch.uint8, device=device, memory_format=layout
    )
    for at, row in enumerate(rows):
        there[at].copy_(images[row], non_blocking=True)
    return there, torch.arange(len(rows)).view(len(which), -1).tolist()
