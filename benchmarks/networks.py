"""Sizes of the networks: parameters, what each stage trains, and the operations a clip takes.

`python -m benchmarks.networks` prints the table of docs/questions.md.
"""

from functools import partial

import torch
from pydantic import Field

from benchmarks.steps import count_operations
from benchmarks.tables import markdown
from core.cli import run
from core.config import COSTS_MEMORY, Config
from core.stage import Stage
from models.backbones import BackboneName
from models.base import ClipModel
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
    header = ["network", "input", "parameters, million", "of them trained", "GFLOP a clip, forward"]
    return markdown(header, rows)


if __name__ == "__main__":
    run(main, NetworksConfig, prog="python -m benchmarks.networks")
