"""The frames that an RGB stream reads of a clip, decoded and scaled once and kept as pixels.

A stream always reads the same T frames of a clip, and a draw crops and flips the same scaled pixels. So the
pixels are exactly those of decoding again. Axes: T frames, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from core.files import identify
from data.clips import Series
from data.decoding import BadImage
from data.images import FrameReader, scaled_size
from data.parts import ClipInput, Frames
from training.cache.store import CacheFolder, TensorStore


def with_kept_frames(inputs: ClipInput, cache: CacheFolder) -> ClipInput:
    """Let an input read its frames from `cache`; an input without frames stays as it is."""
    frames = inputs.part(Frames)
    return inputs if frames is None else inputs.plus(replace(frames, reader=KeptFrames(cache)))


class KeptFrames(FrameReader):
    """Keeps the frames of each clip in a store of one slot, for other runs and processes as well."""

    def __init__(self, cache: CacheFolder) -> None:
        """Keep frames in `cache`; trouble with it costs time only."""
        self.cache = cache

    def read(self, series: Series, numbers: Sequence[int], short_side: int) -> Tensor:
        """Read frames of a clip as `FrameReader` does, but from the cache if they are there."""
        paths = [series.path(number) for number in numbers]
        try:
            shape = (len(paths), 3, *scaled_size(paths[0], short_side))
        except BadImage:
            return super().read(series, numbers, short_side)  # which names the image
        store = TensorStore(self.cache, ["frames", identify(paths)], 1, shape, "uint8")
        kept, [good] = store.read([0])
        if good:
            return kept[0]
        frames = super().read(series, numbers, short_side)
        store.write(0, frames)
        return frames
