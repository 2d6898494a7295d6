"""The loop on a toy problem: resuming, selection, refusals, and what lands in the run directory."""

import json

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.run_dir import RunDirectory, read_eval
from core.train_config import TrainConfig
from tests.support.toy import KEYS, Toy, data, interrupt, rows, run
from training.fit import TimedBatches, epoch_line


def test_a_finished_run_holds_every_file(tmp_path):
    summary, model = run(tmp_path / "run")
    names = {p.name for p in (tmp_path / "run").iterdir()}
    files = (
        "config.yaml env.json metrics.csv last.pt best.pt eval.json cost.json predictions.npz confusion.png"
    )
    assert {*files.split(), "curves.png", "per_class.csv", "tensorboard"} <= names
    assert read_eval(tmp_path / "run") == json.loads(json.dumps(summary))
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    on_gpu = torch.cuda.is_available()
    assert ("CPU" in cost["device"]) == (cost["peak_gpu_memory_gib"] is None) == (not on_gpu)
    assert cost["peak_memory_gib"] * 2**30 > sum(p.numel() * p.element_size() for p in model.parameters())
    assert 0.05 < cost["peak_memory_gib"] < 64, "a wrong unit is 1024 times off"
    saved = np.load(tmp_path / "run" / "predictions.npz")
    x, labels = data()
    with torch.no_grad():
        logits = model.eval()(x).logits.numpy()
    assert saved["clip"].tolist() == list(KEYS)
    np.testing.assert_array_equal(saved["label"], labels.numpy())
    np.testing.assert_allclose(saved["logits"], logits, rtol=1e-5, atol=1e-6)
    accuracy = 100 * (logits.argmax(1) == labels.numpy()).mean()
    assert (
        summary["top1"]
        == pytest.approx(accuracy)
        == pytest.approx(float(rows(tmp_path / "run")[-1]["accuracy"]))
    )
    assert summary["n_clips"] == 24 and summary["epoch"] == 4 and summary["selection"] == "last_epoch"
    assert summary["selected"]["selection"] == "best_on_test"
    assert summary["selected"]["top1"] >= summary["top1"]


def test_the_schedule_steps_after_the_epoch(tmp_path):
    run(tmp_path / "run")
    lrs = [float(row["lr"]) for row in rows(tmp_path / "run") if row["split"] == "train"]
    assert lrs == pytest.approx([0.05, 0.05, 0.005, 0.005])


def test_only_the_stages_parameters_move(tmp_path):
    _, model = run(tmp_path / "run")
    fresh = Toy()
    assert torch.equal(model.norm.running_mean, fresh.norm.running_mean)
    assert torch.equal(model.norm.weight, fresh.norm.weight)
    assert int(model.norm.num_batches_tracked) == 0


@pytest.mark.parametrize("stop_after", [1, 3])
def test_resuming_gives_the_same_bits(tmp_path, stop_after):
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halved", at_epoch=interrupt(stop_after + 1))
    run(tmp_path / "halved", resume=True)
    assert rows(tmp_path / "whole") == rows(tmp_path / "halved")
    whole, halved = (
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "halved")
    )
    for key, value in whole["model"].items():
        assert torch.equal(value, halved["model"][key]), key
    assert str(whole["optimizer"]) == str(halved["optimizer"])


def test_validation_selects_and_is_said(tmp_path):
    summary, _ = run(tmp_path / "run", val=True)
    assert summary["selected"]["selection"] == "best_on_val"
    assert summary["selected"]["selected_with"] == "the first nine" and summary["protocol"] == "every clip"
    assert summary["n_clips"] == summary["selected"]["n_clips"] == 24, "what is reported is of the test items"
    assert {row["split"] for row in rows(tmp_path / "run")} == {"train", "val"}


def test_measuring_less_often_does_not_change_training(tmp_path):
    run(tmp_path / "often")
    run(tmp_path / "seldom", eval_every=3)
    train = [[r for r in rows(tmp_path / n) if r["split"] == "train"] for n in ("often", "seldom")]
    assert train[0] == train[1]
    assert [r["epoch"] for r in rows(tmp_path / "seldom") if r["split"] == "test"] == ["3", "4"]


def test_a_loss_that_is_not_finite_names_the_clips_and_keeps_the_state(tmp_path):
    with pytest.raises(UserError, match="clip7") as error:
        run(tmp_path / "run", poison=1)
    assert "epoch 1" in str(error.value)
    assert not (tmp_path / "run" / "eval.json").exists()


def test_out_is_never_overwritten(tmp_path):
    run(tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match="finished run"):
        run(tmp_path / "run", epochs=1, resume=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="no run"):
        run(other)
    assert (other / "thesis.tex").read_text() == "precious"
    (tmp_path / "run" / "eval.json").unlink()
    with pytest.raises(UserError, match="--resume"):
        run(tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match="--seed 0, now it is 5"):
        run(tmp_path / "run", epochs=1, resume=True, seed=5)


def test_two_processes_in_one_folder(tmp_path):
    config = TrainConfig(out=tmp_path / "run")
    with RunDirectory.begin(config):
        with pytest.raises(UserError, match="another process"):
            RunDirectory.begin(config.replace(resume=True))
    with RunDirectory.begin(config.replace(resume=True)):
        pass


def test_reading_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        RunDirectory.finished(tmp_path / "none")
    with pytest.raises(UserError, match="last.pt"):
        RunDirectory.finished(tmp_path)
    with pytest.raises(UserError, match="eval.json"):
        read_eval(tmp_path)


def test_only_the_time_until_a_batch_is_there_counts_as_waiting():
    clock = [0.0]

    def slow():
        for number in range(3):
            clock[0] += 2.0
            yield number

    timed = TimedBatches(slow(), lambda: clock[0])
    for _ in timed:
        clock[0] += 5.0
    assert timed.waited_sec == 6.0
    row = {"epoch": 1, "split": "train", "loss": 1.0, "accuracy": 2.0, "seconds": 21.0, "clips_per_sec": 3.0}
    assert epoch_line([row], 4, timed.waited_sec).endswith("3.0 clips/s, 29 % of the time waiting for data")
    assert epoch_line([row], 4, 0.0, "frames").endswith("3.0 frames/s, 0 % of the time waiting for data")
