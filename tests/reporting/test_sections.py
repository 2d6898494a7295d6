"""The sections of a report against numbers worked out by hand or by the functions they are built on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from core.files import write_json
from data.actions import noun_ids, nouns, verb, verb_ids
from metrics.predictions import Predictions
from metrics.statistics import paired_difference, wilson_interval
from reporting import classes, measures, results
from reporting.chapter import chapter, commands_of
from reporting.charts import _ticks
from reporting.collect import read_tables
from reporting.curves import curves_of, curves_section, top_of_losses
from reporting.tables import EMPTY
from tests.support.fake_grid import make_plan, make_run, right_but

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def grid(tmp_path):
    """Two rows of two seeds; the first is 24 and 22 of 24 right, the second 22 and 18."""
    first = [make_run(tmp_path / "a0", right_but()), make_run(tmp_path / "a1", right_but(0, 1))]
    second = [make_run(tmp_path / "b0", right_but(0, 4)), make_run(tmp_path / "b1", right_but(*range(6)))]
    make_plan(tmp_path, {"better": first, "worse": second})
    return tmp_path


def read(grid):
    return read_tables(grid)[0]


def texts(table):
    return [[cell.text for cell in row] for row in table.rows()]


def column(table, name):
    return [row[table.header.index(name)].text for row in table.rows()]


def numbers(table, name):
    return table.frame()[name].tolist()


def test_results(grid):
    table = results.results_table(read(grid).rows)
    assert column(table, "top-1 %") == ["95.8 ± 5.9", "83.3 ± 11.8"]
    assert numbers(table, "top-1 %")[0] == pytest.approx(100 * 23 / 24)
    assert numbers(table, "top-1 %, sd")[0] == pytest.approx(100 / 24 * np.sqrt(2))
    low, high = wilson_interval(23, 24)
    assert numbers(table, "95 % interval, low")[0] == pytest.approx(low)
    assert numbers(table, "95 % interval, high")[0] == pytest.approx(high)
    assert {"verb %", "noun %", "order %"} <= set(table.header)
    low, _ = wilson_interval(15, 16)  # clips of actions with a reverse; seed 1 loses two of them
    assert numbers(table, "order %")[0] == pytest.approx(100 * 15 / 16)
    assert numbers(table, "order, 95 % interval, low")[0] == pytest.approx(low)
    assert column(table, "seeds") == ["2", "2"]


def test_rows_without_all_their_seeds_say_so(grid):
    (grid / "b1" / "eval.json").unlink()
    make_plan(grid, {"worse": ["b0", "b1"], "never": ["c0"]})
    table = results.results_table(read(grid).rows)
    assert column(table, "seeds") == ["1 of 2", "0 of 1"]
    assert column(table, "top-1 %") == ["91.7", EMPTY]


def test_optimism_is_what_the_chosen_epoch_has_above_the_last(grid):
    table = results.optimism_section(read(grid)).table
    assert texts(table)[0] == ["better", "95.8 ± 5.9", "100.8 ± 5.9", "+5.0 ± 0.0", "2"]
    make_plan(grid, {"held out": [make_run(grid / "v", right_but(), selected={"selection": "best_on_val"})]})
    assert results.optimism_section(read(grid)) is None, "chosen without looking at the test"


def test_comparison_is_over_the_seeds_that_both_have(grid):
    better, worse = read(grid).rows
    found = paired_difference(*results.shared_scores(better, worse))
    assert (found.points, found.clips, found.seeds, found.agree) == (pytest.approx(12.5), 24, 2, 2)
    make_plan(grid, {"better": ["a0"], "worse": ["b0", "b1"]})
    found = paired_difference(*results.shared_scores(*read(grid).rows))
    assert (found.test, found.seeds, found.p) == ("McNemar", 1, 0.5)
    make_plan(grid, {"better": ["none", "a1"], "worse": ["b0", "b1"]})
    found = paired_difference(*results.shared_scores(*read(grid).rows))
    assert (found.seeds, found.points) == (1, pytest.approx(100 * 4 / 24)), "seed 1 with seed 1"
    make_plan(grid, {"better": ["none", "a1"], "worse": ["b0"]})
    section = results.comparison("differences", [tuple(read(grid).rows)])
    table, note = section.table, section.note
    assert table is None and "no finished seed in common" in note and "better against worse" in note


def test_the_interval_over_seeds_stands_beside_that_over_clips(grid):
    rows = read(grid).rows
    table = results.comparison("differences", [tuple(rows)]).table
    found = paired_difference(*results.shared_scores(*rows))
    assert found.seeds_low < found.low, "the seeds differ"
    for name, ends in {
        "95 % interval, clips": (found.low, found.high),
        "95 % interval, clips and seeds": (found.seeds_low, found.seeds_high),
    }.items():
        shown = numbers(table, f"{name}, low") + numbers(table, f"{name}, high")
        assert shown == pytest.approx(ends)


def test_a_dot_is_full_where_holms_p_is_small(tmp_path):
    """Six clips alone give p = 2 / 2^6 < 0.05, but not as one of two comparisons; nine do."""
    wrong = {"a": right_but(), "six": right_but(*range(6)), "nine": right_but(*range(9))}
    runs = {name: [make_run(tmp_path / name, predicted)] for name, predicted in wrong.items()}
    make_plan(tmp_path, {"a": runs["a"], "six": runs["six"], "again": runs["six"]}, baseline="a")
    svg = results.comparison("differences", results.choose_pairs(read(tmp_path))).chart.svg
    assert svg.count("dot hollow") == 2
    make_plan(tmp_path, {"a": runs["a"], "six": runs["six"], "nine": runs["nine"]}, baseline="a")
    svg = results.comparison("differences", results.choose_pairs(read(tmp_path))).chart.svg
    assert svg.count("dot hollow") == 0, "of two, the larger p is left as it is"


def test_order_is_compared_on_reversible_clips_alone(grid):
    found = paired_difference(*results.shared_scores(*read(grid).rows, order=True))
    assert found.clips == 16 and found.points > 0


def test_rows_of_other_classes_are_not_compared(grid):
    for file in grid.glob("b*/per_class.csv"):
        file.write_text(file.read_text().replace("take_cheese", "take_hotdog"))
    section = results.order_section(read(grid))
    assert section.table is None and "worse against better (they were trained on different classes)" in (
        section.note.replace("better against worse", "worse against better")
    )


@pytest.mark.parametrize(
    "rows, baseline, pairs",
    [(4, None, 6), (4, "row 2", 3), (10, None, 45), (11, None, 10), (11, "row 5", 10), (1, None, 0)],
)
def test_who_is_compared_with_whom(tmp_path, rows, baseline, pairs):
    run = make_run(tmp_path / "a", right_but())
    make_plan(tmp_path, {f"row {number}": [run] for number in range(rows)}, baseline=baseline)
    found = results.choose_pairs(read(tmp_path))
    assert len({frozenset((a.name, b.name)) for a, b in found}) == len(found) == pairs
    assert baseline is None or {other.name for _, other in found} == {baseline}
    places = {f"row {number}": number for number in range(rows)}
    later = all(places[row.name] > places[other.name] for row, other in found)
    assert baseline is not None or later, "what comes later is measured against what stands above it"


def test_comparisons_are_corrected_for_their_number(tmp_path):
    wrong = {"a": right_but(), "b": right_but(*range(8)), "c": right_but(0)}
    make_plan(tmp_path, {name: [make_run(tmp_path / name, predicted)] for name, predicted in wrong.items()})
    section = results.comparison("differences", results.choose_pairs(read(tmp_path)))
    table, note = section.table, section.note
    assert numbers(table, "p") == [pytest.approx(2 / 2**8), 1, pytest.approx(2 / 2**7)] and note == ""
    assert numbers(table, "p, Holm") == [pytest.approx(6 / 2**8), 1, pytest.approx(4 / 2**7)]
    assert "seeds that agree" not in table.header, "there is one seed"
    assert "b − a: −33.3 points" in section.chart.svg and "c − b: +29.2 points" in section.chart.svg


def test_classes_verbs_and_nouns(grid):
    """Seed 0 misses a clip of close_jam and of open_jam, seed 1 four and two, taken for the next class."""
    rows = read(grid).rows
    shares = {cells[0]: cells[1:] for cells in texts(classes.class_table(rows))}
    assert shares["close_jam"] == ["4", "75", "38"] and shares["take_cheese"] == ["4", "100", "100"]
    verbs = {cells[0]: cells[1:] for cells in texts(classes.group_table("verb", rows, verb_ids, verb))}
    assert verbs["close"] == shares["close_jam"]
    objects = {cells[0]: cells[1:] for cells in texts(classes.group_table("nouns", rows, noun_ids, nouns))}
    assert objects["jam"] == ["8", "100", "81"], "open_jam for close_jam has the noun right"
    worst = texts(classes.classes_section(read(grid)).table)[1]
    assert worst[2].startswith("close_jam 38; open_jam 62")
    assert worst[3].startswith("close_jam for open_jam 2.5; open_jam for pour_honey,cup 1.5")


def test_cost(grid):
    write_json(
        grid / "a0" / "cost.json", {"device": "H", "peak_memory_gib": 2.0, "peak_gpu_memory_gib": None}
    )
    table = measures.cost_table(read(grid).rows)
    assert table.header == ["trained", "epochs", "minutes a run", "items/s", "memory, GiB", "device"]
    assert texts(table)[0] == ["better", "2", "1.1 ± 0.0", "30 ± 0", "2.0", "H, CPU, 1 threads"]


def test_motion_heads_of_both_layers(tmp_path):
    kinds = ("accuracy", "average_precision", "balanced_accuracy", "iou")
    baselines = ("", "_mean_map", "_all_static")
    found = {f"motion_layer3_{kind}{b}": 10.0 * n for kind in kinds for n, b in enumerate(baselines)}
    plain = make_run(tmp_path / "plain", right_but())
    make_plan(tmp_path, {"head": [make_run(tmp_path / "head", right_but(), **found)], "none": [plain]})
    assert texts(measures.motion_table(read(tmp_path).rows)) == [
        ["head", "layer3", *["0.0", "10.0", "20.0"] * 3]
    ]


def quality(mean):
    heat, above = {"mean": mean, "low": mean - 4, "high": mean + 2}, {"points": 9.0, "low": 1.0, "high": 3.0}
    kinds = {"heat": heat, "uniform": heat, "centre_prior": heat}
    return kinds | {"above_uniform": above | {"p": mean / 1000}, "above_centre_prior": above | {"p": 0.5}}


def test_attention_is_the_mean_over_the_seeds_that_were_measured(grid):
    for seed, mean in enumerate((40.0, 60.0)):
        masks = {"hand": {"pointing": quality(mean), "share": quality(mean / 2)}, "unseen": {"n_clips": 0}}
        found = {"split": "test", "attention": masks}
        write_json(grid / f"a{seed}" / "evaluation" / "test-last" / "eval.json", found)
    rows = read(grid).rows
    table = measures.attention_table(rows, "pointing")
    assert texts(table)[0][:5] == ["better", "hand", "2", "50.0 ± 14.1", "46.0 to 52.0"]
    assert column(table, "above even heat, p") == ["0.060"] and len(table) == 1
    (grid / "b0" / "config.yaml").write_text("attention: cam\n")
    lacking = [measures.lacks_attention(run) for row in read(grid).rows for run in row.finished]
    assert lacking == [False, False, True, False]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"attention": "cam"}, True),
        ({"attention": "none"}, False),
        ({}, False),
        ({"network": "slowfast18"}, True),
        ({"network": "resnet18", "temporal": "avgpool"}, True),
        ({"network": "resnet18", "temporal": "lstm"}, False),
        ({"network": "mvit_v2_s"}, False),
        ({"network": "of a later version"}, False),
        ({"network": ["early"]}, False),
        ({"network": "resnet18", "temporal": "of a later version"}, False),
    ],
)
def test_which_runs_have_attention(settings, expected):
    assert measures.has_attention(settings) == expected


@pytest.mark.parametrize("loss", ["1.3e17", "inf", "4e6"])
def test_a_test_loss_that_runs_away_flattens_no_curve_and_breaks_no_report(grid, loss):
    for file in grid.glob("*/metrics.csv"):
        file.write_text(file.read_text().replace("1,test,2,", f"1,test,{loss},"))
    runs = [run for row in read(grid).shown for run in row.finished]
    assert 2.5 < top_of_losses(runs) < 8
    assert curves_section(read(grid)).small_charts


@pytest.mark.parametrize("end", [1e-4, 0.03, 0.3, 1, 2.625, 5, 7.3, 100, 2.6e6, 1e17])
def test_ticks_are_three_to_six_round_numbers(end):
    ticks = _ticks(0.0, end)
    assert 3 <= len(ticks) <= 6 and ticks[0] == 0 and ticks[-1] <= end * (1 + 1e-9)
    assert np.diff(ticks) == pytest.approx(np.full(len(ticks) - 1, ticks[1]))


def test_where_pictures_are_learned_too_the_curve_is_that_of_the_clips(grid):
    header, *lines = (grid / "a0" / "metrics.csv").read_text().split()
    told = [f"{line},{'0.5' if ',train,' in line else ''}" for line in lines]
    (grid / "a0" / "metrics.csv").write_text("\n".join([header + ",clips", *told]))
    first, *_ = curves_of(read(grid).rows[0].finished[0], "loss")
    assert first.kind == "train" and [value for _, value in first.points] == [0.5, 0.5]


def test_curves_of_all_rows_have_one_scale(grid):
    """After two epochs: training losses 2.5 and 1.5, test losses 2 and 1, accuracies 10, 30 and 20, 40."""
    lines = (grid / "b0" / "metrics.csv").read_text()
    (grid / "b0" / "metrics.csv").write_text(
        lines.replace("2,test,1,", "2,test,9,") + "3,train,1.0,50,,1,1\n"
    )
    content = json.loads((grid / "b0" / "eval.json").read_text())
    write_json(grid / "b0" / "eval.json", content | {"epoch": 3})
    charts = curves_section(read(grid)).small_charts
    assert [chart.caption for chart in charts] == ["better", "worse"]
    points = [
        [
            (float(c.get("cx")), float(c.get("cy")))
            for c in tree.iter("circle")
            if c.get("class") == "point train"
        ]
        for tree in (ElementTree.fromstring(chart.svg) for chart in charts)
    ]
    better, worse = points
    assert better[:2] == worse[:2], "the same losses stand at the same place"
    assert len(better) == 2 * 2 * 2 and len(worse) == 2 * (3 + 2), "two panels, two seeds"
    (x1, y1), (x2, y2) = better[:2]
    assert x2 > x1 and y2 > y1, "to the right in time, and down with a lower loss"
    accuracies = [y for _, y in better[4:6]]
    assert accuracies[0] - accuracies[1] == pytest.approx(110 * 0.2)
    assert "polyline" not in charts[0].svg and charts[1].svg.count("<polyline") == 2, (
        "two points make no line"
    )
    assert "val" not in charts[0].svg, "no validation was measured"


def test_numbers_of_other_data_say_that_they_do_not_compare(grid):
    plan = read(grid).plan
    plan.replace(rows=[row.replace(published="flow") for row in plan.rows]).to_yaml(
        grid / "tables" / "table.yaml"
    )
    parts = {part.name: part for part in chapter(read(grid), grid).parts}
    assert parts["published"].note.startswith("Ours were tested on 24 clips; on different data")


def test_a_rendered_tree_is_not_gtea61_whatever_its_size(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "TEST_CLIPS", 24)
    plan = read(grid).plan
    plan.replace(rows=[row.replace(published="flow") for row in plan.rows]).to_yaml(
        grid / "tables" / "table.yaml"
    )
    assert results.published_section(read(grid)).note == ""
    tree = tmp_path / "kitchen"
    tree.mkdir()
    for made_up in (False, True):
        if made_up:
            (tree / "synthetic.yaml").touch()
        (grid / "a0" / "config.yaml").write_text(f"data: {tree}\n")
        assert ("which is rendered" in results.published_section(read(grid)).note) == made_up


def test_classes_of_rows_tested_on_other_clips_are_not_shown_as_these(grid):
    found = Predictions.load(grid / "b0" / "predictions.npz")
    replace(found, keys=("S2/another/1", *found.keys[1:])).save(grid / "b0" / "predictions.npz")
    make_plan(grid, {"better": ["a0"], "worse": ["b0"]})
    assert classes.class_table(read(grid).rows).header == ["class", "clips", "better"]


def test_a_baseline_that_has_not_finished_is_named(grid):
    make_plan(grid, {"better": ["a0"], "worse": ["b0"], "plain": ["never"]}, baseline="plain")
    (found,) = [part for part in chapter(read(grid), grid).parts if part.name == "comparisons"]
    assert found.note == "plain, the baseline, has no finished run yet." and found.table is None


def test_commands_can_be_copied_and_name_what_was_not_run(grid):
    make_plan(grid, {"better": ["a0", "gone"]})
    text = commands_of(read(grid).rows[0])
    assert "\npython train_rgb.py --seed 0\n" in text and text.endswith("python train_rgb.py --seed 1")
    assert "# started by: python x.py" in text and "commit abc" in text and "# seed 1, not started" in text


def test_published_numbers_are_those_of_the_docs():
    of_gtea, _, _ = (ROOT / "docs" / "published.md").read_text(encoding="utf-8").partition("\n## ")
    lines = of_gtea.splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")][1:]
    kinds = ("convlstm", "attention", "flow", "joint", "classification", "regression")
    assert len(table) == len(results.SOURCES)
    for (name, *cells), source in zip(table, results.SOURCES, strict=True):
        frames = ["25"] if "25 frames" in name else ["7", "16", "25"]
        found = {
            kind if kind == "flow" else f"{kind}-{length}": float(number)
            for kind, cell in zip(kinds, cells, strict=True)
            for length, number in zip(frames, re.split(" ?/ ?", cell), strict=False)
            if number not in ("", "-")
        }
        assert found == source.top1, name


def test_published_numbers_stand_next_to_the_rows_that_ask_for_them(grid):
    plan = read(grid).plan
    rows = (plan.rows[0].replace(published="attention"), plan.rows[1])
    make_run(grid / "a0", right_but(), protocol="25 frames, centre crop")
    plan.replace(rows=rows).to_yaml(grid / "tables" / "table.yaml")
    table = results.published_section(read(grid)).table
    assert [cells[0] for cells in texts(table)] == ["better", "better"]
    assert column(table, "theirs %")[0] == "63.8" and column(table, "difference")[0] == "+32.0"
    assert results.reproduces(read(grid).rows[1]) == ""
