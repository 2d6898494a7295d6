"""Motion maps drawn over frames, read back from the pixels."""

import numpy as np
from PIL import Image

from viz.motion import motion_sheet
from viz.overlay import Square, colour, motion_layer, overlay
from viz.scene import Motion


def test_a_cell_is_coloured_to_its_edges_and_others_are_left_alone():
    frame = np.full((60, 100, 3), 40, np.uint8)
    cells = np.zeros((4, 4))
    cells[1, 2], cells[3, 0] = 1, 7
    before = frame.copy()
    drawn = overlay(frame, motion_layer(cells, 9, 40), Square(30, 10, 40), 0.6)
    assert (frame == before).all()
    inside = (drawn != 40).any(axis=2)[11:49, 31:69]  # without the border line
    expected = np.zeros((40, 40), bool)
    expected[10:20, 20:30] = expected[30:40, 0:10] = True
    assert (inside == expected[1:-1, 1:-1]).all()
    full = np.round(0.4 * 40 + 0.6 * colour(np.ones((1, 1)))[0, 0])
    assert (drawn[25, 55] == full).all() and (drawn[45, 35] == full).all(), "values above 1 are drawn as 1"


def test_cells_that_count_as_moving_are_framed():
    frame = np.zeros((40, 40, 3), np.uint8)
    cells = np.array([[0.0, 0.2], [0.05, 0.0]])
    square = Square(0, 0, 40)
    framed, plain = (overlay(frame, motion_layer(cells, level, 40), square, 0.6) for level in (0.1, 9))
    changed = (framed != plain).any(axis=2)
    expected = np.zeros((40, 40), bool)
    expected[0:20, 20:40] = True
    expected[1:19, 21:39] = False
    inner = (slice(1, 39), slice(1, 39))  # without the border line
    assert (changed[inner] == expected[inner]).all()


def test_truth_stands_above_prediction():
    frames = np.zeros((2, 40, 60, 3), np.uint8)
    moves, predicted = np.ones((2, 2, 2)), np.zeros((2, 2, 2))
    square = Square(10, 0, 40)
    rows = [Motion(name, cells, 0.1, square) for name, cells in (("moves", moves), ("predicted", predicted))]
    sheet = motion_sheet([(frames, row) for row in rows])
    bright = [(sheet[top : top + 40, 12:48] > 50).any(axis=2).mean() for top in _pictures(sheet)]
    assert bright[0] > 0.9 and bright[1] < 0.2
    assert sheet.shape[1] == 2 * 60 + 4
    assert Image.fromarray(sheet).size == (124, sheet.shape[0])


def _pictures(sheet: np.ndarray) -> list[int]:
    """Rows at which pictures begin: below white paper, in the first column, which no box covers."""
    dark = (sheet[:, 0] == 0).all(axis=1)
    return [row for row in range(1, len(dark)) if dark[row] and not dark[row - 1]]
