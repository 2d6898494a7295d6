"""Shares of a clip and the frames that lie at them, and scores read off along the frames."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from data.sampling import observed_length, rgb_frame_numbers
from metrics.early import (
    QUARTERS,
    EarlyPredictions,
    area_by_clip,
    frames_seen,
    measurable,
    refuse_between_frames,
    summarise_early,
)
from metrics.predictions import Predictions, Relations

KEYS = ("S2/close_jam/1", "S2/open_jam/1", "S2/open_jam/2")
LABELS = np.array([0, 1, 1])


def along(*right: str) -> np.ndarray:
    """Scores (N, T, 2) of the three clips, right after the frames with an x."""
    scores = np.zeros((3, len(right[0]), 2))
    for clip, marks in enumerate(right):
        for t, mark in enumerate(marks):
            scores[clip, t, LABELS[clip] if mark == "x" else 1 - LABELS[clip]] = 2.0
    return scores


def read_off(scores, shares=QUARTERS, observed=1.0):
    last = Predictions(KEYS, LABELS, scores[:, -1], 0.0, {}, details={"along": scores})
    return EarlyPredictions.read_off(last, shares, observed)


@given(st.integers(1, 40), st.integers(1, 100), st.integers(40, 400))
def test_a_share_is_read_where_a_frame_lies_at_its_very_end(T, share, num_frames):
    """By counting: the frames at t / T <= s, if one of them is at s; the whole clip ends after them all."""
    places = [Fraction(t, T) for t in range(T)]
    counted = sum(place <= Fraction(share, 100) for place in places)
    expected = T if share == 100 else counted if Fraction(share, 100) in places else None
    assert frames_seen(share, T) == expected
    if expected and T <= num_frames:
        numbers = rgb_frame_numbers(num_frames, T)
        assert numbers[expected - 1] <= observed_length(num_frames, share / 100), "nothing later was seen"


def test_the_front_of_a_clip_has_its_own_shares():
    assert [frames_seen(share, 8, 0.25) for share in (12.5, 25, 50, 100)] == [5, 8, None, None]
    assert measurable(8) == measurable(16) == QUARTERS and measurable(8, 0.5) == (25, 50)
    assert measurable(7) == measurable(1) == () and measurable(2) == (50, 100) and measurable(7, 0.5) == (50,)
    assert frames_seen(7, 100) == 8, "0.07 of 100 frames, which floating point puts beyond the eighth"


def test_a_share_between_frames_is_refused_with_the_number_that_would_do():
    refuse_between_frames((25, 50, 100), 8, 1.0, "RUN")
    with pytest.raises(UserError, match=r"--observed 25: none of the 7 frames of RUN .*--frames 8 \(or 4\)"):
        refuse_between_frames((25, 50, 100), 7, 1.0, "RUN")
    with pytest.raises(UserError, match=r"--observed 12.5: .*--frames 8$"):
        refuse_between_frames((12.5, 100), 3, 1.0, "RUN")
    with pytest.raises(UserError, match="--observed 50: RUN sees the first 25 % of a clip alone"):
        refuse_between_frames((25, 50), 8, 0.25, "RUN")


def test_scores_are_those_after_the_frames_seen():
    early = read_off(along("..xxxxxx", "xx.x.x.x", "........"))
    assert early.shares == QUARTERS and early.frames == (3, 5, 7, 8)
    assert [early.at(share).right.tolist() for share in QUARTERS] == [
        [True, False, False],
        [True, False, False],
        [True, False, False],
        [True, True, False],
    ]
    # By trapezia: always right; right at the last share alone, which counts half a step of three; never.
    assert area_by_clip(early) == pytest.approx([1, 1 / 6, 0])
    found = summarise_early(early, Relations(rivals=np.array([1, 0])))
    assert [line["frames"] for line in found["shares"]] == [3, 5, 7, 8]
    assert [line["top1"] for line in found["shares"]] == pytest.approx([100 / 3] * 3 + [200 / 3])
    assert [line["order"] for line in found["shares"]] == [line["top1"] for line in found["shares"]]
    assert found["area"] == pytest.approx(100 * 7 / 18) and found["area_low"] <= found["area"]
    assert all(line["ci95_low"] < line["top1"] < line["ci95_high"] for line in found["shares"])
    below = [line["below_last"] for line in found["shares"][:-1]]  # one clip of three is gained at the end
    assert [each["points"] for each in below] == pytest.approx([100 / 3] * 3)
    assert [each["p_holm"] for each in below] == pytest.approx([1] * 3)
    assert "below_last" not in found["shares"][-1]


def test_shares_are_compared_with_the_last_and_corrected_for_their_number():
    """Of 8 clips 6 are right at the end alone: two-sided p = 2 / 2^6, of which there are three."""
    labels, keys = np.zeros(8, np.int64), tuple("abcdefgh")
    scores = np.zeros((8, 4, 2))
    scores[:6, :3, 1] = scores[6:, :, 0] = scores[:, 3, 0] = 1
    early = EarlyPredictions(keys, labels, QUARTERS, (3, 5, 7, 8), scores)
    for line in summarise_early(early, Relations())["shares"][:3]:
        assert line["below_last"] == pytest.approx({"points": 75, "p": 2 / 2**6, "p_holm": 6 / 2**6})


def test_at_the_last_frame_the_runs_own_scores_stand():
    scores = along("xxxx", "xxxx", "xxxx")
    own = Predictions(KEYS, LABELS, scores[:, -1] + 1e-7, 0.0, {}, details={"along": scores})
    early = EarlyPredictions.read_off(own, (25, 100))
    np.testing.assert_array_equal(early.at(100).logits, own.logits)
    one = EarlyPredictions.read_off(own, (50,), observed=0.5)
    assert one.frames == (4,) and "area" not in summarise_early(one, Relations())


def test_saved_scores_are_read_back_and_others_refused(tmp_path):
    early, file = read_off(along("x.x.", ".x.x", "xxxx"), (25, 50, 100)), tmp_path / "early.npz"
    early.save(file)
    again = EarlyPredictions.load(file)
    assert (again.keys, again.shares, again.frames) == (early.keys, early.shares, early.frames)
    np.testing.assert_array_equal(again.logits, early.logits)
    Predictions(KEYS, LABELS, early.at(25).logits, 0.0, {}).save(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(file.read_bytes()[:99])
    for name in ("other", "broken", "none"):
        with pytest.raises(UserError, match=f"{name}.npz holds no scores along the frames"):
            EarlyPredictions.load(tmp_path / f"{name}.npz")
