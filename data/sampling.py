"""The frames of a clip that a model sees. Frame and flow numbers start at 1, as in the file names."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def rgb_frame_numbers(num_frames: int, T: int) -> Numbers:
    """Choose T frames spread evenly over a clip: floor(linspace(1, num_frames, T, endpoint=False)).

    Training and test take the same ones; a clip shorter than T repeats frames. The arithmetic is numpy's
    floating-point linspace, as in the released code: for a few lengths (one up to 300 frames, 206 at T = 25)
    it lands just below a whole number and takes the frame before, as the published numbers do.

    Args:
        num_frames: Length of the clip, at least 1.
        T: Number of frames to choose, at least 1.

    Returns:
        Increasing frame numbers in [1, num_frames]. Shape: (T,).

    Raises:
        ValueError: Either count is below 1.
    """
    _check_positive(num_frames=num_frames, T=T)
    return _floor_linspace(num_frames, T)


def sample_frames(
    num_frames: int,
    clip_len: int,
    frame_interval: int | None,
    num_clips: int,
    rng: np.random.Generator | None = None,
) -> Numbers:
    """Choose N views of L frames each out of a clip: one sampler for slides, dense clips and segments.

    The three settings are those of MMAction2's SampleFrames, and for clips that are long enough so are the
    numbers. (1, 1, T) is TSN's: T segments, a random frame of each in training and the middle one in the
    test. (L, None, 1) is `rgb_frame_numbers`. (32, 2, 1) is what 3D networks are published with. A view that
    reaches beyond the end repeats the last frame; SampleFrames goes on with the first one unless told
    otherwise, which turns an open clip into one that opens and closes.

    Args:
        num_frames: Length n of the clip, at least 1.
        clip_len: Frames L of a view.
        frame_interval: Steps I from one frame of a view to the next; None spreads one view over the clip.
        num_clips: Views N. In the test they spread evenly, one alone lies in the middle.
        rng: Draws where views begin, one in each N-th of the clip; None is the test.

    Returns:
        Frame numbers in [1, n], which never fall within a view. Shape: (N, L).

    Raises:
        ValueError: A count is below 1, or several views are to be spread over the whole clip.
    """
    n, L, N = num_frames, clip_len, num_clips
    _check_positive(
        num_frames=n, clip_len=L, num_clips=N, frame_interval=1 if frame_interval is None else frame_interval
    )
    if frame_interval is None:
        if N > 1:
            raise ValueError(f"without frame_interval there is one view of a clip, not {N}")
        return rgb_frame_numbers(n, L)[None]
    if rng is None:
        starts = _middle_starts(n, L, frame_interval, N)
    else:
        starts = _drawn_starts(n, L * frame_interval, N, rng)
    numbers: Numbers = np.minimum(1 + starts[:, None] + frame_interval * np.arange(L, dtype=np.int64), n)
    return numbers


def _middle_starts(n: int, L: int, interval: int, N: int) -> Numbers:
    """Spread the views of a test: starts from 0."""
    views, last = np.arange(N, dtype=np.int64), max(n - (L - 1) * interval - 1, 0)
    if L == 1:
        places: Numbers = (2 * views + 1) * n // (2 * N)  # exact, where floating point may land just below
    elif N == 1:
        places = views + last // 2
    else:
        places = np.round(views * (last / (N - 1))).astype(np.int64)
    return places


def _drawn_starts(n: int, span: int, N: int, rng: np.random.Generator) -> Numbers:
    """Draw the views of a training item: starts from 0."""
    room = n - span + 1  # starts of a view that ends within the clip
    segment = room // N
    starts = np.arange(N, dtype=np.int64)
    if segment > 0:
        starts = starts * segment + rng.integers(segment, size=N)
    elif room > 0 and n > max(N, span):
        starts = np.sort(rng.integers(room, size=N))
    else:
        starts = np.round(starts * (max(room, 0) / N)).astype(np.int64)
    return starts


def observed_length(num_frames: int, observed: float) -> int:
    """Count the frames of the first part of a clip: ceil(observed * num_frames), in whole numbers.

    Args:
        num_frames: Length of the clip, at least 1.
        observed: Share of the clip, in (0, 1]; 0.07 is 7 / 100, not the nearest binary fraction.

    Returns:
        A number in [1, num_frames].

    Raises:
        ValueError: The count is below 1, or the share out of range.
    """
    _check_positive(num_frames=num_frames)
    if not 0 < observed <= 1:
        raise ValueError(f"observed should be a share in (0, 1], got {observed}")
    return math.ceil(Fraction(str(observed)) * num_frames)


def flow_stack_starts(num_frames: int, stack: int, num_stacks: int) -> Numbers:
    """Choose where the stacks of the flow stream's test start.

    They are spread evenly: floor(linspace(1, num_frames - stack + 1, num_stacks, endpoint=False)).

    Args:
        num_frames: Flow images of the clip, at least 1.
        stack: Consecutive flow images in a stack (5 in the paper).
        num_stacks: Number of stacks (5 in the paper).

    Returns:
        First flow number of each stack, all 1 for a clip no longer than a stack. Shape: (num_stacks,).

    Raises:
        ValueError: A count is below 1.
    """
    _check_positive(num_frames=num_frames, stack=stack, num_stacks=num_stacks)
    return _floor_linspace(max(num_frames - stack + 1, 1), num_stacks)


def flow_centre_start(num_frames: int, stack: int) -> int:
    """Return the start of the stack that validation uses: ceil((num_frames - stack) / 2), at least 1."""
    _check_positive(num_frames=num_frames, stack=stack)
    return max((num_frames - stack + 1) // 2, 1)


def flow_random_start(rng: np.random.Generator, num_frames: int, stack: int) -> int:
    """Draw the start of a training stack: uniform in [1, num_frames - stack], 1 for a shorter clip."""
    _check_positive(num_frames=num_frames, stack=stack)
    return int(rng.integers(1, max(num_frames - stack, 1), endpoint=True))


def flow_stack_numbers(num_frames: int, start: int, stack: int) -> Numbers:
    """List the flow images of a stack; a clip shorter than the stack repeats its last one.

    Args:
        num_frames: Flow images of the clip, at least 1.
        start: First flow number, in [1, num_frames].
        stack: Consecutive flow images in a stack.

    Returns:
        Flow numbers in [start, num_frames]. Shape: (stack,).

    Raises:
        ValueError: A count is below 1, or the start lies outside the clip.
    """
    _check_positive(num_frames=num_frames, stack=stack)
    if not 1 <= start <= num_frames:
        raise ValueError(f"start should be in [1, {num_frames}], got {start}")
    return np.minimum(start + np.arange(stack, dtype=np.int64), num_frames)


def _floor_linspace(stop: int, count: int) -> Numbers:
    return np.floor(np.linspace(1, stop, count, endpoint=False)).astype(np.int64)


def _check_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} should be at least 1, got {count}")
