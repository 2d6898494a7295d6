"""A report from run directories that no grid has made."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import report
from metrics.predictions import Predictions
from reporting.chapter import data_sentence
from reporting.collect import read_runs
from reporting.results import shared_scores
from tests.support.fake_grid import make_run, right_but


def run_of(folder, seed, predicted=None, **settings):
    """A finished run with settings as a training writes them."""
    make_run(folder, predicted or right_but(seed), n_train=40)
    known = {"seed": seed, "out": str(folder), "workers": seed, "data": "clips/kitchen", "lr": 0.1}
    known |= {"train_users": ["S1", "S3"], "test_users": ["S2"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(known | settings))
    (folder / "last.pt").write_bytes(b"")
    return folder


@pytest.fixture
def runs(tmp_path):
    first = [run_of(tmp_path / f"a{seed}", seed) for seed in (0, 1)]
    return [*first, run_of(tmp_path / "b", 0, right_but(1, 2, 3), lr=0.2)]


def test_runs_that_differ_in_their_seed_alone_are_a_row(runs):
    table = read_runs(runs)
    assert [row.name for row in table.rows] == ["a0", "b"]
    assert [run.plan.seed for run in table.rows[0].finished] == [0, 1]
    assert table.plan.inputs == {"data": Path("clips/kitchen")}


def test_runs_from_other_parents_are_other_rows(tmp_path):
    parents = [run_of(tmp_path / f"p{k}", k, lr=lr) for k, lr in enumerate((0.1, 0.1, 0.3))]
    children = [
        run_of(tmp_path / f"c{k}", k, init=str(parent), init_sha256=str(k))
        for k, parent in enumerate(parents)
    ]
    assert [[run.folder.name for run in row.finished] for row in read_runs(children).rows] == [
        ["c0", "c1"],
        ["c2"],
    ]


def test_seeds_of_parents_count_where_the_runs_own_are_one(tmp_path):
    parents = [run_of(tmp_path / f"p{seed}", seed, right_but(*range(seed))) for seed in range(3)]
    shared = run_of(tmp_path / "shared", 7, lr=1.0)  # a start that all seeds have in common tells none apart
    children = [
        run_of(tmp_path / f"c{k}", 0, right_but(*range(k)), init=str(parent), weights=str(shared))
        for k, parent in enumerate(parents)
    ]
    rows = read_runs([*parents, *children]).rows
    assert [[run.plan.seed for run in row.finished] for row in rows] == [[0, 1, 2], [0, 1, 2]]
    ours, theirs = shared_scores(rows[1], rows[0])
    assert ours.shape == (3, 24) and (ours == theirs).all()


def test_the_same_seed_twice_is_no_second_seed(tmp_path):
    runs = [run_of(tmp_path / f"{name}{seed}", seed) for name in "ab" for seed in (0, 1)]
    assert [[run.folder.name for run in row.finished] for row in read_runs(runs).rows] == [
        ["a0", "a1"],
        ["b0", "b1"],
    ]


def test_a_run_on_other_clips_is_another_row(tmp_path):
    runs = [run_of(tmp_path / f"a{seed}", seed) for seed in (0, 1)]
    found = Predictions.load(runs[1] / "predictions.npz")
    replace(found, keys=("S2/another/1", *found.keys[1:])).save(runs[1] / "predictions.npz")
    assert [row.name for row in read_runs(runs).rows] == ["a0", "a1"]


def test_the_page_says_which_clips_and_takes_a_title(runs, tmp_path):
    out = tmp_path / "page"
    assert report.main(report.Config(runs=tuple(runs), out=out, title="My <kitchen>")) == 0
    text = (out / "index.html").read_text()
    assert "<h1>My &lt;kitchen&gt;</h1>" in text
    assert data_sentence(read_runs(runs)) in re.sub(r"\s+", " ", text)
    assert data_sentence(read_runs(runs)).startswith(
        "Trained on 40 clips of S1 S3, tested on 24 clips of S2, data kitchen; one test clip is 4.17"
    )
    first = text.index("<svg")
    assert first < text.index("<table"), "it begins with a picture"
    for link in re.findall(r'href="([^#"][^"]*)"', text):
        assert link.startswith("data:") or (out / link).exists(), link


def test_a_fact_on_which_runs_disagree_is_not_claimed(tmp_path):
    runs = [run_of(tmp_path / "a", 0), run_of(tmp_path / "b", 0, lr=1, train_users=["S4"])]
    assert data_sentence(read_runs(runs)).startswith("Trained on 40 clips of different users, tested on 24")


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ((), "either --grid"),
        (("--grid", "g", "--runs", "a0"), "either --grid"),
        (("--runs", "a0", "a0"), "--runs names .*a0 twice"),
        (("--runs", "nowhere"), "nowhere"),
    ],
)
def test_what_is_no_list_of_runs_is_refused(runs, tmp_path, command, arguments, problem):
    arguments = [tmp_path / word if word in ("a0", "nowhere") else word for word in arguments]
    status, _, err = command(report.main, report.Config, *arguments, "--out", tmp_path / "page")
    assert status == 2 and re.search(problem, err), err
    assert not (tmp_path / "page").exists()


def test_a_run_without_its_numbers_is_named(runs, command, tmp_path):
    content = json.loads((runs[0] / "eval.json").read_text())
    (runs[0] / "eval.json").write_text(json.dumps(content | {"top1": "many"}))
    status, _, err = command(report.main, report.Config, "--runs", *runs, "--out", tmp_path / "page")
    assert status == 2 and str(runs[0] / "eval.json") in err
