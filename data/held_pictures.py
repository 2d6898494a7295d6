"""Pictures of any sizes, decoded once and held as they lie on disk, since every crop is scaled anew."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from core.errors import UserError
from core.files import identify
from core.memory import Room, Want
from data.ahead import decoded, made_ahead
from data.decoding import Size, read_size
from data.epochs import Item
from data.images import read_rgb
from data.pictures import PictureKey, Pictures


class HeldPictures:
    """Holds pictures of any sizes as they lie on disk, since every crop is scaled anew."""

    def __init__(self, pictures: Pictures, room: Room) -> None:
        """Hold nothing yet.

        Args:
            pictures: The data set that makes items of them.
            room: Where they may be held.
        """
        self.pictures, self.room = pictures, room
        self._images: list[Tensor] | None = None
        self._refused = False

    def holds(self) -> bool:
        """Decode the pictures where there is room for them, and say whether they are held."""
        if self._images is None and not self._refused:
            self._images = self._hold()
            self._refused = self._images is None
        return not self._refused

    def batches(self, keys: Iterable[Sequence[PictureKey]], threads: int = 0) -> Iterator[dict[str, Tensor]]:
        """Make batches of what is held, frames on the device; `threads` as of `Resident.batches`."""
        return made_ahead(keys, self._begin, threads if self.room.device.type == "cpu" else 0)

    def _begin(
        self, keys: Sequence[PictureKey], pool: ThreadPoolExecutor | None
    ) -> Callable[[], dict[str, Tensor]]:
        if pool is not None:
            running = [pool.submit(self._item, key) for key in keys]
            return lambda: _joined([item.result() for item in running])
        batch = _joined(list(map(self._item, keys)))
        return lambda: batch

    def _item(self, key: PictureKey) -> Item:
        assert self._images is not None
        image = self._images[key[0]].to(self.room.device, non_blocking=True)
        return self.pictures.item(key, image)

    def _hold(self) -> list[Tensor] | None:
        paths = self.pictures.index.paths
        sizes = [read_size(path) for path in paths]
        want = Want((3 * sum(map(prod, sizes)),), key=f"pictures {identify(paths)}")
        if (blocks := self.room.take("pictures", [want])) is None:
            return None
        [block] = blocks
        if not block.filled:
            places = _views(block.source, sizes)
            pieces = [PicturePiece(path, place) for path, place in zip(paths, places, strict=True)]
            for piece, image in decoded(pieces, [1] * len(pieces), self.room.ranks):
                piece.keep(image)
        return _views(block.complete(), sizes)


def _views(flat: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """View the pixels of pictures, one behind the other: (3, H, W) each."""
    lengths = [3 * width * height for width, height in sizes]
    return [
        pixels.view(height, width, 3).permute(2, 0, 1)
        for pixels, (width, height) in zip(torch.split(flat, lengths), sizes, strict=True)
    ]


def _joined(items: Sequence[Item]) -> dict[str, Tensor]:
    frames = torch.stack([item["frames"] for item in items if isinstance(item["frames"], Tensor)])
    return {
        "frames": frames,
        **{name: torch.tensor([item[name] for item in items]) for name in ("label", "clip")},
    }


class PicturePiece(NamedTuple):
    """A picture, and where its pixels go."""

    path: Path
    place: Tensor

    def read(self) -> Tensor:
        """Decode it: (3, H, W)."""
        return read_rgb(self.path)

    def keep(self, image: Tensor) -> None:
        """Put it where it goes.

        Raises:
            UserError: It has another size than its header said before.
        """
        if image.shape != self.place.shape:
            raise UserError(
                f"{self.path} changed while it was read; give the command again when it is complete"
            )
        self.place.copy_(image)
