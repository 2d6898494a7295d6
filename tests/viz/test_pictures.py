"""Pictures decoded again: colours, geometry, captions, pages that load nothing."""

import re

import numpy as np
import pytest
from PIL import Image, ImageSequence

from reporting.page import Figure, Section, write_page
from reporting.tables import Table, words
from viz.film import save_gif, save_png
from viz.overlay import (
    Square,
    caption,
    centre_square,
    colour,
    contact_sheet,
    heat_layer,
    overlay,
    scale_to_peak,
)


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


def test_captions_keep_the_picture_and_shorten_long_text():
    picture = caption(red(), "true: a very long action name that does not fit\nsecond line")
    assert (picture[-60:] == red()).all()
    assert picture.shape[1] == 90
    assert (picture[:-60] < 128).any(), "no ink"


def test_contact_sheet_places_rows():
    small, large = np.zeros((10, 20, 3), np.uint8), np.full((30, 40, 3), 90, np.uint8)
    sheet = contact_sheet([[small, large], [small]])
    assert sheet.shape == (30 + 4 + 10, 20 + 4 + 40, 3)
    assert (sheet[:10, :20] == 0).all() and (sheet[:30, 24:] == 90).all() and (sheet[34:, :20] == 0).all()
    assert (sheet[34:, 20:] == 255).all()


def test_contents_lead_to_sections_of_every_depth(tmp_path):
    leaf = Section("Leaf")
    parts = [Section("Part", parts=[leaf]), Section("Folded", parts=[leaf], folded=True)]
    write_page(tmp_path / "page.html", "T", "lead", [Section(f"S {n}", parts=parts) for n in (1, 2)])
    text = (tmp_path / "page.html").read_text()
    links, names = re.findall(r'href="#([^"]+)"', text), re.findall(r' id="([^"]+)"', text)
    assert links == [f"s-{n}{end}" for n in (1, 2) for end in ("", "-part", "-part-leaf")]
    assert set(links) < set(names) and len(set(names)) == len(names) == 10


def test_page_is_self_contained_and_escaped(tmp_path):
    save_png(tmp_path / "a.png", red())
    section = Section(
        "R & <b>",
        ["text <script>alert(1)</script>"],
        Table.of(words("a", ["<i>"]), words("b", ["2"])),
        figures=[Figure(tmp_path / "a.png", 'a "quoted" caption')],
    )
    write_page(tmp_path / "index.html", "T <x>", "lead", [section])
    text = (tmp_path / "index.html").read_text()
    assert text.count("<script") == 1 and "&lt;script&gt;" in text and "&lt;i&gt;" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "https:" not in text and "http:" not in text
