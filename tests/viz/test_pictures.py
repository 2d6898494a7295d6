"""Pictures decoded again: colours, geometry of heat and motion, captions."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from viz.film import save_gif, save_png
from viz.motion import motion_sheet
from viz.overlay import (
    Square,
    caption,
    centre_square,
    colour,
    colour_bar,
    contact_sheet,
    heat_layer,
    motion_layer,
    overlay,
    scale_to_peak,
)
from viz.scene import Motion
from viz.storyboard import fit


def red(height=60, width=90):
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[10:40, 20:60] = (200, 20, 10)
    return picture


def test_red_stays_red_in_png_and_gif(tmp_path):
    save_png(tmp_path / "a.png", red())
    save_gif(tmp_path / "a.gif", [red(), red()[::-1].copy(), red()])
    assert (np.asarray(Image.open(tmp_path / "a.png").convert("RGB")) == red()).all()
    with Image.open(tmp_path / "a.gif") as gif:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(gif)]
    assert len(frames) == 3
    for frame, original in zip(frames, [red(), red()[::-1], red()], strict=True):
        assert np.abs(frame - original).max() < 12


@pytest.mark.parametrize("row, column", [(0, 0), (2, 1), (3, 3)])
def test_heat_of_a_cell_lands_on_its_pixels(row, column):
    frame = np.zeros((100, 180, 3), np.uint8)
    heat = np.zeros((4, 4))
    heat[row, column] = 1
    square = centre_square(100, 180, 0.8)
    assert square == Square(50, 10, 80)
    change = overlay(frame, heat_layer(heat, square.side), square, 0.6).astype(int).sum(axis=2)
    change[[10, 89], :] = change[:, [50, 129]] = 0  # the border line
    top, left = 10 + 20 * row, 50 + 20 * column
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert top <= y < top + 20 and left <= x < left + 20
    mass_inside = change[top : top + 20, left : left + 20].sum()
    assert mass_inside > 0.5 * change.sum()
    far = change.copy()
    far[max(0, top - 20) : top + 40, max(0, left - 20) : left + 40] = 0
    assert far.sum() == 0, "heat leaks further than the neighbouring cells"


def test_the_frame_stays_whole_and_the_seen_part_is_framed():
    frame = red()
    before = frame.copy()
    square = centre_square(60, 90, 0.5)
    drawn = overlay(frame, heat_layer(np.zeros((2, 2)), square.side), square, 0.6)
    assert (frame == before).all()
    changed = (drawn != frame).any(axis=2)
    expected = np.zeros((60, 90), bool)
    expected[15:45, 30:60] = True
    expected[16:44, 31:59] = False
    assert (changed == expected).all()


def test_one_scale_for_a_clip():
    heat = np.array([[[0.1, 0.2]], [[0.4, 0.0]]])
    np.testing.assert_allclose(scale_to_peak(heat), [[[0.25, 0.5]], [[1.0, 0.0]]])
    assert (scale_to_peak(np.zeros((1, 2, 2))) == 0).all()


def test_jet_is_red_at_the_top_and_blue_at_the_bottom():
    low, high = colour(np.array([[0.0, 1.0]]), "jet")[0].astype(int)
    assert low[2] > 100 and low[0] == 0 and high[0] > 100 and high[2] == 0


@pytest.mark.parametrize("name", ["inferno", "viridis", "cividis"])
def test_heat_never_darkens_a_dark_frame(name):
    """Whatever the heat, a nearly black frame gains light from it, and more from more heat."""
    frame, square = np.full((40, 40, 3), 8, np.uint8), Square(0, 0, 40)
    lights = []
    for level in (0.0, 0.2, 0.5, 1.0):
        drawn = overlay(frame, heat_layer(np.full((4, 4), level), 40, name), square, 0.6)[1:-1, 1:-1]
        assert (drawn.mean() > frame.mean()) == (level > 0)
        lights.append(float(drawn.mean()))
    assert lights == sorted(lights)


def test_coarse_cells_keep_their_edges_and_fine_ones_are_blended():
    for cells, levels in ((4, 2), (7, 10)):
        heat = np.zeros((cells, cells))
        heat[1, 1] = 1
        cover = heat_layer(heat, 20 * cells)[1]
        assert (len(np.unique(cover)) > 2) == (levels > 2)


def test_the_colour_bar_runs_from_left_to_right_under_its_numbers():
    bar = colour_bar(500, 5.6, "inferno")
    assert bar.shape[1] == 500 and (bar[:10, 430:] == 255).all()
    ends = colour(np.array([[0.0, 1.0]]), "inferno")[0]
    assert (bar[5, 0] == ends[0]).all() and (bar[5, 419] == ends[1]).all()
    inked = np.flatnonzero((bar[22:] < 100).all(axis=2).any(axis=0))
    assert inked.min() < 12 and inked.max() > 405 and ((inked > 190) & (inked < 230)).any()


def test_a_verdict_has_a_colour_and_a_sign():
    inks = {}
    for verdict in ("right", "wrong", ""):
        words = caption(red(), "words", verdict=verdict)[:-60].astype(int)
        inks[verdict] = words[words.sum(axis=2).argmin() // 90, words.sum(axis=2).argmin() % 90]
        left = np.flatnonzero((words.sum(axis=2) < 500).any(axis=0)).min()
        assert left < 8
    assert inks["right"][1] > inks["right"][0] + 50 and inks["wrong"][0] > inks["wrong"][1] + 50


@pytest.mark.parametrize(
    "text, lines",
    [
        ("wrong, 31 %: pour_water,cup", ("wrong,", "31 %:", "pour_", "water,", "cup")),
        ("true: take_spoon\nb", ("true:", "take_", "spoon", "b")),
        ("it, a_b c", ("it, a_b c",)),
        ("hello a_b", ("hello", "a_b")),
    ],
)
def test_captions_of_pictures_of_64_pixels_are_broken_and_lose_no_word(text, lines):
    small = np.full((48, 64, 3), 90, np.uint8)
    picture = caption(small, text, size=15)
    assert (picture == caption(small, "\n".join(lines), size=15)).all() and (picture[:-48] < 128).any()
    assert (picture[-48:] == small).all() and picture.shape[1] == 64


def test_captions_end_where_they_would_fill_the_page():
    tall = caption(red(), "a very long name " * 40).shape[0]
    assert tall == caption(red(), "1\n2\n3\n4\n5\n6").shape[0]
    endless = caption(red(), "endless" * 40)
    assert (endless == caption(red(), "endlessen…")).all() and endless.shape[1] == 90


def test_contact_sheet_places_rows():
    small, large = np.zeros((10, 20, 3), np.uint8), np.full((30, 40, 3), 90, np.uint8)
    sheet = contact_sheet([[small, large], [small]])
    assert sheet.shape == (30 + 4 + 10, 20 + 4 + 40, 3)
    assert (sheet[20:30, :20] == 0).all() and (sheet[:30, 24:] == 90).all() and (sheet[34:, :20] == 0).all()
    assert (sheet[:20, :20] == 255).all()
    assert (sheet[34:, 20:] == 255).all()


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
    width = fit(2)[1]  # of a picture; its height is 2/3 of it
    middles = [sheet[top + width // 3, width // 6 + 20 : width - 20] for top in _pictures(sheet)]
    bright = [(middle > 50).any(axis=1).mean() for middle in middles]
    assert bright[0] > 0.7 and bright[1] < 0.1
    assert sheet.shape[1] == 2 * width + 4


def _pictures(sheet: np.ndarray) -> list[int]:
    """Rows at which pictures begin: below white paper, in the first column, which no box covers."""
    dark = (sheet[:, 0] == 0).all(axis=1)
    return [row for row in range(1, len(dark)) if dark[row] and not dark[row - 1]]
