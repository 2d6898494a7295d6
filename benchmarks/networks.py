"""Sizes of the networks: parameters, what each stage trains, and the operations a clip takes.

`python -m benchmarks.networks` prints the table of docs/questions.md.
"""

import torch
from pydantic import Field
from torch import nn

from benchmarks.measures import count_operations
from benchmarks.tables import markdown
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.stage import Stage
from models.backbone import BackboneName
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.two_stream import TwoStream


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


def main(config: NetworksConfig) -> None:
    """Print the table."""
    print(networks_table(config))


def networks_table(config: NetworksConfig) -> str:
    """Count parameters and operations of every stage's network."""
    rgb = EgoRNN(config.classes, backbone=config.backbone)
    flow = FlowStream(config.classes, backbone=config.backbone)
    frames = torch.zeros(1, config.frames, 3, config.side, config.side)
    stack = torch.zeros(1, 10, config.side, config.side)
    both = TwoStream(rgb, flow, config.classes)
    of_rgb, of_flow = f"{config.frames} frames x 3 channels", "5 flow images x 2 axes"
    rows: list[tuple[str, str, nn.Module, Stage, tuple[torch.Tensor, ...]]] = [
        ("RGB, stage 1", of_rgb, rgb, EgoRNN.stage(1, "convlstm"), (frames,)),
        ("RGB, stage 2", of_rgb, rgb, EgoRNN.stage(2, "convlstm"), (frames,)),
        ("flow", of_flow, flow, FlowStream.STAGE, (stack,)),
        ("two-stream (joint)", f"{of_rgb}; {of_flow}", both, TwoStream.stage("convlstm"), (frames, stack)),
    ]
    header = ["network", "input", "parameters, million", "of them trained", "GFLOP a clip, forward"]
    return markdown(header, [_row(*row) for row in rows])


def _row(
    name: str, shown: str, model: nn.Module, stage: Stage, inputs: tuple[torch.Tensor, ...]
) -> list[str]:
    stage.freeze(model)
    model.eval()
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    with torch.no_grad():
        operations = count_operations(lambda: model(*inputs))
    return [name, shown, f"{total / 1e6:.1f}", f"{trained / 1e6:.1f}", f"{operations:.1f}"]


if __name__ == "__main__":
    run(main, NetworksConfig, prog="python -m benchmarks.networks")
