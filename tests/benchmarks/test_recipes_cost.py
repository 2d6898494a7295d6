"""What recipes cost, counted by hand."""

import pytest

from benchmarks.epochs import FOLDER, Kind, at_length, epochs_of, measured_kinds
from grids.recipe import Recipe


def test_epochs_of_the_first_table_by_hand():
    """Three seeds: flow; stages 1 and 2 of two networks at three lengths; joint at each length."""
    counted = epochs_of(Recipe.from_yaml(FOLDER / "step1.yaml"))
    expected = {Kind("flow", 1): 3 * 750}
    for frames in (7, 16, 25):
        expected[Kind("stage 1", frames)] = 3 * 2 * 300
        expected[Kind("stage 2", frames)] = 3 * 2 * 150
        expected[Kind("joint", frames)] = 3 * 250
    assert counted == expected


def test_a_head_on_layer3_has_layer3_trained():
    counted = epochs_of(Recipe.from_yaml(FOLDER / "step2_classification.yaml"))
    assert counted[Kind("stage 1", 7)] == 3 * 300
    assert counted[Kind("stage 2 and layer3", 7)] == 3 * 2 * 150


def test_what_was_not_measured_lies_on_the_line_through_what_was():
    kinds = [Kind("flow", 1), Kind("joint", 7), Kind("joint", 25), Kind("stage 1", 7)]
    wanted = measured_kinds(kinds, (7, 16))
    assert wanted == [Kind("flow", 1), Kind("joint", 7), Kind("joint", 16), Kind("stage 1", 7)]
    assert at_length({7: 3.0, 16: 5.0}, 16) == 5.0
    assert at_length({7: 3.0, 16: 5.0}, 25) == pytest.approx(7.0)
    assert at_length({1: 3.0}, 7) == 3.0
