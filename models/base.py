"""The interface of every network, so that no other code depends on a network's class.

Axes: B clips, T frames or flow stacks of a clip, C channels, h w feature cells, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.stage import Stage
from models import HeatName

HEATS: tuple[HeatName, ...] = ("attention", "cam", "gradcam")
State = dict[str, Tensor]


class ClipOutput(NamedTuple):
    """Result of one forward pass over a batch of clips.

    Attributes:
        logits: Class scores before the softmax. Shape: (B, K).
        features: The classifier's input before dropout. Shape: (B, D).
        heat: The network's own attention, non-negative, summing to 1 over the cells of a frame; None when
            the network has none. Shape: (B, T, h, w).
        maps: Feature maps of the backbone by name, each of shape (B, T, C, h, w).
        motion: Scores of the motion heads by the name of their feature map, see `selfsup.MotionHead`.
        parts: Scores of what the classes are made of, by name, such as their verbs (B, V).
        along: Class scores as they stand after each frame, from a network that was asked for them
            (`ClipModel.every_frame`); the last are `logits`. Shape: (B, T, K).

    Examples:
        >>> import torch
        >>> ClipOutput(logits=torch.zeros(1, 61), features=torch.zeros(1, 512)).heat is None
        True
    """

    logits: Tensor
    features: Tensor
    heat: Tensor | None = None
    maps: dict[str, Tensor] = {}
    motion: dict[str, Tensor] = {}
    along: Tensor | None = None
    parts: dict[str, Tensor] = {}


class LastMaps(NamedTuple):
    """A network cut in two behind the last maps that its convolutions make of single frames."""

    maps: Tensor
    """The recurrence's input, weighted by the attention; of two streams, the RGB stream's; in networks over
    whole clips, each frame's copy of the map of the step it falls into. (T, C, h, w)."""
    logits: Callable[[Tensor], Tensor]
    """Turns such maps (T, C, h, w) into the scores (1, K)."""


@dataclass(frozen=True)
class Prefix:
    """Layers at a network's start that a stage leaves as they are, so that their outputs can be kept."""

    name: str
    """Tells prefixes of the same modules apart."""
    modules: tuple[nn.Module, ...]
    """Everything the outputs depend on; in eval mode wherever they are used."""
    run: Callable[[Tensor], dict[str, Tensor]]
    """Turns a batch of clips (B, T, ...) into outputs (B, T, ...) by name."""
    exact: tuple[str, ...] = ()
    """Outputs that are kept in float32 even where others are rounded."""


class ClipModel(nn.Module):
    """Base of the networks: clips to action scores, and what the rest of the project asks of a network.

    `forward` returns a `ClipOutput` and knows nothing of caches: `prefixes` names the layers whose outputs
    may be kept, and `after` goes on from these.

    Examples:
        >>> import torch
        >>> class MeanColour(ClipModel):
        ...     takes = ("frames",)
        ...     def __init__(self, num_classes):
        ...         super().__init__()
        ...         self.classifier = nn.Linear(3, num_classes)
        ...     def forward(self, frames):
        ...         features = frames.mean(dim=(1, 3, 4))  # (B, 3)
        ...         return ClipOutput(self.classifier(features), features)
        >>> MeanColour(61)(torch.zeros(2, 7, 3, 8, 8)).logits.shape
        torch.Size([2, 61])
    """

    takes: ClassVar[tuple[str, ...]]
    """Names of the inputs of `forward`."""
    reads_along: bool = False
    """Whether the network can tell its scores as they stand after each frame of a clip."""
    every_frame: bool = False
    """Whether it does, under `ClipOutput.along`; set where wanted, by networks that `reads_along`."""
    with_heat: bool = True
    """Whether a network makes heat that costs work of its own; trainings unset it, they don't look at any."""

    @property
    def numbers(self) -> dict[str, Tensor]:
        """For each of `ClipOutput.parts`, its number for each class, (K,); empty where classes have none."""
        return {}

    def prefixes(self, stage: Stage) -> tuple[Prefix, ...]:
        """Return the first layers, as far as a stage neither trains them nor puts them in train mode.

        They follow each other: the first prefix takes frames, any other the first output of the one before.
        """
        return ()

    def after(self, **given: Tensor) -> ClipOutput:
        """Classify clips from the outputs of one prefix, and from the inputs that no prefix takes."""
        raise NotImplementedError(f"{type(self).__name__} has no prefix")

    def head_cost(self, frames: int, image_size: int, device: torch.device) -> dict[str, float]:
        """Measure the head that joins the frames (`models.cost.head_cost`); nothing without one."""
        return {}

    def heats(self) -> tuple[HeatName, ...]:
        """Return the names of the heat maps that the network can show."""
        missing = self.missing_heats()
        return tuple(name for name in HEATS if name not in missing)

    def missing_heats(self) -> dict[HeatName, str]:
        """Return why it can't show the others, as the rest of a sentence that begins with the network.

        A network that overrides `evidence` and `last_maps` overrides this too.
        """
        return dict.fromkeys(HEATS, "is of a kind without heat maps")

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """Class activation map of an action: the classifier's weights on the maps that it sees pooled.

        Behind a recurrence over cells, such as the ConvLSTM, these maps are its states after each frame, so
        that the mean of the last map is the score, but for the bias; elsewhere they are each frame's own, and
        the score is the mean of all; networks over whole clips have a map for each step, which the frames of
        the step share. Of two streams it is the RGB stream's part.

        Args:
            inputs: One clip, by the names of `takes`; the network is in eval mode. Shapes: (1, ...).
            action: Number of the class.

        Returns:
            Evidence for (and, below 0, against) the action, (T, h, w); None where the score lies on no cells.
        """
        return None

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut the network in two behind its last maps of single frames; `inputs` as in `evidence`."""
        raise NotImplementedError

    # The published checkpoints of Ego-RNN: which names mark such a network, and its weights under them.
    published_marks: ClassVar[tuple[str, ...]] = ()
    published_aliases: ClassVar[dict[str, str]] = {}

    @classmethod
    def published_architecture(cls, state: State, prefix: str = "") -> dict[str, Any]:
        """Tell the arguments of `models.build_model` from the names and shapes of published weights."""
        raise NotImplementedError

    def published_state(self) -> State:
        """Return the weights under their published names, without aliases.

        Raises:
            UserError: Published checkpoints have no place for such a network.
        """
        raise UserError(
            f"a {type(self).__name__} has no published form; there is one for the RGB, the flow and the "
            "two-stream network"
        )

    def load_published(self, state: State) -> None:
        """Copy weights by their published names, which were checked to fit."""
        raise NotImplementedError


def make_no_heat(model: nn.Module) -> None:
    """Unset `with_heat` of a network and of those inside it."""
    for part in model.modules():
        if isinstance(part, ClipModel):
            part.with_heat = False


class Entry(nn.Module):
    """One door to a network, from its inputs or from kept outputs: for `torch.compile` and data parallel.

    Checkpoints are written of `model`, so the names in them don't change.

    Examples:
        >>> import torch
        >>> from models import EgoRNN
        >>> model = EgoRNN(4, backbone="resnet18", hidden=2).eval()
        >>> entry, frames = Entry(model), torch.zeros(1, 2, 3, 32, 32)
        >>> bool(entry(frames=frames).logits.equal(model(frames).logits))
        True
        >>> entry(layer3=torch.zeros(1, 2, 256, 2, 2)).logits.shape
        torch.Size([1, 4])
    """

    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, **given: Tensor) -> ClipOutput:
        """Classify clips by `model.forward` where all of its inputs are given, else by `model.after`."""
        if all(name in given for name in self.model.takes):
            output: ClipOutput = self.model(**given)
            return output
        return self.model.after(**given)
