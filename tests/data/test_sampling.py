from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sampling import (
    flow_centre_start,
    flow_random_start,
    flow_stack_numbers,
    flow_stack_starts,
    observed_length,
    rgb_frame_numbers,
    sample_frames,
)

lengths = st.integers(1, 2000)
counts = st.integers(1, 64)


def exact_floor_linspace(start, stop, count):
    return [floor(Fraction(start) + Fraction(stop - start, count) * k) for k in range(count)]


def off_by_rounding(numbers, exact):
    """Positions where a number is one below the exact one, which must be a whole number before its floor."""
    return [k for k, (a, b) in enumerate(zip(numbers, exact, strict=True)) if a == b - 1]


@given(lengths, counts)
def test_frames_are_the_floor_of_linspace(num_frames, T):
    """Equal to exact arithmetic but where floating point lands just below a whole number."""
    numbers, exact = rgb_frame_numbers(num_frames, T).tolist(), exact_floor_linspace(1, num_frames, T)
    rounded = off_by_rounding(numbers, exact)
    assert all((num_frames - 1) * k % T == 0 for k in rounded)
    assert [n for k, n in enumerate(numbers) if k not in rounded] == [
        n for k, n in enumerate(exact) if k not in rounded
    ]


def test_the_released_codes_rounding_is_kept():
    differing = [
        (num_frames, T)
        for T in (7, 16, 25)
        for num_frames in range(1, 301)
        if rgb_frame_numbers(num_frames, T).tolist() != exact_floor_linspace(1, num_frames, T)
    ]
    assert differing == [(206, 25)]


@given(lengths, counts)
def test_frames_stay_inside_rise_and_repeat_only_in_short_clips(num_frames, T):
    numbers = rgb_frame_numbers(num_frames, T)
    assert len(numbers) == T and numbers[0] == 1
    assert 1 <= numbers.min() and numbers.max() <= num_frames
    steps = np.diff(numbers)
    assert (steps >= 0).all() and (num_frames <= T or (steps > 0).all())
    assert len(set(numbers.tolist())) == min(T, max(num_frames - 1, 1)) or num_frames > T


def test_short_clips_repeat_frames():
    assert rgb_frame_numbers(1, 7).tolist() == [1] * 7
    assert rgb_frame_numbers(4, 7).tolist() == [1, 1, 1, 2, 2, 3, 3]
    assert rgb_frame_numbers(8, 7).tolist() == [1, 2, 3, 4, 5, 6, 7]


@given(lengths, st.integers(1, 100))
def test_the_first_part_of_a_clip_is_rounded_up_in_whole_numbers(num_frames, percent):
    length = observed_length(num_frames, percent / 100)
    assert length == -(-percent * num_frames // 100) and 1 <= length <= num_frames


def test_the_first_part_is_the_decimal_share_that_was_written():
    assert ceil(0.07 * 100) == 8, "what floating point would make of it"
    assert observed_length(100, 0.07) == 7 and observed_length(1, 0.001) == 1 and observed_length(9, 1) == 9


@given(st.integers(1, 500), st.sampled_from([4, 8, 12, 16, 20]), st.integers(1, 4))
def test_frames_up_to_a_share_lie_in_that_part_of_the_clip_and_no_other_does(num_frames, T, quarters):
    """Frame t lies at t / T: so a share s that a frame lies at is observed by the frames up to s T."""
    numbers = rgb_frame_numbers(num_frames, T)
    seen = min(quarters * T // 4 + 1, T)
    last = observed_length(num_frames, quarters / 4)
    assert numbers[seen - 1] <= last
    assert seen == T or num_frames <= T or numbers[seen] > last


@given(lengths, st.integers(1, 10), counts)
def test_flow_starts_leave_room_for_the_stack(num_frames, stack, num_stacks):
    starts = flow_stack_starts(num_frames, stack, num_stacks)
    stop = max(num_frames - stack + 1, 1)
    assert starts.tolist() == np.linspace(1, stop, num_stacks, endpoint=False).astype(int).tolist()
    assert starts[-1] + stack - 1 <= max(num_frames, stack)


def test_published_test_stacks():
    # linspace(1, 54 - 4, 5, endpoint=False) = 1, 10.8, 20.6, 30.4, 40.2
    assert flow_stack_starts(54, 5, 5).tolist() == [1, 10, 20, 30, 40]
    assert flow_stack_starts(5, 5, 5).tolist() == flow_stack_starts(2, 5, 5).tolist() == [1] * 5


@given(lengths, st.integers(1, 10))
def test_centre_start(num_frames, stack):
    expected = ceil(Fraction(num_frames - stack, 2)) if num_frames > stack else 1
    assert flow_centre_start(num_frames, stack) == expected


def test_random_start_is_uniform_over_its_range():
    rng = np.random.default_rng(0)
    starts = [flow_random_start(rng, 12, 5) for _ in range(7000)]
    values, times = np.unique(starts, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5, 6, 7]
    # Six degrees of freedom: 22.5 is passed once in a thousand.
    assert ((times - 1000) ** 2 / 1000).sum() < 22.5


@pytest.mark.parametrize("num_frames", [1, 4, 5, 6])
def test_random_start_of_a_short_clip_is_its_first(num_frames):
    assert flow_random_start(np.random.default_rng(1), num_frames, 5) == 1


@given(lengths, st.integers(1, 10), st.data())
def test_stack_numbers_are_consecutive_and_then_repeat_the_last(num_frames, stack, data):
    start = data.draw(st.integers(1, num_frames))
    numbers = flow_stack_numbers(num_frames, start, stack).tolist()
    inside = min(stack, num_frames - start + 1)
    assert numbers == list(range(start, start + inside)) + [num_frames] * (stack - inside)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rgb_frame_numbers(0, 7),
        lambda: rgb_frame_numbers(7, 0),
        lambda: observed_length(0, 0.5),
        lambda: observed_length(7, 0.0),
        lambda: observed_length(7, 1.01),
        lambda: flow_stack_starts(7, 0, 5),
        lambda: flow_centre_start(0, 5),
        lambda: flow_stack_numbers(7, 8, 5),
        lambda: flow_stack_numbers(7, 0, 5),
    ],
)
def test_counts_below_one_are_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()


def sample_frames_of_mmaction2(n, L, interval, N, rng=None):
    """Its SampleFrames, written from its description: starts from 0, without the end of the clip."""
    if rng is None:
        if L == 1:
            starts = [floor(Fraction(k * n, N) + Fraction(n, 2 * N)) for k in range(N)]
        else:
            room = max(n - ((L - 1) * interval + 1), 0)
            starts = [room // 2] if N == 1 else [round(k * room / (N - 1)) for k in range(N)]
    else:
        segment = (n - L * interval + 1) // N
        starts = [k * segment + int(d) for k, d in enumerate(rng.integers(segment, size=N))]
    return [[start + k * interval for k in range(L)] for start in starts]


@pytest.mark.parametrize("settings", [(1, 1, 7), (1, 1, 3), (8, 2, 1), (16, 1, 10), (5, 3, 2)])
def test_long_clips_are_sampled_as_mmaction2_does(settings):
    for n in (60, 97, 300):
        assert (sample_frames(n, *settings) - 1).tolist() == sample_frames_of_mmaction2(n, *settings)
        ours = sample_frames(n, *settings, np.random.default_rng(n))
        assert (ours - 1).tolist() == sample_frames_of_mmaction2(n, *settings, np.random.default_rng(n))


def test_where_segments_have_no_room_views_are_drawn_together_or_spread():
    """12 frames leave starts 0 to 2 for 5 views of 10 frames: SampleFrames sorts draws of these."""
    for seed in range(20):
        draws = np.sort(np.random.default_rng(seed).integers(3, size=5))
        views = sample_frames(12, 5, 2, 5, np.random.default_rng(seed))
        assert views.tolist() == [[1 + start + 2 * k for k in range(5)] for start in draws.tolist()]
    short = sample_frames(3, 1, 1, 7, np.random.default_rng(0))  # fewer frames than segments: k * 3 / 7
    assert short[:, 0].tolist() == [1, 1, 2, 2, 3, 3, 3]
    assert sample_frames(8, 4, 2, 4, np.random.default_rng(0))[:, 0].tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize("n", [1, 5, 7, 8, 300])
def test_our_frames_and_the_middle_of_segments_are_cases_of_the_sampler(n):
    np.testing.assert_array_equal(sample_frames(n, 7, None, 1), rgb_frame_numbers(n, 7)[None])
    middles = [
        floor(Fraction((2 * k + 1) * n, 14)) + 1 for k in range(7)
    ]  # the frame under each segment's middle
    np.testing.assert_array_equal(sample_frames(n, 1, 1, 7)[:, 0], middles)


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 12),
    st.one_of(st.none(), st.just(3)),
)
def test_views_never_wrap_around_and_repeat_the_last_frame(n, L, interval, N, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    views = sample_frames(n, L, interval, N, rng)
    assert views.shape == (N, L) and views.min() >= 1 and views.max() <= n
    steps = np.diff(views, axis=1)
    assert ((steps == interval) | (views[:, 1:] == n)).all() and (np.diff(views[:, 0]) >= 0).all()


def test_a_short_open_clip_stays_open():
    """Five frames at an interval of 2: a sampler that wraps around would show 1 3 5 2 4 1 3."""
    assert sample_frames(5, 7, 2, 1).tolist() == [[1, 3, 5, 5, 5, 5, 5]]


@pytest.mark.parametrize("counts", [(0, 3, 2, 1), (9, 0, 2, 1), (9, 3, 0, 1), (9, 3, 2, 0), (9, 3, -1, 1)])
def test_counts_of_views_below_1_are_refused(counts):
    with pytest.raises(ValueError, match="got"):
        sample_frames(*counts)


def test_several_views_of_a_whole_clip_make_no_sense():
    with pytest.raises(ValueError, match="one view of a clip, not 2"):
        sample_frames(9, 3, None, 2)
