"""Numbers that can't lie: what would make one wrong in silence stops the run, or is said beside it."""

import numpy as np
import pytest
import torch

from core.checkpoint import load_checkpoint
from core.errors import UserError
from core.stage import Stage
from core.task import Classification
from metrics.predictions import Predictions, check_logits
from tests.support import toy
from tests.support.toy import KEYS, NAMES, Toy, batches, interrupt, rows, run, stage
from training.evaluate import predict


def test_a_step_that_breaks_the_weights_keeps_the_state_before_it(tmp_path, monkeypatch):
    """The last step of an epoch, whose loss was finite: no loss would show it before it is saved."""
    optimizer = Stage.build_optimizer

    def breaking(stage, model):
        made, steps = optimizer(stage, model), []

        def step(*_):
            steps.append(0)
            if len(steps) == 6:  # the last of epoch 2
                with torch.no_grad():
                    model.classifier.bias[0] = torch.inf

        made.register_step_post_hook(step)
        return made

    monkeypatch.setattr(Stage, "build_optimizer", breaking)
    with pytest.raises(UserError, match=r"classifier.bias .* epoch 2, at the clips clip\d+, .*epoch 1 is"):
        run(tmp_path / "run")
    kept = load_checkpoint(tmp_path / "run" / "last.pt")
    assert kept["epoch"] == 1 and torch.isfinite(kept["model"]["classifier.bias"]).all()
    assert len(rows(tmp_path / "run")) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_no_predictions(value):
    logits = np.zeros((3, 2))
    logits[1, 0] = value
    with pytest.raises(UserError, match=r"1 of 3 clips are not finite \(b\)"):
        check_logits(logits, ["a", "b", "c"])


class Twice(Toy):
    def forward(self, x):
        output = super().forward(x)
        return output._replace(logits=output.logits.softmax(dim=1))


def test_a_softmax_can_not_be_taken_twice(tmp_path):
    with pytest.raises(UserError, match="softmax would be taken twice"):
        predict(Classification(Twice(), ("x",)), batches(np.arange(24)), KEYS)
    chances = np.full((4, 3), 1 / 3)
    Predictions(KEYS[:4], np.array([0, 1, 2, 0]), chances, 0.0, {}).save(tmp_path / "a.npz")
    with pytest.raises(UserError, match="a.npz .*softmax would be taken twice"):
        Predictions.load(tmp_path / "a.npz")
    check_logits(np.log(chances), KEYS[:4])


def test_no_clip_is_left_out_of_a_measurement_or_counted_twice():
    task, every = Classification(Toy(), ("x",)), batches(np.arange(24))
    assert len(predict(task, every, KEYS).keys) == 24
    with pytest.raises(AssertionError, match="24 items were to be evaluated, 16 were"):
        predict(task, every[:2], KEYS)
    with pytest.raises(AssertionError, match="twice"):
        predict(task, [*every, every[0]], KEYS)


def test_the_last_epoch_is_reported_however_good_an_earlier_one_was(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "stage", lambda epochs: stage(epochs).override(lr=2.0, milestones=()))
    summary, _ = run(tmp_path / "run", epochs=2)
    found = [float(row["accuracy"]) for row in rows(tmp_path / "run") if row["split"] == "test"]
    assert found[-1] < max(found), "the rate is so high that the second epoch spoils the first"
    assert (summary["top1"], summary["epoch"]) == (pytest.approx(found[-1]), 2)
    assert (summary["selected"]["top1"], summary["selected"]["epoch"]) == (pytest.approx(found[0]), 1)


def test_items_come_back_in_their_order_and_each_counts_once_in_the_mean_loss():
    """Batches of 7, 7, 7 and 3, shuffled: a mean over batches would count the last ones more than twice."""
    torch.manual_seed(0)
    task, (x, labels) = Classification(Toy(), ("x",), keep=("features",)), toy.data()
    stage().set_modes(task.model)
    found = predict(task, batches(np.random.default_rng(0).permutation(24), size=7), KEYS)
    assert task.model.dropout.training and not task.model.norm.training, "as they were"
    with torch.no_grad():
        features, logits = task.model.eval()(x).features, task.model(x).logits
    assert found.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(found.logits, logits, rtol=1e-5)
    np.testing.assert_allclose(found.details["features"], features, rtol=1e-5)
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


@pytest.mark.parametrize(
    "name,value,said",
    [
        ("NAMES", ("left", "up", "right"), "other classes"),
        ("KEYS", (*KEYS[:23], "a new clip"), "other clips"),
        ("IMAGES", {"train": "24 def"}, "other frames of the clips"),
    ],
)
def test_data_that_changed_under_a_stopped_run_is_refused(tmp_path, monkeypatch, name, value, said):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", at_epoch=interrupt(2))
    before = (tmp_path / "run" / "last.pt").read_bytes()
    assert (NAMES, KEYS) == (toy.NAMES, toy.KEYS)
    monkeypatch.setattr(toy, name, value)
    with pytest.raises(UserError, match=said):
        run(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
