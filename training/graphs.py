"""Steps as one CUDA graph: recorded once, then replayed with new batches in the same memory.

A step of some hundred small kernels takes the CPU longer to launch than a GPU to run; a graph is launched at
once. It computes on buffers that each batch is copied into, reads learning rates from the device, and draws
other noise at every replay, since PyTorch moves the generator on by as much as the step had drawn.

The first batch decides. Steps are taken on it plainly, then recorded and replayed from the same state; only
if both agree are graphs used, and either way training then begins from that state. What fits no recording, a
smaller last batch, is a plain step.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core.task import Batch
from training.record import learned
from training.step import Step

Recorded = tuple[Callable[[], object], Tensor]
"""What replays a step, and where it leaves what the step returned."""

_TRIED = 3  # steps that are compared
_WARM_UP = 3  # steps before a recording, in which libraries choose and prepare what they use
# Largest relative differences of the losses, and of what was learned, that count as the same.
_LOSS, _LEARNED = {False: 1e-3, True: 2e-2}, {False: 0.05, True: 0.2}  # without and with bfloat16


class GraphedStep(Step):
    """Takes steps by replaying a recording, where that gives what plain steps give."""

    def __init__(
        self,
        plain: Step,
        model: nn.Module,
        say: Callable[[str], None],
        record: Callable[[Callable[[], Tensor]], Recorded] | None = None,
    ) -> None:
        """Record nothing yet.

        Args:
            plain: The step.
            model: Whose state it changes.
            say: Prints a message.
            record: Makes a recording of a step; None records a CUDA graph.
        """
        super().__init__(plain.task, plain.optimizer, plain.device, plain.bf16)
        self.model, self.say = model, say
        self.record = record or record_graph
        self._tried = False
        self._inputs: Batch = {}
        self._recorded: Recorded | None = None
        self._rates = [torch.zeros((), device=self.device) for _ in self.optimizer.param_groups]
        self._last_rates = list[float]()

    def __call__(self, batch: Batch, weight: float = 1.0) -> Tensor:
        """Take a step, as `Step` does."""
        if not self._tried:
            self._tried = True
            self._try(batch)
        if self._recorded is None or weight != 1.0 or not self._fits(batch):
            return super().__call__(batch, weight)
        for name, buffer in self._inputs.items():
            buffer.copy_(batch[name], non_blocking=True)
        return self._replay().clone()

    def _fits(self, batch: Batch) -> bool:
        return {name: tensor.shape for name, tensor in batch.items()} == {
            name: buffer.shape for name, buffer in self._inputs.items()
        }

    def _replay(self) -> Tensor:
        assert self._recorded is not None
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if rates != self._last_rates:  # the schedule has changed one
            self._last_rates = rates
            for on_device, rate in zip(self._rates, rates, strict=True):
                on_device.fill_(rate)
        replay, output = self._recorded
        replay()
        return output

    def _try(self, batch: Batch) -> None:
        """Record the step if that is possible and gives the same; the state is left as it was."""
        start = Snapshot(self.model, self.optimizer, self.device)
        try:
            self._inputs = {name: tensor.to(self.device, copy=True) for name, tensor in batch.items()}
            on_gpu_in_bf16 = self.bf16 and self.device.type == "cuda"
            if on_gpu_in_bf16:
                lay_out(self.model, self.optimizer, torch.channels_last)
            wanted = self._outcome(partial(super().__call__, self._inputs), start)
            self._recorded = self.record(self._step_on_buffers)
            found = self._outcome(self._replay, start)
            why = self._difference(wanted, found, start)
        except Exception as error:  # whatever it is, plain steps need no recording
            why = (str(error).splitlines() or [type(error).__name__])[0]
        if why:
            self._inputs, self._recorded = {}, None
            lay_out(self.model, self.optimizer, torch.contiguous_format)
            self.say(
                f"note: steps are not recorded as a CUDA graph, each is launched kernel by kernel: {why}"
            )
        else:
            self.say("steps are replayed as one CUDA graph")
        start.restore()

    def _step_on_buffers(self) -> Tensor:
        with _rates_from(self._rates, self.optimizer):
            return super().__call__(self._inputs)

    def _outcome(
        self, step: Callable[[], Tensor], start: "Snapshot"
    ) -> tuple[list[list[float]], dict[str, Tensor]]:
        """Take some steps from the start: what they return, and the state then."""
        start.restore()
        rows = [step().tolist() for _ in range(_TRIED)]
        return rows, {name: value.clone() for name, value in learned(self.model).items()}

    def _difference(
        self,
        wanted: tuple[list[list[float]], dict[str, Tensor]],
        found: tuple[list[list[float]], dict[str, Tensor]],
        start: "Snapshot",
    ) -> str:
        """Say how two outcomes differ; empty where they are the same."""
        for one, other in zip(wanted[0], found[0], strict=True):
            for name, loss, again in zip(self.names, one, other, strict=False):
                if not abs(loss - again) <= _LOSS[self.bf16] * max(1.0, abs(loss)):
                    return f"a recorded step had the {name} {again:.6g}, a plain one {loss:.6g}"
        moved = _distance(wanted[1], start.model)
        if not _distance(wanted[1], found[1]) <= _LEARNED[self.bf16] * moved:
            return "recorded steps learned something else than plain ones"
        return ""


class Snapshot:
    """State of a model, its optimiser and the random numbers, to go back to in the same memory."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, device: torch.device) -> None:
        """Copy the present state."""
        self.owner, self.optimizer, self.device = model, optimizer, device
        self.model = {name: value.clone() for name, value in learned(model).items()}
        self.of_parameters = {
            parameter: {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
            for parameter, state in optimizer.state.items()
        }
        self.random = torch.get_rng_state()
        self.random_on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to it. An optimiser's new tensors become zeros, from which it begins as without any."""
        for name, value in learned(self.owner).items():
            value.copy_(self.model[name])
        for parameter, state in self.optimizer.state.items():
            before = self.of_parameters.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor):
                    value.copy_(before.get(name, torch.zeros_like(value)))
        torch.set_rng_state(self.random)
        if self.random_on_gpu is not None:
            torch.cuda.set_rng_state(self.random_on_gpu, self.device)


def record_graph(step: Callable[[], Tensor]) -> Recorded:
    """Record what a step launches as a CUDA graph; the step is taken a few times before."""
    before, stream = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    untouched = generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        stream.wait_stream(before)
        with torch.cuda.stream(stream), warnings.catch_warnings(action="ignore"):
            for _ in range(_WARM_UP):
                step()
        before.wait_stream(stream)
        # Other threads, which write checkpoints or pin memory, may go on meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = step()
    except BaseException:
        # A recording that fails may leave its stream current, and the generator waiting for its end.
        torch.cuda.set_stream(before)
        generator.graphsafe_set_state(untouched)
        torch.cuda.synchronize()
        raise
    return graph.replay, output


def lay_out(model: nn.Module, optimizer: Optimizer, layout: torch.memory_format) -> None:
    """Lay out the weights of convolutions that learn, and what the optimiser has for them, in memory."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() == 4:
            parameter.grad = None
            parameter.data = parameter.data.contiguous(memory_format=layout)
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter.data).copy_(value)


@contextmanager
def _rates_from(rates: list[Tensor], optimizer: Optimizer) -> Iterator[None]:
    """Let the optimiser read its learning rates from the device, where a replay finds later ones."""
    groups = optimizer.param_groups
    before: list[dict[str, Any]] = [
        {key: group[key] for key in ("lr", "capturable") if key in group} for group in groups
    ]
    for group, rate, values in zip(groups, rates, before, strict=True):
        group.update({key: rate if key == "lr" else True for key in values})
    try:
        yield
    finally:
        for group, values in zip(groups, before, strict=True):
            group.update(values)


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    floats = [name for name, value in one.items() if value.is_floating_point()]
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in floats))
