"""Names of runs in pictures."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.run_dir import run_names


@pytest.mark.parametrize(
    "runs, names",
    [
        (["runs/rgb2"], ["rgb2"]),
        (["runs/rgb1", "runs/rgb2"], ["rgb1", "rgb2"]),
        (["runs/rgb/seed0", "runs/flow/seed0"], ["rgb", "flow"]),
        (["runs/rgb/seed0", "runs/rgb/seed1"], ["seed0", "seed1"]),
        (["runs/rgb-7-seed0-0123456789", "runs/flow-seed0-abcdef0123"], ["rgb-7", "flow"]),
        (
            ["runs/rgb-seed0-0123456789", "runs/rgb-seed1-abcdef0123"],
            ["rgb-seed0-0123456789", "rgb-seed1-abcdef0123"],
        ),
        (["a/rgb/seed0", "b/rgb/seed0", "b/rgb/seed1"], ["a_rgb_seed0", "b_rgb_seed0", "b_rgb_seed1"]),
    ],
)
def test_names_tell_runs_apart_and_no_more(tmp_path, runs, names):
    assert run_names([tmp_path / run for run in runs]) == names


def test_the_same_run_twice():
    with pytest.raises(UserError, match="same run twice"):
        run_names([Path("runs/rgb"), Path("runs/../runs/rgb")])
