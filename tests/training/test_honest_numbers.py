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
from tests.support.toy import KEYS, NAMES, Toy, batches, interrupt, rows, run
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
