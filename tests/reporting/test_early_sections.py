"""Heads next to each other, and how early rows know an action, from runs made to order."""

from statistics import mean

import numpy as np
import pytest
from PIL import Image

from core.files import write_json, write_text
from metrics.early import EarlyPredictions
from metrics.statistics import bootstrap_interval, holm, paired_difference, wilson_interval
from reporting import early, heads
from reporting.chapter import chapter
from reporting.collect import read_tables
from reporting.results import shared_scores
from tests.reporting.test_sections import column, numbers, read
from tests.support.fake_grid import LABELS, make_plan, make_run, read_along, right_but

SHARES = (25, 50, 100)


@pytest.fixture
def grid(tmp_path):
    """Three heads of two seeds: each gets one clip more at each share than the head after it."""
    rows = {}
    for place, name in enumerate(("convlstm", "lsta", "avgpool")):
        rows[name] = []
        for seed in range(2):
            run = make_run(tmp_path / f"{name}{seed}", right_but(*range(2 * place + seed)))
            known = {share: right_but(*range(12 - share // 10 + place)) for share in (25, 50)}
            read_along(run, known | {100: right_but(*range(2 * place + seed))})
            write_text(run / "config.yaml", f"device: cpu\ntemporal: {name}\nhidden: 64\n")
            cost = {"parameters": 10**6 * (3 - place) * (name != "avgpool"), "gflop_per_frame": 0.5}
            cost |= {"ms_per_clip": 4.0 + seed - place}
            write_json(run / "cost.json", {f"head_{key}": value for key, value in cost.items()})
            rows[name].append(run)
    make_plan(tmp_path, rows, baseline="convlstm")
    return tmp_path


def test_heads_stand_next_to_what_they_cost(grid, tmp_path):
    table = read(grid)
    section = heads.heads_section(table, tmp_path / "out")
    found = section.table
    assert column(found, "head") == ["convlstm", "lsta", "avgpool"]
    assert column(found, "parameters, million") == ["3.00", "2.00", "0.00"]
    assert column(found, "ms a clip") == ["4.5 ± 0.7", "3.5 ± 0.7", "2.5 ± 0.7"]
    assert numbers(found, "top-1 %") == pytest.approx([100 - 50 / 24, 100 - 250 / 24, 100 - 450 / 24])
    baseline, *others = table.shown
    compared = [paired_difference(*shared_scores(row, baseline)) for row in others]
    assert numbers(found, "points more")[1:] == pytest.approx([each.points for each in compared])
    assert numbers(found, "p, Holm")[1:] == pytest.approx(holm([each.p for each in compared]))
    assert {"after 25 %", "after 50 %", "order %"} <= set(found.header)
    assert "after 100 %" not in found.header, "which is top-1"
    assert [figure.path.name for figure in section.figures] == ["table-ms.png", "table-parameters.png"]
    assert all(Image.open(figure.path).size[0] > 300 for figure in section.figures)


def test_one_head_alone_or_unknown_costs_make_no_table(grid, tmp_path):
    make_plan(grid, {"a": ["convlstm0"], "b": ["convlstm1"]})
    assert heads.heads_section(read(grid), tmp_path) is None
    for name in ("lsta0", "avgpool0"):
        (grid / name / "cost.json").unlink()
    make_plan(grid, {"a": ["convlstm0"], "b": ["lsta0"], "c": ["avgpool0"]})
    assert heads.heads_section(read(grid), tmp_path) is None


def test_how_early_an_action_is_known(grid, tmp_path):
    section = early.early_section(read(grid), tmp_path / "out")
    found = section.table
    right = {25: [24 - 10, 24 - 11, 24 - 12], 50: [24 - 7, 24 - 8, 24 - 9]}
    for share, clips in right.items():
        assert numbers(found, f"after {share} %") == pytest.approx([100 * n / 24 for n in clips])
        low, high = wilson_interval(clips[0], 24)
        assert numbers(found, f"{share} %, interval, low")[0] == pytest.approx(low)
        assert numbers(found, f"{share} %, interval, high")[0] == pytest.approx(high)
    # Trapezia over 25, 50 and 100: the widths are one third and two thirds of the range.
    top1 = [mean(numbers(found, f"after {share} %")[:1]) for share in SHARES]
    area = (top1[0] + top1[1]) / 2 / 3 + (top1[1] + top1[2]) / 2 * 2 / 3
    assert numbers(found, "area %")[0] == pytest.approx(area)
    # Clips 7 to 9 are known from 50 % on, those before them at the end, the first of all by one seed of two.
    by_clip = np.ones(24)
    by_clip[:10] = 1 / 6 + 2 / 3
    by_clip[:7] = 1 / 3
    by_clip[0] = 1 / 6
    low, high = bootstrap_interval(100 * by_clip)
    assert numbers(found, "area, 95 % interval, low")[0] == pytest.approx(low)
    assert numbers(found, "area, 95 % interval, high")[0] == pytest.approx(high)
    assert [part.key for part in section.parts] == ["25", "50"]
    assert column(section.parts[0].table, "row") == ["lsta", "avgpool"]
    assert numbers(section.parts[0].table, "points more") == pytest.approx([-100 / 24, -200 / 24])
    assert Image.open(section.figures[0].path).size[0] > 300


def test_seeds_read_at_other_shares_are_compared_at_those_of_all(grid, tmp_path):
    """The same scores, read at one share more, are no other area; and a seed that was not read is none."""
    known = {25: right_but(*range(12)), 50: right_but(*range(6)), 100: right_but()}
    read_along(grid / "lsta0", known)
    read_along(grid / "lsta1", {share: known[share] for share in (50, 100)})
    make_plan(grid, {"lsta": ["lsta0", "lsta1", "gone"], "avgpool": ["avgpool0", "avgpool1"]})
    found = early.early_section(read(grid), tmp_path).table
    assert column(found, "after 25 %")[0] == "—" and column(found, "area %")[0] == "87.5 ± 0.0"
    (grid / "lsta0" / "early.npz").unlink()
    found = early.early_section(read(grid), tmp_path).table
    assert column(found, "seeds") == ["1 of 3", "2"]


def test_rows_that_were_not_read_along_are_left_out(grid, tmp_path):
    for seed in range(2):
        (grid / f"lsta{seed}" / "early.npz").unlink()
    # evaluate.py may have read one since: of the test clips, or of others, which say nothing here.
    later = grid / "lsta1" / "evaluation" / "observed-test-last"
    read_along(later, {25: right_but(), 100: right_but()})
    foreign = EarlyPredictions(("S1/a/1",), LABELS[:1], (25,), (3,), np.array([[[0.0, 3.0]]]))
    foreign.save(grid / "lsta0" / "evaluation" / "observed-test-last" / "early.npz")
    assert [run.early is not None for run in read(grid).rows[1].finished] == [False, True]
    assert column(early.early_section(read(grid), tmp_path).table, "after 25 %")[1] == "100.0"
    for run in grid.glob("*/early.npz"):
        run.unlink()
    (later / "early.npz").unlink()
    assert early.early_section(read(grid), tmp_path) is None


def test_a_damaged_file_is_named_and_the_chapter_holds_both_sections(grid, tmp_path):
    keys = [part.key for part in chapter(read(grid), tmp_path / "out").parts]
    assert keys.index("heads") < keys.index("early")
    (grid / "lsta0" / "early.npz").write_bytes(b"no")
    ((row, lost),) = read_tables(grid)[0].missing
    assert row.name == "lsta" and "early.npz holds no scores along the frames" in lost.reason
