"""Reads image files without torch: sizes from headers, pixels, and what is wrong with a file.

All pixels of a tree are decoded here, PNG and JPEG by one decoder, so that equal pixels train to equal
numbers. Orientation tags of cameras are ignored: pixels are read as they are stored, and the size in the
header is the size of the pixels. H W are pixels.
"""

import os
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from data.clips import Kind

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
_HEAD_BYTES = _TAIL_BYTES = 64
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_LARGEST = 2**26  # pixels; of larger images Pillow warns


class BadImage(ValueError):
    """Says in a few words what is wrong with an image file."""


def decode_rgb(path: Path) -> Pixels:
    """Decode a colour image: RGB, (H, W, 3).

    Raises:
        BadImage: The file is missing or can't be decoded.
    """
    return np.asarray(cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def decode_grey(path: Path) -> Pixels:
    """Decode an image as grey levels: (H, W); of three equal channels one is kept.

    Raises:
        BadImage: The file is missing or can't be decoded.
    """
    return np.asarray(_decode(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def decode_checked(path: Path, kind: Kind) -> Pixels:
    """Decode an image, and check that its values can be of its kind.

    Returns:
        Its channels as they are stored, in 8 bits. Shape: (H, W) or (H, W, C).

    Raises:
        BadImage: It can't be decoded, or its values can't be of this kind.
    """
    read_size(path)
    image = np.asarray(_decode(path, cv2.IMREAD_UNCHANGED))
    if image.dtype == np.uint16:
        if 0 < image.max() < 256:
            raise BadImage("16 bits a channel with values up to 255 only, which is black in 8 bits")
        image = (image // 256).astype(np.uint8)  # as the decoder does for training
    if kind != "frames" and not _is_grey(image):
        raise BadImage("a colour image, expected grey levels")
    if kind == "maps" and (others := image[(image != 0) & (image != 255)]).size:
        raise BadImage(f"a motion map holds 0 and 255 only, this one also {others[0]}")
    return np.asarray(image, np.uint8)


def is_turned(path: Path) -> bool:
    """Whether a camera's tag asks viewers to turn the image; False for a pipe, which would be waited for."""
    if not path.is_file():
        return False
    with Image.open(path) as image:
        # Asked for tags that a PNG has not, Pillow decodes all of it to look behind its pixels.
        return "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) != 1


def read_size(path: Path) -> Size:
    """Read width and height in pixels from an image's header, and check that its end is there.

    A process that trains several times on a tree reads a file once, unless the file changes.

    Raises:
        BadImage: The file is missing, empty, neither PNG nor JPEG, or was cut off.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadImage(f"can't be read ({error.strerror or error})") from None
    return _read_size(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _read_size(path: Path, length: int, changed_ns: int) -> Size:
    if length == 0:
        raise BadImage("empty file, 0 bytes")
    try:
        handle = os.open(path, os.O_RDONLY)  # a file object costs as much as all the rest
        try:
            head = os.pread(handle, _HEAD_BYTES, 0)
            tail = os.pread(handle, _TAIL_BYTES, max(length - _TAIL_BYTES, 0))
        finally:
            os.close(handle)
        size, kind = _plain_png_size(head), "PNG"
        if size is None:
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                size, kind = image.size, str(image.format)
    except (UnidentifiedImageError, ValueError):  # which Pillow raises at a header that is too short
        raise BadImage("no readable PNG or JPEG image") from None
    except OSError as error:
        raise BadImage(f"can't be read ({error.strerror or error})") from None
    # A JPEG's end marker can't occur inside its coded data; some cameras pad the file behind it.
    if (b"IEND" if kind == "PNG" else b"\xff\xd9") not in tail:
        raise BadImage("the image is cut off, its end is missing")
    return size


def _plain_png_size(head: bytes) -> Size | None:
    """Read the size of a PNG of grey levels or colours in 8 bits, whose pixels follow its header.

    Nearly all are, and Pillow takes four times as long to say the same of them.

    Returns:
        None where Pillow has to look: another kind of file, or a damaged one.
    """
    header, checksum = head[12:29], int.from_bytes(head[29:33], "big")
    if not head.startswith(_PNG_START) or head[37:41] != b"IDAT" or zlib.crc32(header) != checksum:
        return None
    width, height, bits, colours, *methods = struct.unpack(">4xIIBBBBB", header)
    plain = bits == 8 and colours in (0, 2, 4, 6) and not any(methods)
    return (width, height) if plain and 0 < width * height < _LARGEST else None


def _decode(path: Path, flags: int) -> cv2.typing.MatLike:
    image = cv2.imread(str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION) if path.is_file() else None
    if image is None:
        raise BadImage("the image can't be decoded" if path.is_file() else "the file is missing")
    return image


def _is_grey(image: cv2.typing.MatLike) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = cv2.split(image)[:3]
    # JPEG's colour conversion may move equal channels apart by a level.
    return max(cv2.norm(blue, green, cv2.NORM_INF), cv2.norm(green, red, cv2.NORM_INF)) <= 1
