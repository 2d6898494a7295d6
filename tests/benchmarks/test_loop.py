"""The loop's own cost, as the benchmark times it."""

import pytest

from benchmarks.loop import loop_ways
from benchmarks.run import BenchmarkConfig
from benchmarks.steps import Size
from benchmarks.tables import write_tables
from core.errors import UserError
from tests.support.trees import png_tree


def test_epochs_of_a_network_that_does_nothing_run_on_a_tree(tmp_path, capsys):
    tree = png_tree(tmp_path / "tree", maps=False, flow=False)
    ways, steps = loop_ways(tree, 5, Size(batch=2, frames=3, side=32), tmp_path)
    assert list(ways) == [
        "crops alone",
        "held, 0 workers",
        "read, 0 workers",
        "held, 1 workers",
        "read, 1 workers",
    ]
    assert steps == 2, "a single clip joins the batch before"
    for name in list(ways)[:4]:
        ways[name]()
    assert capsys.readouterr().out.count("of frames in RAM") == 2


def test_its_table():
    table = write_tables(
        {"loop": {"steps": 2, "seconds": {"crops alone": [0.1, 0.3, 0.2], "held": [0.2, 0.6, 0.4]}}}
    )
    assert table["loop"].splitlines()[2:] == [
        "| crops alone | 100.0 | 200.0 | 1.00 |",
        "| held | 200.0 | 400.0 | 2.00 |",
    ]


def test_a_gpu_has_tables_of_its_own(tmp_path):
    with pytest.raises(UserError, match="--tables memory: on a GPU these are not measured"):
        BenchmarkConfig(device="cuda", tables=("memory", "loop"))
    with pytest.raises(UserError, match="--write"):
        BenchmarkConfig(device="cuda", write=tmp_path / "page.md")
