"""Faults that only decoding shows: broken pixels, colour where grey is meant, maps with other values."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.clips import KINDS, Clip, Fault, Kind
from data.headers import BadImage, Size, read_size
from data.image_faults import clip_faults, each_clip


def decode_faults(clips: Sequence[Clip], *, threads: int, show: str = "") -> list[Fault]:
    """Decode every image of every kind.

    Args:
        clips: Whose images.
        threads: Clips at a time.
        show: Title of the progress bar; none is shown when empty.

    Returns:
        Every fault, in the order of the clips.
    """
    return each_clip(_decode_clip, clips, show=show, threads=threads)


def decode_size(path: Path, kind: Kind) -> Size:
    """Decode an image as training does, and look at its values.

    Args:
        path: A PNG or JPEG file.
        kind: What it should be.

    Returns:
        Width and height in pixels.

    Raises:
        BadImage: It can't be decoded, or its values can't be of this kind.
    """
    size = read_size(path)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BadImage("the image can't be decoded")
    if image.dtype != np.uint8:
        raise BadImage(f"{image.dtype} values, expected 8 bits a channel")
    if kind != "frames" and not _is_grey(image):
        raise BadImage("a colour image, expected grey levels")
    if kind == "maps" and (others := image[(image != 0) & (image != 255)]).size:
        raise BadImage(f"a motion map holds 0 and 255 only, this one also {others[0]}")
    return size


def _decode_clip(clip: Clip) -> list[Fault]:
    series = {kind: clip.series(kind) for kind in KINDS}
    return clip_faults(
        clip, {kind: {path: _try_decode(path, kind) for path in s.paths} for kind, s in series.items() if s}
    )


def _try_decode(path: Path, kind: Kind) -> Size | BadImage:
    try:
        return decode_size(path, kind)
    except BadImage as bad:
        return bad


def _is_grey(image: cv2.typing.MatLike) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = cv2.split(image)[:3]
    # JPEG's colour conversion may move equal channels apart by a level.
    return max(cv2.norm(blue, green, cv2.NORM_INF), cv2.norm(green, red, cv2.NORM_INF)) <= 1
