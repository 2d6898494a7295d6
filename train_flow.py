"""Trains Ego-RNN's flow stream: a ResNet over stacks of the flow images that `python -m data.motion` makes.

Ego-RNN, section 4.2. A random stack of every clip in training, the centre stack after an epoch, the mean over
five stacks for the reported number.
"""

from typing import ClassVar

from pydantic import Field

from core.cli import read_flags, run
from core.config import COSTS_MEMORY
from core.train_config import ClipTrainConfig
from data.clips import Kind
from models.backbones import BackboneName


class Config(ClipTrainConfig):
    """Train the flow stream of Ego-RNN on stacks of flow images."""

    GROUPS: ClassVar[dict[str, str]] = {
        "data": "stack test_stacks image_size",
        "network": "backbone weights dropout",
    }
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("weights", "test_stacks", "dropout")

    stack: int = Field(5, ge=1, json_schema_extra=COSTS_MEMORY)
    """Consecutive flow images (pairs of x and y) in a stack."""
    test_stacks: int = Field(5, ge=1)
    """Stacks of a clip whose logits are averaged for the reported number; after epochs, the centre one."""
    image_size: int = Field(224, ge=32, json_schema_extra=COSTS_MEMORY)
    """Side of the network's input in pixels; the short side of a flow image is scaled to 8/7 of it."""
    backbone: BackboneName = "resnet34"
    """Which network reads the images: a ResNet, or efficientnet_lite0 (of the optional package timm)."""
    weights: str = "imagenet"
    """imagenet, none, a state_dict file, or a run directory; an RGB first layer becomes the mean of its three
    colours for each of the 2 * stack channels, and the last layer starts from random weights."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the classifier."""

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The images of a clip that the training reads."""
        return Flow.kinds


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from core.stage import Stage
from data.parts import ClipInput, Flow
from data.transforms import Preprocessing
from models import FlowStream
from models.weights import load_backbone_body, read_backbone_weights
from training.run import Architecture, Parents, Settings, Training, train


def resolve(config: Config, parents: Settings) -> tuple[Config, Stage]:
    """Fill the schedule where it was left out; no run is started from."""
    return config.schedule(FlowStream.STAGE)


def show(config: Config, parents: Parents) -> ClipInput:
    """Describe what is read of a clip: flow stacks."""
    return ClipInput(Flow(config.stack, config.test_stacks, Preprocessing.flow(config.image_size)))


def build(config: Config, class_names: tuple[str, ...], parents: Parents) -> tuple[Architecture, FlowStream]:
    """Make the stream with its initial weights.

    Returns:
        The architecture as checkpoints store it, and the model.

    Raises:
        UserError: The weights can't be had or don't fit.
    """
    weights = read_backbone_weights(config.weights, config.backbone)
    shared = {key: getattr(config, key) for key in ("stack", "backbone", "dropout")}
    stream = FlowStream(len(class_names), **shared)
    if weights is not None:
        load_backbone_body(stream.backbone, weights)
    return {"name": "FlowStream", "num_classes": len(class_names), **shared}, stream


def main(config: Config) -> None:
    """Train the stream and measure it on the test users."""
    train(config, Training(resolve, show, build))


if __name__ == "__main__":
    run(main, flags)
