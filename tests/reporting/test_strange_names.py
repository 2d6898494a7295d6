"""Names that try to be more than names, from the folders of a tree to every page that shows them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from data.index import ClipIndex
from metrics.predictions import Predictions, write_evaluation
from reporting.page import Figure, Section, write_page, write_report
from reporting.tables import Table, words
from viz.overlay import Style, centre_square
from viz.player import player_page
from viz.scene import RunView, Scene

EVIL = "<script>alert('1')&amp; \"<img src=x onerror=alert(2)>"


@pytest.fixture
def clip(tmp_path):
    """A clip of a class, a user and a tree whose folders are called so."""
    folder = tmp_path / "tree" / "processed_frames2" / EVIL / EVIL / "1" / "rgb"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 32)).save(folder / "rgb0001.png")
    (found,) = ClipIndex.from_tree(tmp_path / "tree").clips
    assert found.action == EVIL and found.key == f"{EVIL}/{EVIL}/1"
    return found


def harmless(html):
    assert "<script>alert" not in html and "<img src=x" not in html, html
    return html


def test_the_player(clip):
    view = RunView(EVIL, np.full((1, 2, 2), 0.25), centre_square(32, 40, 0.8), EVIL, 0.5)
    scene = Scene(clip.key, clip.action, np.zeros((1, 32, 40, 3), np.uint8), (EVIL,), (0.0,), (view,))
    text = harmless(player_page([scene], Style()))
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    assert json.loads(data)["scenes"][0]["name"] == clip.key


def test_the_pages_and_the_report(clip, tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    picture = Figure(tmp_path / "a.gif", clip.key)
    table = Table.of(words(EVIL, [clip.action, "p < 0.05 | q"]))
    part = Section(EVIL, [EVIL], table, note=EVIL, figures=[picture], code=EVIL, folded=True)
    section = Section(EVIL, [EVIL], table, note=EVIL, code=EVIL, parts=[part])
    write_page(tmp_path / "page.html", EVIL, EVIL, [section] * 6)
    harmless((tmp_path / "page.html").read_text())
    write_report(tmp_path / "report", EVIL, EVIL, [section])
    for file in (tmp_path / "report").iterdir():
        assert re.fullmatch(r"[\w.-]+", file.name), "a name has become a path"
        if file.suffix in (".html", ".md"):
            harmless(file.read_text().replace("\\<", "&lt;"))


def test_the_tables_of_an_evaluation(clip, tmp_path):
    found = Predictions((clip.key,), np.array([0]), np.array([[2.0, 1.0]]), 0.0, {})
    write_evaluation(tmp_path, found, (clip.action, "$\\undefined{$"), {"top1": 100.0})
    assert Predictions.load(tmp_path / "predictions.npz").keys == (clip.key,)
    assert len((tmp_path / "per_class.csv").read_text().splitlines()) == 3
    assert Image.open(tmp_path / "confusion.png").size[0] > 100
