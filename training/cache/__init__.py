"""Outputs of frozen layers and decoded frames, kept on disk across epochs and runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from core.config import Config

if TYPE_CHECKING:
    from training.cache.store import CacheFolder

Precision = Literal["float32", "float16"]


class CacheFlags(Config):
    """Flags of the scripts that can keep outputs of layers they never train."""

    GROUPS: ClassVar[dict[str, str]] = {"speed": "cache cache_precision cache_gib"}

    cache: Path | None = None
    """Folder to keep decoded frames and outputs of never-trained layers (train_rgb.py) in, for all epochs,
    seeds, stages."""
    cache_precision: Precision = "float32"
    """Of kept outputs: float32 gives the same training to the bit, float16 takes half the disk and rounds."""
    cache_gib: float | None = Field(None, gt=0)
    """Upper limit of the folder's size in GiB; outputs that do not fit are recomputed every epoch."""

    @model_validator(mode="after")
    def _cache_given(self) -> "CacheFlags":
        if self.cache is None and (self.cache_precision != "float32" or self.cache_gib is not None):
            raise ValueError("--cache-precision and --cache-gib belong to --cache FOLDER")
        return self

    def open_cache(self, say: Callable[[str], None] = print) -> "CacheFolder | None":
        """Open the folder, None without --cache; `say` prints its messages."""
        if self.cache is None:
            return None
        from training.cache.store import CacheFolder  # with torch, which flags do without

        return CacheFolder(self.cache, self.cache_precision, self.cache_gib, say)
