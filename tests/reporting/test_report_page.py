"""The page as text, and in a real browser: it loads nothing, its pictures are there, its tables sort."""

import re

import numpy as np
import pytest

import report
from reporting.page import Figure, Section, write_page
from reporting.tables import EMPTY, Table, number, words
from tests.support import chromium
from tests.support.fake_grid import make_plan, make_run, right_but
from viz.film import save_png

in_chromium = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine")

FETCHED = """performance.getEntriesByType('resource').map((entry) => entry.name)
  .filter((name) => !name.startsWith('data:'))"""
SORTED = """(() => {
  const table = document.querySelector('#t table');
  const column = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
  const click = (place) => table.tHead.rows[0].cells[place].querySelector('button').click();
  const seen = {start: column(0)};
  for (const [name, place] of [['words', 0], ['backwards', 0], ['put back', 0], ['down', 1], ['up', 1]]) {
    click(place);
    seen[name] = column(0);
  }
  seen.sorted = table.tHead.rows[0].cells[1].getAttribute('aria-sort');
  return seen;
})()"""


def test_contents_lead_to_sections_of_every_depth(tmp_path):
    leaf = Section("Leaf")
    parts = [Section("Part", parts=[leaf]), Section("Folded", parts=[leaf], folded=True)]
    write_page(tmp_path / "page.html", "T", "lead", [Section(f"S {n}", parts=parts) for n in (1, 2)])
    text = (tmp_path / "page.html").read_text()
    links, names = re.findall(r'href="#([^"]+)"', text), re.findall(r' id="([^"]+)"', text)
    assert links == [f"s-{n}{end}" for n in (1, 2) for end in ("", "-part", "-part-leaf")]
    assert set(links) < set(names) and len(set(names)) == len(names) == 10


def test_page_is_self_contained_and_escaped(tmp_path):
    save_png(tmp_path / "a.png", np.zeros((6, 9, 3), np.uint8))
    section = Section(
        "R & <b>",
        ["text <script>alert(1)</script>"],
        Table.of(words("a", ["<i>"]), words("b", ["2"])),
        figures=[Figure(tmp_path / "a.png", 'a "quoted" caption')],
    )
    write_page(tmp_path / "index.html", "T <x>", "lead", [section])
    text = (tmp_path / "index.html").read_text()
    assert text.count("<script") == 1 and "&lt;script&gt;" in text and "&lt;i&gt;" in text
    assert not re.search(r"src=\"(?!data:)", text)
    assert re.findall(r"href=\"(?!data:|#)([^\"]*)", text) == ["r-b.csv"], "the table's own file"
    assert "https:" not in text and "http:" not in text


@in_chromium
def test_a_click_on_a_header_sorts(tmp_path):
    table = Table.of(words("name", "bdac"), number("value", [9.5, None, -20, 100]))
    write_page(tmp_path / "page.html", "T", "lead", [Section("t", table=table)])
    assert table.rows()[1][1].text == EMPTY
    with chromium.Page(tmp_path / "page.html") as page:
        found, fetched = page.run(SORTED), page.run(FETCHED)
    assert found == {
        "start": ["b", "d", "a", "c"],
        "words": ["a", "b", "c", "d"],
        "backwards": ["d", "c", "b", "a"],
        "put back": ["b", "d", "a", "c"],
        "down": ["c", "b", "a", "d"],
        "up": ["a", "b", "c", "d"],
        "sorted": "ascending",
    }
    assert not page.errors and not fetched


WHOLE = """({
  curves: document.querySelectorAll('.chart.small svg').length,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  links: [...document.querySelectorAll('nav a')].filter((a) => !document.querySelector(a.hash)).length,
  sections: document.querySelectorAll('nav a').length,
  cut: [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1)
    .length,
  ids: [...document.querySelectorAll('[id]')].map((one) => one.id),
})"""


@pytest.mark.parametrize("width", [400, 900, 1500])
@in_chromium
def test_the_whole_report_is_a_page_without_faults(tmp_path, width):
    """The title is as odd as a user's can be."""
    runs = [make_run(tmp_path / name, right_but(seed)) for seed, name in enumerate("abc")]
    rows = {"</script><b>odd & row": runs[:2], "plain row with a rather long name, 7 frames": runs[1:]}
    make_plan(tmp_path, rows, title="A <b>table</b> & more")
    assert report.main(report.Config(grid=tmp_path, out=tmp_path / "report")) == 0
    with chromium.Page(tmp_path / "report" / "index.html", width=width) as page:
        page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found, fetched = page.run(WHOLE), page.run(FETCHED)
    assert not page.errors and not fetched
    assert found["curves"] == 2
    assert found["cut"] == 0 or width > 400, "on a phone a table's rows stand as blocks"
    assert found["wide"] == 0, "wide tables scroll, the page does not"
    assert found["links"] == 0 and found["sections"] > 6
    assert len(set(found["ids"])) == len(found["ids"])
