"""Windows over videos whose frames tell their own number by their brightness."""

import numpy as np
import pytest

from core.errors import UserError
from data.sampling import rgb_frame_numbers
from data.video.reader import frame_times
from data.video.windows import TimeSpan, read_windows, window_numbers
from tests.support.films import film


def numbers_of(window):
    """Frame numbers, told from the pixels."""
    return np.round((window.frames.float().mean(dim=(1, 2, 3)).numpy() - 10) / 5).astype(int).tolist()


def test_windows_slide_by_half_and_end_where_the_video_does(tmp_path):
    windows = list(read_windows(film(tmp_path / "a.avi"), 4, TimeSpan(window_sec=1.0), 64))
    starts = [round(window.times_sec[0], 3) for window in windows]
    assert starts == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 2.9]
    for window in windows:
        assert window.frames.shape == (4, 3, 64, 96)
        assert numbers_of(window) == [round(10 * time) for time in window.times_sec]
        assert window.times == pytest.approx([time / 3.9 for time in window.times_sec])


def test_a_part_and_a_window_longer_than_it(tmp_path):
    span = TimeSpan(start_sec=1.0, stop_sec=2.0, window_sec=5.0)
    (window,) = read_windows(film(tmp_path / "a.avi"), 5, span, 64)
    assert numbers_of(window) == [10, 11, 13, 15, 17]  # 1 + floor(linspace(0, 9, 5)) of ten frames


def test_a_window_with_too_few_frames_grows():
    """At 2 frames a second a window of a second has three, and seven are wanted."""
    chosen = window_numbers(np.arange(20) / 2, 7, 1.0)
    clip = rgb_frame_numbers(7, 7) - 1
    assert chosen[0].tolist() == clip.tolist() and chosen[-1].tolist() == (clip + 13).tolist()


def test_a_changing_frame_rate_changes_no_time():
    """Ten frames in the first second, a thousand in the second: windows are as long."""
    times = np.concatenate([np.arange(10) / 10, 1 + np.arange(1001) / 1000])
    first, second, third = window_numbers(times, 5, 1.0)
    assert times[first].max() < 1.2 and times[third].min() >= 1 and times[third].max() < 2
    assert np.diff(times[third]) == pytest.approx(np.full(4, 0.2), abs=0.002)


@pytest.mark.parametrize("fps", [7.3, 1000.0])
def test_odd_frame_rates(tmp_path, fps):
    times = frame_times(film(tmp_path / "a.avi", fps=fps))
    np.testing.assert_allclose(times, np.arange(40) / fps, atol=0.002)


def test_portrait_and_large_frames_are_scaled(tmp_path):
    (window,) = read_windows(film(tmp_path / "p.avi", 3, size=(60, 100)), 3, TimeSpan(), 64)
    assert window.frames.shape == (3, 3, 100, 60), "small frames stay as they are"
    (window,) = read_windows(film(tmp_path / "l.avi", 1, size=(2160, 3840)), 1, TimeSpan(), 64)
    assert window.frames.shape == (1, 3, 114, 64)


def test_mistakes_are_named(tmp_path):
    def mistake(path, **span):
        with pytest.raises(UserError) as error:
            list(read_windows(path, 7, TimeSpan(**span), 64))
        return str(error.value)

    assert "no such file" in mistake(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    assert "can't be decoded" in mistake(tmp_path / "text.mp4")
    short = mistake(film(tmp_path / "short.avi", 4))
    assert "has 4 frames" in short and "look at 7" in short
    long = film(tmp_path / "long.avi")
    assert "has 0 frames from 9 s" in mistake(long, start_sec=9)
    assert "has 5 frames from 1 s to 1.5 s" in mistake(long, start_sec=1, stop_sec=1.5)
