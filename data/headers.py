"""A quick look at an image file, header and end only: empty, cut off or unreadable, and its size."""

from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

Size = tuple[int, int]
_TAIL_BYTES = 64


class BadImage(ValueError):
    """Says in a few words what is wrong with an image file."""


def read_size(path: Path) -> Size:
    """Read width and height in pixels from a file's header, and see that its end is there.

    A process that trains several times on a tree looks at a file once, unless the file changes.

    Args:
        path: A PNG or JPEG file.

    Raises:
        BadImage: The file is missing, empty, no image, or was cut off.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadImage(f"can't be read ({error.strerror or error})") from None
    return _read_size(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _read_size(path: Path, length: int, changed_ns: int) -> Size:
    if length == 0:
        raise BadImage("empty file, 0 bytes")
    try:
        with path.open("rb") as file:
            file.seek(max(length - _TAIL_BYTES, 0))
            tail = file.read()
            file.seek(0)
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                size, kind = image.size, image.format
    except UnidentifiedImageError:
        raise BadImage("no readable PNG or JPEG image") from None
    except OSError as error:
        raise BadImage(f"can't be read ({error.strerror or error})") from None
    # A JPEG's end marker can't occur inside its coded data; some cameras pad the file behind it.
    if (b"IEND" if kind == "PNG" else b"\xff\xd9") not in tail:
        raise BadImage("the image is cut off, its end is missing")
    return size
