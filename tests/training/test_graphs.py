"""Steps on fixed buffers, replayed: all of it but the recording itself, which only a GPU can make."""

import numpy as np
import pytest
import torch

from core.seeding import seed_everything
from core.stage import Group, Stage
from core.task import Classification
from tests.support.toy import Toy, batches
from training.graphs import GraphedStep, Snapshot, lay_out
from training.record import learned
from training.step import Step

CPU = torch.device("cpu")
STAGES = {
    name: Stage("toy", (Group(("*",)),), ("norm", "dropout"), name, 0.05, 0.01, (1,), 0.1, 3)
    for name in ("adam", "sgd")
}


def called_again(step):
    """A stand-in for a recording: its replay is another call, which leaves its result where the first did."""
    step()
    output = torch.empty_like(step())
    return lambda: output.copy_(step()), output


def trained(optimizer, record=None, said=None):
    """Three epochs with batches of 7 and a last one of 3, under a rate that falls; what they returned."""
    torch.manual_seed(1)
    model, stage = Toy(), STAGES[optimizer]
    stage.set_modes(model)
    made = stage.build_optimizer(model)
    schedule = stage.build_scheduler(made)
    step = Step(Classification(model, ("x",)), made, CPU)
    if record is not None:
        step = GraphedStep(step, model, (said if said is not None else []).append, record)
    rows = []
    for epoch in range(3):
        seed_everything(0, epoch)
        rows += [step(batch).tolist() for batch in batches(np.arange(24), size=7)]
        schedule.step()
    assert [type(group["lr"]) for group in made.param_groups] == [float], "a checkpoint holds plain numbers"
    return rows, model, made


@pytest.mark.parametrize("optimizer", STAGES)
def test_replayed_training_is_plain_training(optimizer):
    """Batch norm in train mode, dropout, weight decay and a falling rate; a smaller batch between replays."""
    said = []
    rows, model, made = trained(optimizer)
    rows_again, model_again, made_again = trained(optimizer, called_again, said)
    assert said == ["steps are replayed as one CUDA graph"]
    np.testing.assert_allclose(rows_again, rows, rtol=1e-4, atol=1e-5)
    assert [row[-1] for row in rows] == [row[-1] for row in rows_again], "the same were right"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(model_again.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    for one, other in zip(made.state.values(), made_again.state.values(), strict=True):
        for name in one:
            torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-5)


def test_every_replay_drops_other_units():
    torch.manual_seed(1)
    model = Toy()
    model.train()
    made = torch.optim.SGD(model.parameters(), 1e-9, fused=True)
    step = GraphedStep(Step(Classification(model, ("x",)), made, CPU), model, print, called_again)
    batch = batches(np.arange(24))[0]
    losses = [float(step(batch)[0]) for _ in range(5)]
    assert len(set(losses)) == 5


def broken(step):
    step()
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def doing_nothing(step):
    output = step()
    return lambda: None, output


def without_gradients(step):
    """A replay that raises."""
    output = torch.empty_like(step())

    def replay():
        with torch.no_grad():
            output.copy_(step())

    return replay, output


def forgetting(step):
    """A replay that takes another step than it says."""
    output = torch.empty_like(step())

    def replay():
        output.copy_(step())
        for _ in range(5):
            step()

    return replay, output


@pytest.mark.parametrize(
    "record, why",
    [
        (broken, "not permitted when stream is capturing"),
        (doing_nothing, "a plain one"),
        (without_gradients, "does not require grad"),
        (forgetting, "a plain one"),
    ],
)
def test_a_recording_that_fails_or_differs_leaves_plain_steps_and_the_state(record, why):
    for optimizer in STAGES:
        said = []
        rows, model, _ = trained(optimizer)
        rows_again, model_again, _ = trained(optimizer, record, said)
        assert len(said) == 1 and said[0].startswith("note: steps are not recorded") and why in said[0]
        assert "and more" not in said[0]
        assert rows == rows_again
        assert all(
            torch.equal(value, model_again.state_dict()[name]) for name, value in model.state_dict().items()
        )


def test_a_snapshot_goes_back_in_the_same_memory():
    torch.manual_seed(1)
    model = Toy()
    model.train()
    made = torch.optim.Adam(model.parameters(), 0.1, fused=True)
    step = Step(Classification(model, ("x",)), made, CPU)
    batch = batches(np.arange(24))[0]
    start = Snapshot(model, made, CPU)
    first = step(batch).tolist()
    places = [value.data_ptr() for value in learned(model).values()]
    second = Snapshot(model, made, CPU)
    following = step(batch).tolist()
    second.restore()
    assert step(batch).tolist() == following
    start.restore()
    assert step(batch).tolist() == first != following
    assert places == [value.data_ptr() for value in learned(model).values()]


def test_weights_and_what_the_optimiser_has_for_them_are_laid_out_alike():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 1), torch.nn.Conv2d(2, 2, 3))
    net[2].requires_grad_(False)
    made = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.1, fused=True)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    made.step()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    moments = [state["exp_avg"].clone() for state in made.state.values()]
    for layout in (torch.channels_last, torch.contiguous_format):
        lay_out(net, made, layout)
        assert net[0].weight.is_contiguous(memory_format=layout) and net[2].weight.is_contiguous()
        for parameter, state in made.state.items():
            assert state["exp_avg"].stride() == parameter.stride()
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert all(map(torch.equal, moments, (state["exp_avg"] for state in made.state.values())))
        net(torch.randn(2, 3, 8, 8)).sum().backward()
