"""The interface of backbone families: how networks of one kind are built, read and found in files.

Axes: N frames, C channels, H W pixels, h w cells, L backbone classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Part(NamedTuple):
    """Layers that follow each other and learn, or stay frozen, together."""

    modules: tuple[nn.Module, ...]
    run: Callable[[Tensor], Tensor]
    """Turns their input (N, ...) into their output (N, ...)."""


class LastMaps(NamedTuple):
    """What the last stage makes of frames.

    Attributes:
        layer4: `f`, the last map after its activation, which is pooled and classified. Shape: (N, C, h, w).
        pre_activation: `g`, the same before its batch norm and activation. Shape: (N, C, h, w).
        logits: Class scores. Shape: (N, L).
    """

    layer4: Tensor
    pre_activation: Tensor
    logits: Tensor


class Family(ABC):
    """Networks of one kind, told apart by name. Names of layers are theirs, relative to the network.

    A network is cut where Ego-RNN reads it: "layer3" is the last map of stride 16, and the last stage makes
    of it a map of stride 32 that is pooled over its cells and classified by one linear layer, so that class
    activation maps work.
    """

    title: ClassVar[str]
    """What messages call such a network."""
    key: ClassVar[str]
    """The network's place in a `Backbone`, and so the first part of its weights' names in checkpoints."""
    first: ClassVar[str]
    """The first convolution."""
    classifier: ClassVar[str]
    """The linear layer."""
    mark: ClassVar[str]
    """A weight by which such a network is told from others in a file."""
    last_stage: ClassVar[tuple[str, ...]]
    """The layers behind "layer3", without the classifier."""
    last_convolutions: ClassVar[tuple[str, ...]]
    """Patterns of the convolutions of the last stage, which Ego-RNN's stage 2 trains."""
    layer3_convolutions: ClassVar[tuple[str, ...]]
    """Patterns of the convolutions that make "layer3", which a motion head there trains too."""

    @abstractmethod
    def build(self, name: str, num_classes: int) -> nn.Module:
        """Build an untrained network for RGB.

        Raises:
            UserError: A package is missing that builds it.
        """

    @abstractmethod
    def imagenet(self, name: str) -> dict[str, Tensor]:
        """Return a network's weights for the 1000 classes of ImageNet.

        Raises:
            UserError: They can't be had.
        """

    @abstractmethod
    def trunk(self, network: nn.Module) -> tuple[Part, ...]:
        """Return what leads from normalised frames (N, 3, H, W) to "layer3"; its last part makes "layer3"."""

    @abstractmethod
    def last(self, network: nn.Module, layer3: Tensor) -> LastMaps:
        """Run the last stage and the classifier on "layer3"."""

    @abstractmethod
    def layer3_channels(self, network: nn.Module) -> int:
        """Count the channels of "layer3"."""

    def last_modules(self, network: nn.Module) -> tuple[nn.Module, ...]:
        """Return the modules of the last stage, without the classifier."""
        return tuple(network.get_submodule(name) for name in self.last_stage)

    def linear(self, network: nn.Module) -> nn.Linear:
        """Return the classifier."""
        layer = network.get_submodule(self.classifier)
        assert isinstance(layer, nn.Linear)
        return layer

    def take_channels(self, network: nn.Module, in_channels: int) -> None:
        """Replace the first convolution by one for other inputs, untrained."""
        first = network.get_submodule(self.first)
        assert isinstance(first, nn.Conv2d) and isinstance(first.padding, tuple)
        other = type(first)(
            in_channels,
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            stride=first.stride,  # type: ignore[arg-type]
            padding=first.padding,  # type: ignore[arg-type]
            bias=False,
        )
        nn.init.kaiming_normal_(other.weight, mode="fan_out", nonlinearity="relu")
        setattr(network, self.first, other)

    def classifier_weights(self) -> tuple[str, str]:
        """Return the names of the classifier's weight and bias."""
        return f"{self.classifier}.weight", f"{self.classifier}.bias"
