"""Trains both streams of Ego-RNN jointly, from a finished RGB run (stage 2) and a finished flow run.

Ego-RNN, section 4.2. Each clip's frames and flow stack share one crop and flip.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.train_config import ClipTrainConfig
from data.clips import Kind
from training.cache import CacheFlags


class Config(ClipTrainConfig, CacheFlags):
    """Train the RGB stream and the flow stream jointly, under one new classifier.

    Frames, stack and image size are those the streams were trained with. --lr is the rate of the classifier
    and of what learns in the RGB stream.
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "data": "train_users test_users val_fraction",
        "network": "rgb flow rgb_sha256 flow_sha256 dropout",
        "training": "flow_lr gamma",
    }
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("flow_lr", "gamma", "dropout")

    rgb: Path
    """Run directory of train_rgb.py, stage 2."""
    flow: Path
    """Run directory of train_flow.py."""
    rgb_sha256: str | None = None
    """Hash of the last.pt of --rgb: recorded, and compared where it is given."""
    flow_sha256: str | None = None
    """Hash of the last.pt of --flow: recorded, and compared where it is given."""
    flow_lr: float = Field(1e-4, gt=0)
    """Learning rate of the flow stream's layer4."""
    gamma: float = Field(0.99, gt=0, le=1)
    """Factor of both learning rates after every epoch; a shorter training wants a smaller one."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the classifier."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return (*Frames.kinds, *Flow.kinds)

    @model_validator(mode="after")
    def _every_epoch(self) -> "Config":
        if self.milestones is not None:
            raise ValueError("--milestones: joint training lowers its rates after every epoch, by --gamma")
        return self


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from core.stage import Stage
from data.parts import ClipInput, Flow, Frames, read_input
from models import TwoStream, build_model
from selfsup.head import without_heads
from training.parents import ParentKind
from training.run import Architecture, Parents, Settings, Training, train

PARENTS = {"rgb": ParentKind("EgoRNN", "train_rgb.py"), "flow": ParentKind("FlowStream", "train_flow.py")}


def resolve(config: Config, parents: Settings) -> tuple[Config, Stage]:
    """Fill the schedule where it was left out.

    Args:
        config: The flags that were given.
        parents: Settings of both runs.
    """
    temporal, backbones = (
        parents["rgb"]["temporal"],
        (parents["rgb"]["backbone"], parents["flow"]["backbone"]),
    )
    stage = TwoStream.stage(temporal, flow_lr=config.flow_lr, gamma=config.gamma, backbones=backbones)
    return config.schedule(stage)


def show(config: Config, parents: Parents) -> ClipInput:
    """Describe what is read of a clip: what each stream was trained on.

    Raises:
        UserError: They were trained at different image sizes.
    """
    streams = [read_input(parents[name].checkpoint["preprocessing"]) for name in PARENTS]
    return ClipInput(*(part for stream in streams for part in stream.parts))


def build(config: Config, class_names: tuple[str, ...], parents: Parents) -> tuple[Architecture, TwoStream]:
    """Make the joint network from the trained streams; motion heads stay behind.

    Returns:
        The architecture as checkpoints store it, and the model.
    """
    rgb_architecture, rgb_state = without_heads(parents["rgb"].checkpoint)
    flow = parents["flow"].checkpoint
    streams = {"rgb": rgb_architecture, "flow": flow["architecture"]}
    shared = {"num_classes": len(class_names), "dropout": config.dropout}
    architecture = {"name": "TwoStream", **streams, **shared}
    model = build_model(architecture)
    model.rgb.load_state_dict(rgb_state)
    model.flow.load_state_dict(flow["model"])
    return architecture, model


def notes(config: Config, parents: Parents) -> list[str]:
    """Note an RGB run that is not the one the paper joins, or that sees less of a clip than flow does."""
    settings, found = parents["rgb"].settings, []
    if settings.get("stage") == 1:
        found.append(f"note: --rgb {config.rgb} is a stage-1 run; the paper joins stage 2")
    if settings.get("observed"):
        share = f"the first {100 * settings['observed']:.10g} % of a clip"
        found.append(f"note: --rgb {config.rgb} sees {share}; the flow stream sees a stack of the whole clip")
    return found


def main(config: Config) -> None:
    """Train both streams and measure them on the test users."""
    train(config, Training(resolve, show, build, parents=PARENTS, notes=notes))


if __name__ == "__main__":
    run(main, flags)
