"""Two rows side by side: what the page is given, and the page clicked and typed through in a browser."""

import numpy as np
import pytest

import report
from reporting.collect import read_tables
from reporting.page import write_report
from reporting.side_by_side import confusions_section, disagreements, predicted
from tests.support import chromium
from tests.support.fake_grid import ACTIONS, CLIPS, LABELS, make_plan, make_run, right_but
from viz.overlay import Square, Style
from viz.player import write_player
from viz.scene import RunView, Scene

# Of the second row the first two clips, S2/close_jam/1 and 2, are taken for open_jam; of the first the last.
WRONG = {"first & best": (23,), "second": (0, 1), "third": (0, 5, 6)}


@pytest.fixture
def table(tmp_path):
    rows = {
        name: [make_run(tmp_path / f"r{k}", right_but(*wrong))]
        for k, (name, wrong) in enumerate(WRONG.items())
    }
    make_plan(tmp_path, rows)
    return read_tables(tmp_path)[0]


def test_the_page_is_given_every_row_over_the_same_clips(table):
    given = confusions_section(table, {"S2/close_jam/1": "heat/index.html"}).compared
    assert given["classes"] == ACTIONS and given["clips"] == CLIPS and given["labels"] == LABELS.tolist()
    found = {row["name"]: [k for k in range(24) if row["predicted"][k] != LABELS[k]] for row in given["rows"]}
    assert found == {name: list(wrong) for name, wrong in WRONG.items()}


def test_clips_in_another_order_are_matched_by_name_and_other_clips_left_out(table):
    first, second, third = (row.finished[0] for row in table.rows)
    turned = third.predictions
    object.__setattr__(turned, "keys", turned.keys[::-1])
    assert predicted(third, first) == turned.predicted[::-1].tolist()
    object.__setattr__(second.predictions, "keys", (*second.predictions.keys[:-1], "S2/other/1"))
    section = confusions_section(table)
    assert [row["name"] for row in section.compared["rows"]] == ["first & best", "third"]
    assert section.note == "Not here, since they have other classes or clips: second."


def test_clips_that_divide_the_rows_most_come_first_and_no_class_takes_all_places(table):
    runs = [row.finished[0] for row in table.rows]
    # Right in two rows of three: clips 1, 5, 6 and 23; in one of three: clip 0. All are as far from a half.
    named = disagreements(runs, 24)
    assert set(named) == {CLIPS[k] for k in (0, 1, 5, 6, 23)}
    assert {clip.split("/")[1] for clip in named[:3]} == {"close_jam", "open_jam", "take_cheese"}
    assert disagreements(runs, 2) == named[:2] and disagreements(runs[:1], 24) == ()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report whose clip S2/close_jam/1 plays."""
    if chromium.PROGRAM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("page")
    rows = {
        name: [make_run(folder / f"r{k}", right_but(*wrong))] for k, (name, wrong) in enumerate(WRONG.items())
    }
    make_plan(folder, rows)
    (table,) = read_tables(folder)
    out = folder / "out"
    view = RunView("a", np.ones((1, 2, 2)), Square(0, 0, 30), "open_jam", 0.5)
    frame = np.full((1, 30, 40, 3), 90, np.uint8)
    names = ("S2/open_jam/1", "S2/close_jam/1")
    scenes = [Scene(name, name.split("/")[1], frame, ("frame 1",), (0.0,), (view,)) for name in names]
    write_player(out / "heat" / "index.html", iter(scenes), Style())
    plays = {"S2/close_jam/1": "heat/index.html"}
    write_report(out, report.TITLE, report.LEAD, [report.chapter(table, out, plays=plays)])
    with chromium.Page(out / "index.html", width=1400) as opened:
        yield opened
    assert opened.errors == []


IS = "document.querySelector('[data-is={}]')"
LISTED = (
    "[...document.querySelectorAll('.clips tbody tr')].map((tr) => tr.innerText.replace(/[\\t\\n]+/g, '|'))"
)
CELL = """(() => {{ const svg = document.querySelectorAll('.matrices svg')[{which}];
  svg.scrollIntoView({{block: 'center'}});
  const area = svg.getBoundingClientRect(), zoom = area.width / svg.viewBox.baseVal.width;
  return [area.left + (-svg.viewBox.baseVal.x + 20 * {column} + 10) * zoom,
          area.top + (-svg.viewBox.baseVal.y + 20 * {line} + 10) * zoom]; }})()"""


def click_cell(page, which, line, column):
    x, y = page.run(CELL.format(which=which, line=line, column=column))
    page.click_at(x, y)


def test_cells_are_of_one_size_though_the_first_matrix_has_the_names(page):
    zooms = page.run(
        "[...document.querySelectorAll('.matrices svg')].map("
        "(svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
    )
    assert len(zooms) == 3 and zooms == pytest.approx([zooms[0]] * 3, rel=0.02) and 0.6 < zooms[0] <= 1.51


def test_it_begins_with_the_last_two_rows_and_lists_where_they_disagree(page):
    page.reload()
    assert page.run(LISTED) == [
        "S2/close_jam/2|close_jam|✗ open_jam|✓ close_jam",
        "S2/open_jam/2|open_jam|✓ open_jam|✗ pour_honey,cup",
        "S2/open_jam/3|open_jam|✓ open_jam|✗ pour_honey,cup",
    ]
    page.set("[data-is=first]", 0)
    assert page.run(LISTED)[0] == "▶S2/close_jam/1|close_jam|✓ close_jam|✗ open_jam"
    page.set("[data-is=which]", "second")
    assert page.run(LISTED) == ["S2/take_cheese/4|take_cheese|✗ close_jam|✓ take_cheese"]
    page.set("[data-is=which]", "all")
    assert len(page.run(LISTED)) == 24


def test_a_cell_leads_to_its_clips_and_a_clip_plays(page):
    page.reload()
    page.set("[data-is=first]", 1)
    page.set("[data-is=second]", 0)
    click_cell(page, 0, 0, 1)
    assert page.run(LISTED) == [
        "▶S2/close_jam/1|close_jam|✗ open_jam|✓ close_jam",
        "S2/close_jam/2|close_jam|✗ open_jam|✓ close_jam",
    ]
    assert page.run(IS.format("told") + ".textContent") == (
        "second: true close_jam, predicted open_jam: 2 of 4 clips"
    )
    page.run("document.querySelector('.clips').scrollIntoView({block: 'center'})")
    page.click(".clips button")
    page.until("!document.querySelector('iframe').hidden")
    assert page.run("document.querySelector('iframe').src").endswith(
        "heat/index.html#clip=S2%2Fclose_jam%2F1"
    )
    page.run(IS.format("whole") + ".click()")
    assert len(page.run(LISTED)) == 3
    click_cell(page, 2, 5, 0)  # the difference: the second row, "first & best", has one more there
    assert page.run(LISTED) == ["S2/take_cheese/4|take_cheese|✓ take_cheese|✗ close_jam"]
    assert page.run(IS.format("told") + ".textContent").endswith(": +1 of 4 clips")


def test_keys_go_through_the_cells(page):
    page.reload()
    page.run("document.querySelectorAll('.matrices svg')[1].focus()")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
        page.press(key)
    page.press("Enter")
    assert [line.split("|")[0] for line in page.run(LISTED)] == ["S2/open_jam/2", "S2/open_jam/3"]
    assert page.run(IS.format("count") + ".textContent") == (
        "2 of true open_jam, predicted pour_honey,cup by the second row"
    )


def test_the_contents_mark_what_is_read_and_links_lead_somewhere(page):
    page.reload()
    page.run("document.querySelector('#table-confusions').scrollIntoView()")
    page.until("document.querySelector('nav [aria-current]')?.hash === '#table-confusions'")
    page.run("document.querySelector('#table-results').scrollIntoView()")
    page.until("document.querySelector('nav [aria-current]').hash === '#table-results'")


@pytest.mark.parametrize("scheme, bright", [("light", True), ("dark", False)])
def test_nothing_glares_in_the_dark(page, scheme, bright):
    page.prefer(scheme)
    page.reload()
    page.run("document.querySelector('#table-curves').scrollIntoView()")
    page.until("[...document.images].every((image) => image.complete)")
    pixels = page.screenshot()
    assert ((pixels > 200).all(axis=2).mean() > 0.5) == bright
    assert ((pixels > 225).all(axis=2).mean() < 0.01) == (not bright)
    page.prefer("light")


def test_a_print_holds_what_is_folded(page):
    shown = "[...document.querySelectorAll('details table')].map((one) => one.checkVisibility()).join()"
    page.reload()
    assert "true" not in page.run(shown)
    page.media("print")
    assert "false" not in page.run(shown)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.media("screen")
    assert page.printed().startswith(b"%PDF")
