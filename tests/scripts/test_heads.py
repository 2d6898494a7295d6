"""Every temporal head through the scripts: both stages from kept outputs in bfloat16, and its heat drawn."""

import pytest

import cam_viz
import train_rgb
from core.run_dir import read_eval
from models.temporal import HEADS
from models.temporal.base import TemporalHead
from tests.support.small_runs import stage_1_config, stage_2_config


@pytest.mark.parametrize(
    "name", [name if name == "trn" else pytest.param(name, marks=pytest.mark.stress) for name in HEADS]
)
def test_a_head_trains_and_is_drawn(name, tree, frame_run, tmp_path):
    again = {"epochs": 1, "cache": tmp_path / "cache", "amp": "bf16"}
    runs = first, second = tmp_path / "1", tmp_path / "2"
    train_rgb.main(
        stage_1_config(tree, frame_run, first, temporal=name, predict="every-frame-rising", **again)
    )
    train_rgb.main(stage_2_config(tree, first, second, **again))
    assert [read_eval(run)["n_clips"] for run in runs] == [12, 12]
    for heat in ("attention", "cam")[: 1 + (HEADS[name].cell_features is not TemporalHead.cell_features)]:
        out = tmp_path / heat
        cam_viz.main(cam_viz.Config(runs=runs, heat=heat, data=tree, clips=("S2/open_jam/1",), out=out))
        assert (out / "S2_open_jam_1.png").exists()
