"""Videos from strangers: what is taken, what is refused, and that no file takes the rest along."""

import ctypes
import multiprocessing
import os
import time

import cv2
import numpy as np
import pytest

from core.errors import UserError
from data.video.untrusted import Bounds, Limits, OutOfBoundsError, read_untrusted, run_contained
from data.video.windows import TimeSpan, read_windows
from tests.support.films import film

PART = TimeSpan(0.0, 3.0, 1.0)
BOUNDS = Bounds(seconds=20, memory=1 << 26, answers=1 << 20)


@pytest.fixture(scope="module", autouse=True)
def first_decoded(tmp_path_factory):
    """What is run first is imported for all that follow, and the real decoder takes longest to import."""
    path = film(tmp_path_factory.mktemp("first") / "video", form="avi")
    return path, read_untrusted(path, 4, PART, 32, Limits())


def refusal(path, limits=Limits(), **changes):  # noqa: B008 (frozen)
    with pytest.raises(UserError) as error:
        read_untrusted(path, 4, PART, 32, limits, **changes)
    return str(error.value)


def test_windows_are_what_read_windows_gives(first_decoded):
    path, windows = first_decoded
    expected = list(read_windows(path, 4, PART, 32))
    assert len(windows) == len(expected) > 1
    for window, other in zip(windows, expected, strict=True):
        assert window.frames.equal(other.frames)
        assert window.times == other.times and window.times_sec == other.times_sec


def test_what_is_no_video_is_refused_without_saying_where_it_lies(tmp_path):
    (tmp_path / "video").write_text("no video")
    assert refusal(tmp_path / "video").startswith("video can't be decoded")


def test_a_playlist_can_not_name_other_files(tmp_path, first_decoded):
    inner = film(tmp_path / "inner.avi")
    playlist = tmp_path / "video"
    playlist.write_text(f"ffconcat version 1.0\nfile {inner.name}\n")
    assert cv2.VideoCapture(str(playlist)).isOpened(), "OpenCV itself would follow it"
    assert "can't be decoded" in refusal(playlist)


def test_too_many_bytes_too_many_pixels_too_many_seconds(tmp_path):
    path = film(tmp_path / "video", form="avi")
    assert "and at most 0.001 MB are accepted" in refusal(path, Limits(megabytes=0.001))
    assert "4 s long, and at most 2 s are accepted" in refusal(path, Limits(length_sec=2))
    vast = film(tmp_path / "vast", 1, size=(8192, 2160), form="avi")
    assert "8192 x 2160 pixels" in refusal(vast)


def test_no_more_than_the_limit_is_read_of_a_part_that_ends_later(first_decoded):
    path, _ = first_decoded
    windows = read_untrusted(path, 4, TimeSpan(0.0, 99.0, 1.0), 32, Limits(length_sec=3.5))
    assert 3 < max(window.times_sec[-1] for window in windows) < 3.5


def hang(*args):
    time.sleep(60)
    yield b""


def devour(*args):
    yield bytes(np.ones(1 << 20, np.uint8))[:0]
    kept = [np.ones(1 << 24, np.uint8) for _ in range(20)]
    yield bytes(len(kept))


def crash(*args):
    ctypes.string_at(0)
    yield b""


def talk(*args):
    while True:
        yield bytes(1 << 16)


def object_to(*args):
    yield b"something"
    raise UserError("this is nothing to decode")


def test_a_decoder_that_hangs_is_killed_and_said_to(first_decoded):
    path, _ = first_decoded
    start = time.monotonic()
    assert "took longer than 0.5 s" in refusal(path, Limits(decode_sec=0.5), decode=hang)
    assert time.monotonic() - start < 10
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "function, said", [(devour, "more memory"), (crash, "crashed"), (talk, "returned more than 1 MB")]
)
def test_what_breaks_its_process_breaks_no_other(function, said):
    with pytest.raises(OutOfBoundsError, match=said):
        run_contained(BOUNDS, function)
    assert not multiprocessing.active_children()


def test_mistakes_and_answers_come_back():
    with pytest.raises(UserError, match="nothing to decode"):
        run_contained(BOUNDS, object_to)
    assert run_contained(BOUNDS, who_runs) != [str(os.getpid()).encode()]


def who_runs():
    yield str(os.getpid()).encode()
