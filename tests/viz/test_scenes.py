"""Scenes decoded again from every kind of file: colours, geometry, one scale, a page that loads nothing."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from core.errors import UserError
from data.transforms import place_crop
from viz.film import save_gif, save_mp4, save_png
from viz.overlay import Square, Style, centre_square, colour
from viz.player import write_player
from viz.scene import Motion, RunView, Scene
from viz.storyboard import WIDEST, fit, heat_pictures, scene_film, scene_sheet, timeline

RED = (200, 20, 10)


def frames(number=3, height=65, width=91):
    """A red object on grey, in the upper left corner outside of what the network sees."""
    pictures = np.full((number, height, width, 3), 120, np.uint8)
    pictures[:, 2:30, 2:20] = RED
    return pictures


def view(run, heat, predicted="open_jam"):
    return RunView(run, np.asarray(heat, float), centre_square(65, 91, 0.8), predicted, 0.5)


def scene(*views, action="open_jam", name="S2/open_jam/1"):
    number = len(views[0].heat)
    labels = tuple(f"frame {k}" for k in range(number))
    return Scene(name, action, frames(number), labels, tuple(np.linspace(0, 1, number)), views)


def even(cells=2, number=3):
    return np.full((number, cells, cells), 1 / cells**2)


def red_share(picture):
    """Share of pixels that are red and neither blue nor grey."""
    r, g, b = np.moveaxis(np.asarray(picture, int), -1, 0)
    return ((r > 150) & (g < 90) & (b < 90)).mean(), ((b > 150) & (g < 90) & (r < 90)).mean()


def decoded(path):
    if path.suffix == ".png":
        return [np.asarray(Image.open(path).convert("RGB"))]
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(read[1][..., ::-1])
    return found


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def picture_in(page_url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(page_url.split(",")[1]))))


def test_red_stays_red_in_every_file(tmp_path):
    shown, style = scene(view("a", even())), Style(opacity=0.2)
    film = scene_film(shown, style)
    save_png(tmp_path / "a.png", scene_sheet(shown, style))
    save_gif(tmp_path / "a.gif", film)
    save_mp4(tmp_path / "a.mp4", film)
    for path, number in (("a.png", 1), ("a.gif", 3), ("a.mp4", 3)):
        pictures = decoded(tmp_path / path)
        assert len(pictures) == number
        for picture in pictures:
            red, blue = red_share(picture)
            assert red > 0.03 and blue == 0, path
    write_player(tmp_path / "index.html", [shown], style)
    for url in page_data(tmp_path / "index.html")["scenes"][0]["frames"]:
        assert np.abs(picture_in(url)[4:28, 4:18].astype(int) - RED).max() < 20


def test_films_are_h264_that_browsers_play_while_they_load_and_keep_colours(tmp_path):
    save_mp4(tmp_path / "a.mp4", list(frames()))
    boxes = (tmp_path / "a.mp4").read_bytes()
    assert b"avc1" in boxes and boxes.index(b"moov") < boxes.index(b"mdat")
    pictures = decoded(tmp_path / "a.mp4")
    assert len(pictures) == 3 and pictures[0].shape == (66, 92, 3), "odd sides are filled up"
    for picture in pictures:
        assert np.abs(picture[6:26, 6:16].astype(int) - RED).max() < 12
        assert np.abs(picture[:65, 40:91].astype(int) - 120).max() < 12
        assert picture[65, 40:].min() > 200


def test_a_film_that_can_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho no space >&2; exit 1\n")
    (tmp_path / "ffmpeg").chmod(0o700)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "ffmpeg"))
    with pytest.raises(UserError, match=r"a\.mp4 can't be written: no space \(ffmpeg\); is the disk full"):
        save_mp4(tmp_path / "out" / "a.mp4", list(frames()))
    assert not list((tmp_path / "out").iterdir())


def test_runs_share_one_scale_whatever_their_grids():
    """A peak of twice even heat beside one of four times: half way up the same scale, on any grid."""
    strong, weak = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
    strong[0, 0, 0] = 1
    weak[0, 0] = 0.5
    fine = weak.repeat(2, axis=1).repeat(2, axis=2) / 4
    shown = scene(view("strong", strong), view("weak", weak), view("fine", fine))
    assert shown.peak == 4 and "0 to 4.0 times even" in shown.legends[0]
    assert [v.strength.max() for v in shown.views] == [4, 2, 2]
    a, b, c = (heat_pictures(shown, v, Style(opacity=1))[0][10, 40].astype(int) for v in shown.views)
    assert np.abs(b - c).max() <= 2 and np.abs(a - b).max() > 30


def moving(name, row, column, share, cells=2, number=3):
    maps = np.zeros((number, cells, cells))
    maps[:, row, column] = share
    return Motion(name, maps, 0.1, centre_square(65, 91, 0.8))


def test_motion_stands_beside_heat_in_every_file_on_its_own_scale(tmp_path):
    """A head says the lower right cell, the map the upper left one: both fully, whatever the heat's peak."""
    told, truth = moving("a, layer4 motion", 1, 1, 1), moving("motion map", 0, 0, 1)
    without, style = scene(view("a", even())), Style(opacity=1)
    shown = replace(scene(replace(without.views[0], motion=(told,))), motion_map=truth)
    assert shown.motion == (told, truth) and without.motion == ()
    full, gap = colour(np.ones((1, 1)))[0, 0].astype(int), 4
    film, width = scene_film(shown, style), fit(4)[1]
    zoom = width / 91
    assert film[0].shape[1] == 4 * width + 3 * gap
    assert scene_film(without, style)[0].shape[1] == 2 * fit(2)[1] + gap
    column = film[0][:, round(40 * zoom)]
    top = next(k for k in range(len(column)) if (column[k : k + 20] == 120).all())  # grey, under the words
    for part, (y, x) in ((2, (45, 58)), (3, (19, 32))):
        left = part * (width + gap)
        place = film[0][top + round(y * zoom), left + round(x * zoom)].astype(int)
        assert np.abs(place - full).max() <= 1, "the middle of the cell"
        opposite = film[0][top + round((64 - y) * zoom), left + round((90 - x) * zoom)].astype(int)
        assert np.abs(opposite - 120).max() <= 1, "a cell that does not move is left alone"
    assert scene_sheet(shown, style).shape[0] > scene_sheet(without, style).shape[0] + 2 * 65
    write_player(tmp_path / "index.html", [shown], style)
    (found,) = page_data(tmp_path / "index.html")["scenes"]
    assert [item["run"] for item in found["views"]] == ["a", "a, layer4 motion", "motion map"]
    assert len(found["legends"]) == 2 and "share of a cell's pixels" in found["legends"][1]
    layer = picture_in(found["views"][1]["layers"][0]).astype(int)
    assert (layer[39, 39] == [*full, 255]).all() and layer[13, 13, 3] == layer[13, 39, 3] == 0


def test_the_time_line_marks_the_frame_that_is_shown():
    strip = timeline(100, (0.0, 0.5, 1.0), 1)
    assert strip.shape == (9, 100, 3)
    black = (strip == 20).all(axis=(0, 2)) | (strip[1:] == 20).all(axis=(0, 2))
    assert np.flatnonzero(black).tolist() == [48, 49, 50, 51, 52]


@pytest.mark.parametrize("frames_seen, runs", [(1, 1), (7, 2), (16, 1), (25, 9)])
def test_sheets_and_films_fit_a_slide(frames_seen, runs):
    shown = scene(*(view(f"run{k}", even(4, frames_seen)) for k in range(runs)))
    sheet, film = scene_sheet(shown, Style()), scene_film(shown, Style())
    assert sheet.shape[1] <= WIDEST and film[0].shape[1] <= WIDEST and len(film) == frames_seen
    columns, width = fit(frames_seen)
    assert 180 <= width <= 400
    grey = (sheet == 120).all(axis=2)
    assert grey.sum() > 0.3 * frames_seen * width**2 * 65 / 91, "every frame is there"


def test_right_wrong_and_unknown():
    good, bad = view("a", even()), view("b", even(), "close_jam")
    assert not scene(good).wrong and scene(good, bad).wrong
    assert [scene(good, bad).verdict(x) for x in (good, bad)] == ["right", "wrong"]
    assert not scene(bad, action=None).wrong and scene(bad, action=None).verdict(bad) == ""


@pytest.mark.parametrize("size", [(455, 256), (456, 256), (228, 128), (341, 256), (256, 455)])
def test_the_square_is_the_crop_of_the_test(size):
    """Of frames that are not scaled, to the pixel."""
    square, crop = centre_square(size[1], size[0], 7 / 8), place_crop(*size, round(min(size) * 7 / 8), None)
    assert square == Square(crop.left, crop.top, crop.side)


@pytest.mark.parametrize("row, column", [(0, 0), (1, 2), (2, 1)])
def test_heat_of_a_cell_lies_on_its_pixels_in_the_page(tmp_path, row, column):
    heat = np.zeros((1, 3, 3))
    heat[0, row, column] = 1
    shown = scene(view("a", heat))
    write_player(tmp_path / "index.html", [shown], Style())
    (found,) = page_data(tmp_path / "index.html")["scenes"][0]["views"]
    left, top, width, height = found["square"]
    assert (left, top, width, height) == (20, 6, 52, 52)
    cover = picture_in(found["layers"][0])[..., 3]
    assert cover.shape == (52, 52)
    found = np.argwhere(cover > 240).mean(axis=0)
    expected = (np.array([row, column]) + 0.5) * 52 / 3
    np.testing.assert_allclose(found, expected, atol=1)


def test_the_page_is_self_contained_and_nothing_breaks_out_of_it(tmp_path):
    evil = '</script><script>alert("1")</script><!--'
    write_player(tmp_path / "index.html", [scene(view(evil, even()), name=evil, action=evil)], Style())
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 2 and "alert(" in text
    assert page_data(tmp_path / "index.html")["scenes"][0]["name"] == evil
    assert "innerHTML" not in text and "http:" not in text and "https:" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "default-src 'none'" in text


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine to parse the script with")
def test_the_pages_script_parses_and_names_only_what_is_there(tmp_path):
    write_player(tmp_path / "index.html", [scene(view("a", even()))], Style())
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    (tmp_path / "page.js").write_text(script)
    subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True)
    ids = set(re.findall(r' id="(\w+)"', text))
    assert set(re.findall(r'\bat\("(\w+)"\)', script)) <= ids and len(ids) > 10
