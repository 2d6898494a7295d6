"""Videos as phones, browsers and broken downloads leave them."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from core.errors import UserError
from data.prepare.command import PrepareConfig, main
from data.video.reader import Video, open_video, scale_to_short_side
from data.video.windows import TimeSpan, read_windows
from tests.support.films import changed_rate, film, wide_pixels


def ffmpeg(*words):
    done = subprocess.run(
        (get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, words)), capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def prepare(tmp_path, command):
    def run_prepare(rows, *flags, header="video,user,action,start_sec,stop_sec"):
        (tmp_path / "table.csv").write_text("\n".join((header, *rows)) + "\n")
        paths = ("--annotations", tmp_path / "table.csv", "--out", tmp_path / "out")
        status, out, err = command(main, PrepareConfig, *paths, "--short-side", "64", *flags)
        levels = brightnesses(tmp_path / rows[0].partition(",")[0])
        clips = sorted((tmp_path / "out/processed_frames2").glob("*/*/*"))
        return status, out + err, [shown(clip, levels) for clip in clips]

    return run_prepare


def brightnesses(path):
    """Mean of each frame; codecs change what `film` wrote a little."""
    means = []
    with open_video(path) as video:
        while (frame := video.read()) is not None:
            means.append(frame.mean())
    return np.array(means)


def shown(clip, levels):
    """Tell which of a video's frames the images of a clip are."""
    means = [cv2.imread(str(path)).mean() for path in sorted(clip.glob("rgb/*"))]
    return [int(np.abs(levels - mean).argmin()) for mean in means]


def phone(path):
    """20 frames 0.1 s apart, then 20 frames 0.5 s apart: 12 s."""
    return changed_rate(film(path, 40, codec="mp4v"), 20, 5)


@pytest.mark.parametrize(
    "row,expected",
    [
        ("0.5,1", range(5, 10)),
        ("1.8,3", [18, 19, 20, 21]),
        ("5.2,6.9", [26, 27, 28, 29]),  # the nearest are at 5.0 and 7.0 s
        ("11,12", [38, 39]),
        ("11,", [38, 39]),
        ("2.1,2.12", [20]),
    ],
)
def test_seconds_are_those_at_which_frames_are_shown(tmp_path, prepare, row, expected):
    phone(tmp_path / "a.mp4")
    status, said, clips = prepare([f"a.mp4,S1,stir,{row}"])
    assert status == 0, said
    assert clips == [list(expected)]


def test_frame_numbers_stay_frame_numbers_and_fps_goes_by_time(tmp_path, prepare):
    phone(tmp_path / "a.mp4")
    rows, header = ["a.mp4,S1,stir,16,24"], "video,user,action,start_frame,stop_frame"
    assert prepare(rows, header=header)[2] == [list(range(16, 24))]
    (tmp_path / "out").rename(tmp_path / "all")
    # At 4 a second from 1.6 s: 1.6, 1.85, 2.1, 2.35, ... up to the end of frame 23 at 4 s.
    assert prepare(rows, "--fps", "4", header=header)[2] == [[16, 18, 20, 20, 21, 21, 22, 22, 23, 23]]


def test_a_range_past_the_end_of_a_phones_video(tmp_path, prepare):
    phone(tmp_path / "a.mp4")
    status, said, _ = prepare(["a.mp4,S1,stir,11,14"])
    assert status == 2 and "the range ends at 14 s" in said and "after 40 frames" in said


def test_a_browsers_recording_states_no_length_and_no_rate(tmp_path, prepare):
    phone(tmp_path / "a.mp4")
    webm = "-c:v libvpx -b:v 2M -fps_mode passthrough -f webm -".split()
    command = (get_ffmpeg_exe(), "-loglevel", "error", "-i", tmp_path / "a.mp4", *webm)
    (tmp_path / "a.webm").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    status, said, clips = prepare(["a.webm,S1,stir,1.8,3", "a.webm,S1,stir,11,"])
    assert status == 0, said
    assert clips == [[18, 19, 20, 21], [38, 39]]


def test_rounded_time_stamps_change_nothing(tmp_path, prepare):
    """Matroska rounds to milliseconds: 30 a second at 30, 15 and 10 are all, every second and third frame."""
    ffmpeg("-i", film(tmp_path / "a.avi", fps=30), "-c:v", "ffv1", tmp_path / "a.mkv")
    for fps, step in (("30", 1), ("15", 2), ("10", 3)):
        status, said, clips = prepare(["a.mkv,S1,stir,0.1,1.3"], "--fps", fps)
        assert status == 0 and clips == [list(range(3, 39, step))], said
        (tmp_path / "out").rename(tmp_path / fps)


@pytest.mark.parametrize(
    "across,down,size", [(64, 45, (114, 64)), (1, 2, (64, 85)), (1, 1, (96, 64)), (9, 1, (96, 64))]
)
def test_frames_have_the_shape_in_which_they_are_shown(tmp_path, prepare, across, down, size):
    wide_pixels(
        film(tmp_path / "a.mp4", 4, size=(80 if across == 64 else 96, 64), codec="mp4v"), across, down
    )
    status, said, _ = prepare(["a.mp4,S1,stir,,"])
    image = cv2.imread(str(tmp_path / "out/processed_frames2/S1/stir/1/rgb/rgb0001.png"))
    assert status == 0 and image.shape[1::-1] == size
    assert ("note: " in said and "wide as high" in said) == (across / down not in (1, 9))
    (window,) = read_windows(tmp_path / "a.mp4", 4, TimeSpan(), 64)
    ratio = window.frames.shape[-1] / window.frames.shape[-2]
    assert ratio == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_phone_held_upright_with_wide_pixels(tmp_path):
    """The ratio is of the stored frame, which is turned before it is shown."""
    wide_pixels(film(tmp_path / "a.mp4", 2, size=(80, 64), codec="mp4v"), 2, 1)
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "b.mp4")
    with open_video(tmp_path / "b.mp4") as video:
        frame = video.read()
        assert frame.shape[:2] == (80, 64) and video.pixel_ratio == 0.5
    assert scale_to_short_side(frame, 32, 0.5).shape[:2] == (80, 32)


@pytest.mark.parametrize("converted", [False, pytest.param(True, marks=pytest.mark.stress)])
def test_hdr_is_noted(tmp_path, prepare, monkeypatch, converted):
    """FFmpeg fills a table for the colours of each file, in two seconds; the short form has no colours."""
    for name, transfer in (("pq", "smpte2084"), ("hlg", "arib-std-b67"), ("sdr", "bt709")):
        parameters = f"log-level=none:transfer={transfer}:colorprim=bt2020:colormatrix=bt2020nc"
        picture = "-f lavfi -i testsrc=s=96x64:d=0.5:r=10 -pix_fmt yuv420p10le -c:v libx265".split()
        ffmpeg(*picture, "-x265-params", parameters, tmp_path / f"{name}.mp4")

    def read(video):
        return np.zeros((64, 96, 3), np.uint8) if video.skip() else None

    if not converted:
        monkeypatch.setattr(Video, "read", read)
    status, said, _ = prepare(["pq.mp4,S1,a,,", "hlg.mp4,S1,b,,", "sdr.mp4,S1,c,,"])
    assert status == 0 and re.findall(r"(\w+).mp4 is HDR \((\w+)\)", said) == [("pq", "PQ"), ("hlg", "HLG")]


def test_a_broken_download_is_told_from_a_strange_format(tmp_path):
    whole = film(tmp_path / "whole.mp4", codec="mp4v").read_bytes()
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.wav")
    contents = {
        "half.mp4": (whole[: len(whole) // 2], "breaks off before its end, as half a download does"),
        "start.mp4": (whole[:40], "breaks off before its end"),
        "empty.mp4": (b"", "it is empty; copy or download it again"),
        "zeros.mkv": (bytes(5000), "it begins with zeros, as a download does that never ended"),
        "page.mp4": (b"<!DOCTYPE html>\n<html>", "it is text that begins with '<!DOCTYPE html>"),
        "pointer.mp4": (b"version https://git-lfs.github.com/spec", "it is text that begins with 'version"),
        "noise.mp4": (np.random.default_rng(0).bytes(5000), "; convert it, for example to H.264"),
        "sound.mp4": (None, "it holds sound alone"),
        "sound.wav": (None, "it holds sound alone"),
    }  # fmt: skip
    for name, (content, message) in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as error, open_video(tmp_path / name):
            pass
        assert f"{name} can't be decoded" in str(error.value) and message in str(error.value), error.value


def test_a_whole_video_that_breaks_off_is_noted(tmp_path, prepare):
    content = film(tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) // 2])
    status, said, (numbers,) = prepare(["a.avi,S1,stir,,"])
    assert status == 0 and f"states 40 frames, of which {len(numbers)} can be decoded" in said


def test_ffmpegs_own_lines_are_not_shown(tmp_path):
    """In a process of its own, as FFmpeg asks once whether it may talk."""
    content = film(tmp_path / "a.mp4", codec="mp4v").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "table.csv").write_text("video,user,action\na.mp4,S1,stir\n")
    words = ("--annotations", tmp_path / "table.csv", "--out", tmp_path / "out")
    done = subprocess.run((sys.executable, "-m", "data.prepare", *words), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
