"""The page in a real browser: it loads without a word on the console, and its controls do what they say."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import chromium
from viz.film import save_mp4
from viz.overlay import Style, centre_square, colour
from viz.player import write_player
from viz.scene import Film, Motion, RunView, Scene

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine")

RED, GREYS = (200, 20, 10), (60, 120, 180)
SQUARE = centre_square(65, 91, 0.8)


def scene(name, action, *predicted):
    """Three frames of rising brightness, a red object in the corner, all heat in the upper left cell."""
    frames = np.stack([np.full((65, 91, 3), grey, np.uint8) for grey in GREYS])
    frames[:, 2:30, 2:16] = RED
    heat = np.zeros((3, 2, 2))
    heat[:, 0, 0] = 1
    views = tuple(RunView(run, heat, SQUARE, name, 0.5) for run, name in zip("ab", predicted, strict=True))
    labels = tuple(f"frame {number}" for number in (1, 5, 9))
    return Scene(name, action, frames, labels, (0.0, 0.5, 1.0), views)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("player") / "index.html"
    right = scene("S2/open_jam/1", "open_jam", "open_jam", "open_jam")
    half = scene("S2/close_jam/1", "close_jam", "close_jam", "open_jam")
    wrong = scene("S2/open_jam/2", "open_jam", "close_jam", "take_cup")
    moves = np.zeros((3, 2, 2))
    moves[:, 1, 1] = 1
    shown = [replace(right, motion_map=Motion("motion map", moves, 0.1, SQUARE)), half, wrong]
    write_player(path, shown, Style(opacity=1))
    return path


@pytest.fixture(scope="module")
def browser(file):
    with chromium.Page(file) as page:
        yield page


@pytest.fixture
def page(browser, file):
    """The page as it is when it is opened; after each test nobody has complained on the console."""
    browser.run("history.replaceState(null, '', location.pathname)")
    browser.reload()
    yield browser
    assert browser.errors == []


def label(page):
    return page.run("document.querySelector('#label').textContent")


def clips(page):
    return page.run("[...document.querySelectorAll('#clip option')].map((option) => option.textContent)")


def shown_figures(page):
    """Captions of the views that can be seen."""
    return page.run(
        "[...document.querySelectorAll('figure')].filter((figure) => figure.offsetWidth > 0)"
        ".map((figure) => figure.textContent)"
    )


def pixel(page, view, x, y):
    """Colour at a place of a view, in pixels of the frame; views are drawn at another size."""
    left, top, width, _ = page.box(f"figure:nth-child({view}) .stage")
    zoom = width / 91
    picture = page.screenshot()
    return picture[round(top + y * zoom), round(left + x * zoom)].astype(int)


def test_it_opens_on_the_first_clip_with_every_run(page):
    assert clips(page) == ["S2/open_jam/1", "S2/close_jam/1", "S2/open_jam/2"]
    assert page.run("document.querySelector('#count').textContent") == "3 of 3"
    assert shown_figures(page) == [
        "S2/open_jam/1 – true: open_jam",
        "✓ a: open_jam (50 %) – right",
        "✓ b: open_jam (50 %) – right",
        "motion map",
    ]
    assert "0 to 4.0 times even heat" in page.run("document.querySelector('#scale').textContent")


def test_heat_and_colours_lie_where_they_belong(page):
    """The hot cell's middle has the scale's top colour; the red object and other cells stay as they are."""
    page.until("[...document.images].every((image) => image.complete)")
    top = colour(np.ones((1, 1)))[0, 0].astype(int)
    assert np.abs(pixel(page, 2, SQUARE.left + 13, SQUARE.top + 13) - top).max() < 30
    assert np.abs(pixel(page, 2, SQUARE.left + 45, SQUARE.top + 45) - GREYS[0]).max() < 12
    assert np.abs(pixel(page, 4, SQUARE.left + 39, SQUARE.top + 39) - top).max() < 12
    assert np.abs(pixel(page, 4, SQUARE.left + 13, SQUARE.top + 13) - GREYS[0]).max() < 12
    for view in (1, 2, 3, 4):
        assert np.abs(pixel(page, view, 9, 16) - RED).max() < 25


def test_stepping_goes_frame_by_frame_and_round(page):
    seen = []
    for _ in range(4):
        seen.append((label(page), pixel(page, 1, 60, 50)[0]))
        page.click("#forward")
    assert [text for text, _ in seen] == [
        f"frame {n} ({k} of 3 seen)" for n, k in ((1, 1), (5, 2), (9, 3), (1, 1))
    ]
    np.testing.assert_allclose([grey for _, grey in seen], [*GREYS, GREYS[0]], atol=4)
    page.click("#back")
    assert label(page) == "frame 1 (1 of 3 seen)"
    page.click("#back")
    assert label(page) == "frame 9 (3 of 3 seen)"
    page.set("#time", 1)
    assert label(page) == "frame 5 (2 of 3 seen)"


def test_playing_goes_on_by_itself_until_it_is_stopped(page):
    page.click("#play")
    page.until("document.querySelector('#label').textContent.startsWith('frame 9')")
    page.until("document.querySelector('#label').textContent.startsWith('frame 1 ')")
    assert page.run("document.querySelector('#play').textContent") == "Pause"
    page.click("#play")
    stopped = label(page)
    page.run("window.later = false; setTimeout(() => { window.later = true; }, 600)")
    page.until("window.later")
    assert label(page) == stopped and page.run("document.querySelector('#play').textContent") == "Play"


def test_a_run_is_taken_away_and_brought_back_also_on_other_clips(page):
    page.click("#runs label:nth-child(1) input")
    assert [text.split(":")[0] for text in shown_figures(page)][1:] == ["✓ b", "motion map"]
    page.set("#clip", 1)
    assert shown_figures(page)[1:] == ["✗ b: open_jam (50 %) – wrong"]
    page.click("#runs label:nth-child(1) input")
    assert len(shown_figures(page)) == 3


def test_an_address_leads_to_a_clip_and_a_frame(page):
    page.run("location.hash = 'clip=S2/close_jam/1&frame=2'")
    page.until("document.querySelector('#label').textContent === 'frame 5 (2 of 3 seen)'")
    assert shown_figures(page)[0] == "S2/close_jam/1 – true: close_jam"
    page.run("location.hash = 'clip=S2/open_jam/2&frame=99'")
    page.until("document.querySelector('#label').textContent === 'frame 9 (3 of 3 seen)'")
    page.run("location.hash = 'clip=nowhere'")
    page.reload()
    assert shown_figures(page)[0] == "S2/open_jam/1 – true: open_jam"


def test_opacity_uncovers_the_frame(page):
    page.set("#opacity", 0)
    assert np.abs(pixel(page, 2, SQUARE.left + 13, SQUARE.top + 13) - GREYS[0]).max() < 12
    page.set("#opacity", 0.5)
    half = (colour(np.ones((1, 1)))[0, 0].astype(int) + GREYS[0]) / 2
    assert np.abs(pixel(page, 2, SQUARE.left + 13, SQUARE.top + 13) - half).max() < 30


@pytest.mark.parametrize(
    "action, outcome, expected",
    [
        ("=open_jam", "", ["S2/open_jam/1", "S2/open_jam/2"]),
        ("", "right", ["S2/open_jam/1"]),
        ("", "wrong", ["S2/close_jam/1", "S2/open_jam/2"]),
        ("=open_jam", "wrong", ["S2/open_jam/2"]),
        ("=close_jam", "right", []),
    ],
)
def test_filters_keep_what_they_name(page, action, outcome, expected):
    page.set("#action", action)
    page.set("#outcome", outcome)
    assert clips(page) == expected
    assert page.run("document.querySelector('#count').textContent") == f"{len(expected)} of 3"
    assert page.run("!document.querySelector('#none').hidden") == (not expected)
    assert [text.split(" ")[0] for text in shown_figures(page)][:1] == expected[:1]


def test_a_tick_or_a_cross_picks_the_clip(page):
    assert page.run("[...at('clips').children].map((b) => b.textContent)") == [
        "✓ S2/open_jam/1",
        "✗ S2/close_jam/1",
        "✗ S2/open_jam/2",
    ]
    page.run("at('clips').scrollIntoView()")
    page.click("#clips button:nth-child(3)")
    assert shown_figures(page)[0] == "S2/open_jam/2 – true: open_jam"
    page.click("#next")
    assert shown_figures(page)[0] == "S2/open_jam/1 – true: open_jam", "round"
    page.click("#previous")
    assert page.run("at('clip').value") == "2"
    assert page.run("[...at('clips').children].map((b) => b.getAttribute('aria-current')).join()") == (
        "false,false,true"
    )


@pytest.fixture(scope="module")
def whole_clip(tmp_path_factory):
    """Two clips of nine frames; the second, fifth and ninth are seen, each with another hot cell."""
    path = tmp_path_factory.mktemp("film") / "index.html"
    film = Film(
        np.stack([np.full((65, 91, 3), 20 * k, np.uint8) for k in range(1, 10)]),
        tuple(f"frame {k} of 9" for k in range(1, 10)),
        tuple(np.linspace(0, 1, 9)),
        per_second=40.0,
    )
    heat = np.zeros((3, 2, 2))
    heat[[0, 1, 2], [0, 0, 1], [0, 1, 1]] = 1
    views = (RunView("a", heat, SQUARE, "open_jam", 0.5),)
    frames, labels = film.frames[[1, 4, 8]], tuple(film.labels[k] for k in (1, 4, 8))
    times = tuple(film.times[k] for k in (1, 4, 8))
    first = Scene("S2/open_jam/1", "open_jam", frames, labels, times, views, film=film)
    write_player(path, iter([first, replace(first, name="S2/open_jam/2")]), Style(opacity=1))
    with chromium.Page(path) as page:
        yield page
    assert page.errors == []


def test_the_whole_clip_plays_and_heat_is_held_between_the_frames_that_are_seen(whole_clip):
    page = whole_clip
    top = colour(np.ones((1, 1)))[0, 0].astype(int)
    middles = {0: (13, 13), 1: (39, 13), 2: (39, 39)}  # x and y of the hot cell for each frame that is seen
    for frame, held in ((0, 0), (1, 0), (3, 0), (4, 1), (7, 1), (8, 2)):
        page.set("#time", frame)
        page.until("[...document.images].every((image) => image.complete)")
        x, y = middles[held]
        assert np.abs(pixel(page, 2, SQUARE.left + x, SQUARE.top + y) - top).max() < 30, frame
        assert np.abs(pixel(page, 1, 60, 50)[0] - 20 * (frame + 1)) < 8
    page.set("#time", 5)
    assert label(page) == "frame 6 of 9 (heat of 2 of 3 seen)"
    page.click("#back")
    assert label(page) == "frame 5 of 9 (2 of 3 seen)"


def test_frames_that_are_seen_twice_are_stepped_through_one_by_one(tmp_path):
    """Two views of a clip that both see its first and last frame, and a short clip that repeats its last."""
    film = Film(
        np.stack([np.full((65, 91, 3), 60 * k, np.uint8) for k in range(1, 4)]),
        tuple(f"frame {k} of 3" for k in range(1, 4)),
        (0.0, 0.5, 1.0),
        per_second=40.0,
    )
    seen = (0, 2, 0, 2, 2)
    heat = np.zeros((5, 2, 2))
    heat[:, 0, 0] = 1
    shown = Scene(
        "S2/open_jam/1",
        "open_jam",
        film.frames[list(seen)],
        tuple(film.labels[k] for k in seen),
        tuple(film.times[k] for k in seen),
        (RunView("a", heat, SQUARE, "open_jam", 0.5),),
        film=film,
    )
    write_player(tmp_path / "index.html", iter([shown]), Style(opacity=1))
    with chromium.Page(tmp_path / "index.html") as page:
        for key, order in (("ArrowRight", (0, 1, 2, 3, 4)), ("ArrowLeft", (0, 4, 3, 2, 1))):
            for place in order:
                assert label(page) == f"frame {seen[place] + 1} of 3 ({place + 1} of 5 seen)"
                page.press(key)
        page.set("#time", 2)
        assert label(page) == "frame 3 of 3 (5 of 5 seen)"
        page.set("#time", 1)
        assert label(page) == "frame 2 of 3 (heat of 3 of 5 seen)"
        page.press("ArrowLeft")
        assert label(page) == "frame 1 of 3 (3 of 5 seen)"
        assert page.errors == []


def test_keys_play_step_and_change_the_clip(whole_clip):
    page = whole_clip
    page.reload()
    page.press("ArrowRight")
    assert label(page) == "frame 5 of 9 (2 of 3 seen)"
    page.press("ArrowLeft")
    assert label(page) == "frame 2 of 9 (1 of 3 seen)"
    page.press("n")
    assert page.run("at('clip').value") == "1"
    page.press("p")
    assert page.run("at('clip').value") == "0"
    page.run("at('on').checked = true")
    page.press(" ")
    assert page.run("at('play').textContent") == "Pause"
    page.until("at('clip').value === '1'")  # it went on to the next clip by itself
    page.press(" ")
    assert page.run("at('play').textContent") == "Play"


@pytest.mark.stress
def test_films_play_in_the_browser_also_of_odd_sizes(tmp_path):
    pictures = [np.full((65, 91, 3), grey, np.uint8) for grey in GREYS]
    save_mp4(tmp_path / "film.mp4", pictures)
    (tmp_path / "film.html").write_text('<link rel="icon" href="data:,"><video src="film.mp4" muted></video>')
    with chromium.Page(tmp_path / "film.html") as page:
        page.run("void document.querySelector('video').play()")
        page.until("document.querySelector('video').ended")
        assert page.run("document.querySelector('video').videoWidth") == 92
        left, top, *_ = page.box("video")
        last = page.screenshot()[round(top) + 30, round(left) + 40].astype(int)
        assert np.abs(last - GREYS[-1]).max() < 8 and page.errors == []
