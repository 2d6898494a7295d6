"""Training and evaluation steps of each stage, as a plain loop and in the project's ways, and their timing.

All ways of a step begin with the same weights and see the same random clips. They are timed in alternation in
one process, so that whatever else the machine does disturbs all alike. Axes: B clips, T frames.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.frame_by_frame import BothByFrame, FlowByStack, FrameByFrame
from core.stage import Group, Stage
from models.backbone import Backbone
from models.base import ClipModel, Entry, Prefix
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.two_stream import TwoStream
from training.cache import Precision
from training.cache.store import CacheFolder, TensorStore

PartName = Literal["stage 1", "stage 2", "stage 2 and layer3", "joint", "flow"]
PARTS: tuple[PartName, ...] = ("stage 1", "stage 2", "joint", "flow")  # in the tables of steps
PLAIN, EXACT, KEPT, BF16 = "frame by frame", "float32", "float32, kept", "bf16, kept"
WAYS = (PLAIN, EXACT, KEPT, BF16)
CLASSES = 61
Way = Callable[[], object]


def alternate(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Time each way once a round, after one round that does not count: seconds of every round by name.

    Each begins and ends when a GPU has nothing left to do.
    """
    on_gpu: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    wait: Callable[[], object] = torch.cuda.synchronize if on_gpu else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            wait()
            start = time.perf_counter()
            way()
            wait()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def speedup(base: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times faster the other is: the median over rounds of the ratio within a round."""
    return median(slow / fast for slow, fast in zip(base, other, strict=True))


def count_operations(way: Way) -> float:
    """Count the floating-point operations of one call, in 10^9."""
    with FlopCounterMode(display=False) as counter:
        way()
    return float(counter.get_total_flops()) / 1e9


@dataclass(frozen=True)
class Size:
    """Sizes of a step, and where it is computed; the defaults are the paper's but for the batch."""

    batch: int = 8
    frames: int = 7
    side: int = 224
    hidden: int = 512
    backbone: Literal["resnet18", "resnet34"] = "resnet34"
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass
class Step:
    """One way to train a stage.

    Attributes:
        model: The network.
        inputs: Returns its arguments by name.
        labels: Shape: (B,).
        optimizer: Over the parameters that the stage trains.
        bf16: Compute what is trained in bfloat16.
        prefixes: Frozen layers of the network whose outputs are kept.
        files: Temporary folders that live as long as the step.
    """

    model: nn.Module
    inputs: Callable[[], dict[str, Tensor]]
    labels: Tensor
    optimizer: torch.optim.Optimizer
    bf16: bool = False
    prefixes: tuple[Prefix, ...] = ()
    files: list[object] = field(default_factory=list)

    def loss(self) -> Tensor:
        """Classify the batch and return the cross entropy."""
        with torch.autocast(self.labels.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.model(**self.inputs())
        logits = output if isinstance(output, Tensor) else output.logits
        precise = torch.promote_types(logits.dtype, torch.float32)
        return nn.functional.cross_entropy(logits.to(precise), self.labels)

    def train(self) -> float:
        """Take one training step."""
        loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self) -> float:
        """Measure the loss as an evaluation does."""
        return float(self.loss())


def build(part: PartName, way: str, size: Size, precision: Precision = "float32") -> Step:
    """Build one way to train a stage.

    Args:
        part: The stage.
        way: One of `WAYS`; where nothing is frozen, as in the flow stream, nothing is kept, and the last two
            are float32 and bf16.
        size: Sizes.
        precision: In which kept outputs are stored.
    """
    torch.manual_seed(0)
    model, stage, batch = _network(part, size)
    model.to(size.device)
    batch = {name: tensor.to(size.device) for name, tensor in batch.items()}
    labels = torch.arange(size.batch, device=size.device) % CLASSES
    stage.freeze(model)
    stage.set_modes(model)
    if way == PLAIN:
        forms: dict[str, Callable[..., nn.Module]] = {"flow": FlowByStack, "joint": BothByFrame}
        plain = forms.get(part, FrameByFrame)(model)
        learned = [parameter for parameter in plain.parameters() if parameter.requires_grad]
        return Step(plain, lambda: batch, labels, _plain_optimizer(stage, learned))
    step = Step(Entry(model), lambda: batch, labels, stage.build_optimizer(model), way == BF16)
    if way in (KEPT, BF16) and (prefixes := model.prefixes(stage)):
        step.prefixes = prefixes
        _keep_outputs(step, batch, precision)
    return step


def build_ways(part: PartName, size: Size) -> dict[str, Step]:
    """Build every way to train a stage."""
    return {way: build(part, way, size) for way in WAYS}


def in_double(step: Step) -> Step:
    """Copy a step to float64, the reference of all gradients."""
    batch = {name: tensor.double() for name, tensor in step.inputs().items()}
    return Step(deepcopy(step.model).double(), lambda: batch, step.labels, step.optimizer)


def gradient(step: Step) -> dict[str, Tensor]:
    """Compute the gradient of the loss, float64, by the parameter names of the project's own network."""
    step.optimizer.zero_grad(set_to_none=True)
    step.loss().backward()  # type: ignore[no-untyped-call]
    found, gates = dict[str, Tensor](), dict[str, list[Tensor]]()
    for name, parameter in step.model.named_parameters():
        if parameter.grad is None:
            continue
        name = name.removeprefix("model.")  # of `Entry`
        before, of, rest = name.rpartition("of_")
        if not of:
            found[name] = parameter.grad.double()
            continue
        # The plain loop has a convolution for each gate, in order; the network stacks them.
        kind, _, leaf = rest.split(".")
        gates.setdefault(f"{before}temporal.cell.{kind}_conv.{leaf}", []).append(parameter.grad.double())
    return found | {name: torch.cat(values) for name, values in gates.items()}


def gradient_error(found: dict[str, Tensor], true: dict[str, Tensor]) -> float:
    """Length of the difference as a share of the true gradient's length."""
    assert found.keys() == true.keys(), f"{found.keys() ^ true.keys()}"
    wrong = sum(float((found[name] - value).square().sum()) for name, value in true.items())
    length = sum(float(value.square().sum()) for value in true.values())
    return math.sqrt(wrong / length)


def _network(part: PartName, size: Size) -> tuple[ClipModel, Stage, dict[str, Tensor]]:
    """Build a stage's network with random weights, and a batch of random clips."""
    frames = torch.randn(size.batch, size.frames, 3, size.side, size.side)
    stack = torch.randn(size.batch, 10, size.side, size.side)
    flow = FlowStream(CLASSES, backbone=size.backbone, dropout=0.0)
    if part == "flow":
        return flow, FlowStream.STAGE, {"flow": stack}
    stream = EgoRNN(CLASSES, backbone=size.backbone, hidden=size.hidden, dropout=0.0)
    _fit_statistics(stream.backbone, frames.flatten(0, 1)[:8])
    if part != "joint":
        stage = EgoRNN.stage(1 if part == "stage 1" else 2, "convlstm")
        if part == "stage 2 and layer3":
            learns = Group(("backbone.resnet.layer3.*.conv*.weight",))
            stage = replace(stage, groups=(*stage.groups, learns))
        return stream, stage, {"frames": frames}
    _fit_statistics(flow.backbone, stack)
    both = TwoStream(stream, flow, CLASSES, dropout=0.0)
    return both, TwoStream.stage("convlstm"), {"frames": frames, "flow": stack}


@torch.no_grad()
def _fit_statistics(backbone: Backbone, pictures: Tensor) -> None:
    """Give random weights batch-norm statistics that fit, as trained ones have."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    backbone.train()
    backbone.resnet(pictures)
    for norm in norms:
        norm.momentum = 0.1


def _plain_optimizer(stage: Stage, learned: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Build PyTorch's default optimizer, neither fused nor in groups."""
    if stage.optimizer == "adam":
        return torch.optim.Adam(learned, stage.lr, eps=stage.eps, weight_decay=stage.weight_decay)
    return torch.optim.SGD(learned, stage.lr, momentum=stage.momentum, weight_decay=stage.weight_decay)


def _keep_outputs(step: Step, batch: dict[str, Tensor], precision: Precision) -> None:
    """Let the step read the outputs of frozen layers from a store on disk, as trainings do."""
    frames = batch["frames"]
    outputs = {"frames": frames}
    with torch.no_grad():
        for prefix in step.prefixes:
            outputs = prefix.run(next(iter(outputs.values())))
    folder = tempfile.TemporaryDirectory(prefix="egornn-steps-")
    cache = CacheFolder(Path(folder.name), precision)
    stores, slots = dict[str, TensorStore](), list(range(len(frames)))
    for name, output in outputs.items():
        stores[name] = TensorStore(cache, name, len(output), tuple(output.shape[1:]))
        for slot in slots:
            stores[name].write(slot, output[slot])
    rest = {name: tensor for name, tensor in batch.items() if name != "frames"}

    def read() -> dict[str, Tensor]:
        return rest | {name: store.read(slots)[0].to(frames.device) for name, store in stores.items()}

    there = read()
    step.inputs = read if frames.device.type == "cpu" else lambda: there  # a GPU's memory holds them
    step.files.append(folder)
