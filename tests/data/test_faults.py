"""A file's header is read once, and again when the file changes."""

import os

import cv2
import numpy as np
import pytest

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
