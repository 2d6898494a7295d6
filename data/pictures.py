"""Pictures in class folders, as ImageNet has them, for pre-training on pictures.

Axes: S pixels a side of what the network sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from core.errors import UserError
from data.clips import natural_key
from data.decoding import BadImage, read_size
from data.epochs import Item
from data.images import read_rgb
from data.transforms import Preprocessing, normalise, transform_frames

SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class PictureIndex:
    """Pictures and their classes.

    Attributes:
        root: Folder of the class folders.
        paths: In natural order within each class.
        labels: Position of each picture's class in `class_names`.
        class_names: Names of the class folders, sorted.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]

    @classmethod
    def from_folder(cls, root: str | Path) -> Self:
        """List the PNG and JPEG files of every class folder; other files and hidden ones are skipped.

        Raises:
            UserError: The folder does not exist, or has fewer than two class folders with pictures.
        """
        root = Path(root)
        if not root.is_dir():
            raise UserError(
                f"no such folder: {root}; choose one that holds a folder of pictures for each class"
            )
        folders = {path.name: _pictures(path) for path in root.iterdir() if path.is_dir()}
        names = tuple(sorted(name for name, paths in folders.items() if paths and not name.startswith(".")))
        if len(names) < 2:
            raise UserError(
                f"{root} has {len(names)} class folders with PNG or JPEG pictures; at least two are needed"
            )
        paths = [path for name in names for path in folders[name]]
        labels = [label for label, name in enumerate(names) for _ in folders[name]]
        return cls(root, tuple(paths), tuple(labels), names)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def keys(self) -> tuple[str, ...]:
        """The name of each picture, such as "jam/12.png"."""
        return tuple(f"{path.parent.name}/{path.name}" for path in self.paths)

    def subset(self, numbers: Sequence[int]) -> Self:
        """Select pictures by position, in the given order; class names stay."""
        paths = tuple(self.paths[number] for number in numbers)
        return replace(self, paths=paths, labels=tuple(self.labels[number] for number in numbers))

    def verify(self) -> None:
        """Open every picture without decoding it.

        Raises:
            UserError: A picture is empty, cut off or unreadable; the message names the first.
        """
        for path in self.paths:
            try:
                read_size(path)
            except BadImage as bad:
                raise UserError(f"{path}: {bad}; copy it again or leave it out") from None


@dataclass(frozen=True)
class PictureDraw:
    """How a training picture is cropped and flipped: the usual random resized crop.

    Attributes:
        area: Share of the picture's area that the crop covers, in [0.08, 1].
        ratio: Width over height of the crop, in [3/4, 4/3].
        left: Horizontal position of the crop, from 0 at the left edge to 1 at the right edge.
        top: Vertical position, from 0 at the top to 1 at the bottom.
        flip: Whether left and right are swapped.
    """

    area: float
    ratio: float
    left: float
    top: float
    flip: bool

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Draw area and position uniformly, and the ratio uniformly in its logarithm."""
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        return cls(rng.uniform(0.08, 1.0), ratio, rng.uniform(), rng.uniform(), bool(rng.integers(2)))

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Place the crop; a side longer than the picture is cut to it.

        Returns:
            Top, left, height and width of the crop in pixels.
        """
        area = self.area * width * height
        across = min(max(round(math.sqrt(area * self.ratio)), 1), width)
        down = min(max(round(math.sqrt(area / self.ratio)), 1), height)
        return round(self.top * (height - down)), round(self.left * (width - across)), down, across


PictureKey = tuple[int, PictureDraw | None]


def picture_key(picture: int, rng: np.random.Generator) -> PictureKey:
    """Make the training key of a picture, for `EpochSampler`."""
    return picture, PictureDraw.random(rng)


class Pictures(Dataset[Item]):
    """Pictures as clips of one frame, by `PictureKey`."""

    def __init__(self, index: PictureIndex, preprocessing: Preprocessing) -> None:
        """Describe the set; nothing is read yet."""
        self.index = index
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: PictureKey) -> Item:
        """Read a picture.

        Args:
            key: Position in the index, and the draw (None scales the short side and crops the centre).

        Returns:
            frames, normalised float32 (1, 3, S, S); label; clip, the position in the index.
        """
        return self.item(key, read_rgb(self.index.paths[key[0]]))

    def item(self, key: PictureKey, picture: Tensor) -> Item:
        """Make the item of a key from its picture, uint8 (3, H, W)."""
        (number, draw), image = key, picture[None]
        frames = self._crop(image, draw) if draw else transform_frames(image, self.preprocessing, None)
        return {"frames": frames, "label": self.index.labels[number], "clip": number}

    def _crop(self, image: Tensor, draw: PictureDraw) -> Tensor:
        top, left, height, width = draw.box(image.shape[-1], image.shape[-2])
        side = self.preprocessing.image_size
        crop = F.resized_crop(image, top, left, height, width, [side, side], antialias=True)
        return normalise(F.horizontal_flip(crop) if draw.flip else crop, self.preprocessing)


def _pictures(folder: Path) -> list[Path]:
    found = [
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(found, key=lambda path: natural_key(path.name))
