"""Sizes of the networks: parameters, what each stage trains, and the operations a clip takes.

`python -m benchmarks.networks` prints the table of docs/questions.md; `--over-clips NAMES...` says what a
training step of networks over whole clips costs (docs/systems.md).
"""

import time
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from benchmarks.steps import count_operations
from benchmarks.tables import markdown
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.errors import UserError
from core.seeding import set_up_numerics
from core.stage import Stage
from core.task import Classification
from models.backbones import BackboneName
from models.base import ClipModel
from models.cost import network_cost
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.inserts import MODULES
from models.two_stream import TwoStream
from models.video import NETWORKS
from models.video.base import VideoNetwork
from training.step import Step


def _known(name: str) -> str:
    NETWORKS.known(name.partition("+")[0])
    return name


class NetworksConfig(Config):
    """Print the sizes of the networks."""

    classes: int = Field(61, ge=1)
    """Actions."""
    frames: int = Field(7, ge=1, json_schema_extra=COSTS_MEMORY)
    """Frames a clip."""
    side: int = Field(224, ge=32)
    """Pixels a side."""
    backbone: BackboneName = "resnet34"
    """Which ResNet."""
    over_clips: tuple[Annotated[str, AfterValidator(_known)], ...] = ()
    """Measure these networks of train_video.py instead; a ResNet may have a head or module: resnet18+trn."""
    batch_size: int = Field(8, ge=1)
    """Clips of a measured step."""
    amp: Literal["off", "bf16"] = "off"
    """Precision of a measured step."""
    rounds: int = Field(5, ge=1)
    """Measured steps, of which the fastest counts."""


def main(config: NetworksConfig) -> None:
    """Print the table."""
    print(over_clips_table(config) if config.over_clips else networks_table(config))


def networks_table(config: NetworksConfig) -> str:
    """Count parameters and operations of every stage's network."""
    rgb = EgoRNN(config.classes, backbone=config.backbone)
    flow = FlowStream(config.classes, backbone=config.backbone)
    shapes = {
        "frames": (1, config.frames, 3, config.side, config.side),
        "flow": (1, 10, config.side, config.side),
    }
    words = {"frames": f"{config.frames} frames x 3 channels", "flow": "5 flow images x 2 axes"}
    networks: list[tuple[str, ClipModel, Stage]] = [
        ("RGB, stage 1", rgb, EgoRNN.stage(1, "convlstm")),
        ("RGB, stage 2", rgb, EgoRNN.stage(2, "convlstm")),
        ("flow", flow, FlowStream.STAGE),
        ("two-stream (joint)", TwoStream(rgb, flow, config.classes), TwoStream.stage("convlstm")),
    ]
    rows = []
    for name, model, stage in networks:
        stage.freeze(model)
        model.eval()
        total = sum(parameter.numel() for parameter in model.parameters())
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        inputs = {kind: torch.zeros(shapes[kind]) for kind in model.takes}
        with torch.no_grad():
            operations = count_operations(partial(model, **inputs))
        given = "; ".join(words[kind] for kind in model.takes)
        rows.append([name, given, f"{total / 1e6:.1f}", f"{trained / 1e6:.1f}", f"{operations:.1f}"])
    header = ["network", "input", "parameters, million", "of them trained", "GFLOP, forward"]
    return markdown(header, rows)


def over_clips_table(config: NetworksConfig) -> str:
    """Count parameters and operations of networks over whole clips, and measure their training steps."""
    set_up_numerics()
    torch.set_num_threads(1)
    rows = []
    for name in config.over_clips:
        network, _, part = name.partition("+")
        with_part = {"module": part} if part in MODULES else {"temporal": part, "hidden": 128} if part else {}
        if not with_part.keys() <= NETWORKS[network].FLAGS.keys():
            raise UserError(f"--over-clips {name}: {network} takes neither a head nor a module")
        model = NETWORKS[network](network, config.classes, frames=config.frames, dropout=0.0, **with_part)
        shape = (config.frames, 3, config.side, config.side)
        architecture = {"name": type(model).__name__, "network": network, "num_classes": config.classes}
        cost = network_cost({**architecture, "frames": config.frames, **with_part}, {"frames": shape})
        frames = torch.randn(config.batch_size, *shape)
        seconds = step_seconds(model, frames, config)
        rows.append([name, f"{cost['parameters'] / 1e6:.1f}", f"{cost['gmac']:.1f}", f"{seconds:.2f}"])
    step = f"core-seconds a step of {config.batch_size} clips"
    header = ["network", "parameters, million", "GMAC a clip", step]
    return markdown(header, rows)


def step_seconds(model: VideoNetwork, frames: Tensor, config: NetworksConfig) -> float:
    """Measure the seconds that one core computes for a training step on `frames`: the least of several."""
    model.STAGE.freeze(model)
    model.STAGE.set_modes(model)
    step = Step(
        Classification(model, ("frames",)),
        model.STAGE.build_optimizer(model),
        torch.device("cpu"),
        bf16=config.amp == "bf16",
    )
    batch = {"frames": frames, "label": torch.zeros(len(frames), dtype=torch.long)}
    step(batch)  # the first one asks for memory
    seconds = []
    for _ in range(config.rounds):
        begun = time.process_time()
        step(batch)
        seconds.append(time.process_time() - begun)
    return min(seconds)


if __name__ == "__main__":
    run(main, NetworksConfig, prog="python -m benchmarks.networks")
