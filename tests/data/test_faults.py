"""A file's header is read once, and again when the file changes."""

import os
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.decoding import BadImage, read_size


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), np.zeros((3, 5, 3), np.uint8))
    assert read_size(path) == (5, 3)
    content, changed = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(content[:-20] + b"\0" * 20)
    os.utime(path, ns=(changed, changed))
    assert read_size(path) == (5, 3), "equal length and time: it is not opened"
    os.utime(path, ns=(0, 0))  # a copy may keep the length, and clocks are coarse
    with pytest.raises(BadImage, match="cut off"):
        read_size(path)
    path.write_bytes(b"")
    with pytest.raises(BadImage, match="empty"):
        read_size(path)
    path.unlink()
    with pytest.raises(BadImage, match="can't be read"):
        read_size(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16", "interlaced", "with a text"])
def test_sizes_of_png_files_are_those_that_pillow_reads(tmp_path, mode):
    """Of the whole file, and with any byte of its beginning changed."""
    text, path = PngInfo(), tmp_path / "image.png"
    text.add_text("Comment", "a few words")
    usual = mode in ("interlaced", "with a text")
    image = Image.new("RGB" if usual else mode, (7, 5))
    image.save(path, pnginfo=text if mode == "with a text" else None)
    content = bytearray(path.read_bytes())
    if mode == "interlaced":
        content[28] = 1
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    for at in [None, *range(45)]:
        changed = bytearray(content)
        if at is not None:
            changed[at] ^= 1
        path.write_bytes(changed)
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as opened:
                size = opened.size
        except (OSError, ValueError):
            with pytest.raises(BadImage):
                read_size(path)
        else:
            assert read_size(path) == size
