"""What the benchmarks time are the same steps, whichever way they are taken."""

import math

import pytest
import torch

from benchmarks.run import tensor_peak
from benchmarks.steps import (
    EXACT,
    KEPT,
    PARTS,
    PLAIN,
    Size,
    Step,
    alternate,
    build,
    gradient,
    gradient_error,
    in_double,
    speedup,
)
from tests.support.thin import thin_networks

# With two clips a ReLU of so thin a network lies within float32's rounding of 0 in stage 2, whatever the way.
SMALL = Size(batch=3, frames=3, side=64, hidden=8, backbone="resnet18")


@pytest.fixture(autouse=True)
def thin():
    """A backbone an eighth as wide: what is compared is how a step is taken."""
    with thin_networks():
        yield


@pytest.mark.parametrize("part", PARTS)
def test_every_way_has_the_loss_and_the_gradient_of_the_plain_loop(part):
    exact = in_double(build(part, PLAIN, SMALL))
    loss, true = float(exact.loss().detach()), gradient(exact)
    assert loss == pytest.approx(math.log(61), rel=0.5), "a classifier that knows nothing"
    for way in (PLAIN, EXACT, KEPT):
        step = build(part, way, SMALL)
        assert float(step.loss().detach()) == pytest.approx(loss, rel=1e-5)
        assert gradient_error(gradient(step), true) < 1e-3
    if part != "flow":
        half = build(part, KEPT, SMALL, "float16")
        assert 0 < gradient_error(gradient(half), true) < 0.1


@pytest.mark.stress
@pytest.mark.parametrize("part", PARTS)
def test_a_compiled_step_is_the_same_step(part):
    """As far as tracing goes; what makes machine code of it takes minutes, and is PyTorch's."""
    step, compiled = build(part, EXACT, SMALL), build(part, EXACT, SMALL)
    compiled.model.compile(backend="eager")
    true = gradient(step)
    assert gradient_error(gradient(compiled), true) < 1e-3
    assert float(compiled.loss().detach()) == pytest.approx(float(step.loss().detach()), rel=1e-5)


def test_a_wrong_gradient_is_told():
    true = gradient(in_double(build("stage 1", PLAIN, SMALL)))
    wrong = true | {"classifier.bias": true["classifier.bias"] * 1.5}
    assert gradient_error(wrong, true) > 1e-3
    with pytest.raises(AssertionError, match=r"classifier\.bias"):
        gradient_error({name: value for name, value in true.items() if name != "classifier.bias"}, true)


def test_alternation_and_ratios():
    order = []
    found = alternate({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == ["a", "b"] * 4 and [len(times) for times in found.values()] == [3, 3]
    assert speedup([2.0, 9.0, 4.0], [1.0, 1.0, 2.0]) == 2.0


def test_the_tensors_of_a_step_are_counted():
    """A product's gradients and what they are made from: eight million bytes and no more."""
    weight = torch.nn.Parameter(torch.ones(1000, 1000))

    class Product(torch.nn.Module):
        def forward(self, given):
            return (given @ weight).sum().view(1, 1).expand(1, 2)

    optimizer = torch.optim.SGD([weight], 0.1)
    step = Step(
        Product(), lambda: {"given": torch.ones(1, 1000)}, torch.zeros(1, dtype=torch.long), optimizer
    )
    assert 4e6 < tensor_peak(step) < 1e7
