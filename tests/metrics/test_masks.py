"""Masks go through the same crop as the frames they belong to."""

import numpy as np
import pytest
import torch

from core.errors import UserError
from data import ClipIndex, Preprocessing
from data.parts import ClipInput, Frames
from metrics.attention import TRUE_MASKS, clip_masks, measure_attention
from metrics.predictions import Predictions
from tests.support.trees import png_tree, save

KEY = "S2/open_jam/1"
PIXELS = Preprocessing.rgb(56)  # of 96 x 64 pixels columns 20 to 75 and rows 4 to 59 are seen


def tree(root, **masks):
    png_tree(root, {KEY: 5}, maps=False, flow=False, size=(96, 64))
    (root / "truth/S2/open_jam").mkdir(parents=True)
    np.savez(root / "truth" / f"{KEY}.npz", **masks)
    return ClipIndex.from_tree(root)


def test_a_mask_lies_where_the_crop_puts_it(tmp_path):
    hand, none = np.zeros((5, 64, 96), bool), np.zeros((5, 64, 96), bool)
    hand[3, 4 + 28 : 4 + 56, 20 : 20 + 28] = True  # the lower left of 2 x 2 cells, in the fourth frame
    hand[0] = True
    index = tree(tmp_path, hand=hand, object=none, moving=none)
    masks = clip_masks(tmp_path, index.clips[0], np.array([4, 1, 2]), PIXELS)
    assert tuple(masks) == TRUE_MASKS
    expected = torch.zeros(3, 1, 56, 56, dtype=torch.uint8)
    expected[0, 0, 28:, :28] = 255
    expected[1] = 255
    assert torch.equal(masks["hand"], expected) and not masks["object"].any()


def test_motion_maps_are_read_where_there_is_no_truth(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, {KEY: 5}, flow=False, size=(96, 64)))
    masks = clip_masks(tmp_path, index.clips[0], np.array([2, 5]), PIXELS)
    assert list(masks) == ["motion_map"] and masks["motion_map"].shape == (2, 1, 56, 56)


@pytest.mark.parametrize("level, frames", [(127, 0), (128, 3)])
def test_grey_motion_maps_count_as_moving_from_half_grey_on(tmp_path, level, frames):
    root = png_tree(tmp_path, {KEY: 5}, flow=False, size=(96, 64))
    for path in root.rglob("map*.png"):
        save(path, np.full((64, 96), level))
    heat = {"heat": np.full((1, 3, 2, 2), 0.25)}
    predictions = Predictions((KEY,), np.array([0]), np.zeros((1, 1)), 0.0, {}, details=heat)
    found = measure_attention(predictions, ClipIndex.from_tree(root), ClipInput(Frames(3, PIXELS)))
    assert found["motion_map"]["n_frames"] == frames
    assert not frames or found["motion_map"]["share"]["heat"]["mean"] == 100


@pytest.mark.parametrize("length, names", [(4, TRUE_MASKS), (5, TRUE_MASKS[:2])])
def test_truth_of_something_else_is_refused(tmp_path, length, names):
    index = tree(tmp_path, **dict.fromkeys(names, np.zeros((length, 64, 96), bool)))
    with pytest.raises(UserError, match=r"open_jam/1\.npz .*remove the file"):
        clip_masks(tmp_path, index.clips[0], np.array([1]), PIXELS)


def test_truth_that_is_no_archive_is_named(tmp_path):
    index = tree(tmp_path)
    (tmp_path / "truth" / f"{KEY}.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match="holds no truth"):
        clip_masks(tmp_path, index.clips[0], np.array([1]), PIXELS)
