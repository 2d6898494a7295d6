"""Every temporal head through the scripts: both stages from kept outputs in bfloat16, and its heat drawn."""

import pytest

import cam_viz
import train_rgb
import training.run
from core.run_dir import read_eval
from models.temporal import HEADS
from models.temporal.base import TemporalHead
from tests.support.small_runs import stage_1_config, stage_2_config


@pytest.mark.parametrize(
    "name", [name if name == "trn" else pytest.param(name, marks=pytest.mark.stress) for name in HEADS]
)
def test_a_head_trains_and_is_drawn(name, tree, frame_run, tmp_path, monkeypatch, capsys):
    """Where bfloat16 is emulated, which stage 1 is told here, the training says that it is slow."""
    again = {"epochs": 1, "cache": tmp_path / "cache", "amp": "bf16"}
    runs = first, second = tmp_path / "1", tmp_path / "2"
    monkeypatch.setattr(training.run, "computes_bfloat16", lambda device: False)
    train_rgb.main(
        stage_1_config(tree, frame_run, first, temporal=name, predict="every-frame-rising", **again)
    )
    assert (slow := "--amp bf16 is slower than off here") in capsys.readouterr().out
    monkeypatch.setattr(training.run, "computes_bfloat16", lambda device: True)
    train_rgb.main(stage_2_config(tree, first, second, **again))
    assert slow not in capsys.readouterr().out
    assert [read_eval(run)["n_clips"] for run in runs] == [12, 12]
    for heat in ("attention", "cam")[: 1 + (HEADS[name].cell_features is not TemporalHead.cell_features)]:
        out = tmp_path / heat
        cam_viz.main(cam_viz.Config(runs=runs, heat=heat, data=tree, clips=("S2/open_jam/1",), out=out))
        assert (out / "S2_open_jam_1.png").exists()
