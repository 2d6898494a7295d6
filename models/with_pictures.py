"""A network over clips with a second head, for pictures that are learned beside the clips.

Axes: B clips or pictures, T frames, D features, K actions, P classes of pictures, h w cells.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from models import HeatName
from models.base import ClipModel, ClipOutput, LastMaps
from models.video.base import VideoNetwork


class WithPictures(ClipModel):
    """A network whose features also tell the classes of pictures, which it sees as still clips.

    Clips are classified as by the network alone; the second head only serves the training
    (`core.task.AndPictures`). Checkpoints keep it, so that a training can go on.

    Args:
        network: The network over clips.
        names: The P classes of the pictures. Length: P.

    Examples:
        >>> import torch
        >>> from models.video import NETWORKS
        >>> model = WithPictures(NETWORKS["early"]("early", 5, frames=4), ["cup", "jar", "spoon"]).eval()
        >>> output = model(model.still(torch.zeros(2, 1, 3, 32, 32)))
        >>> output.logits.shape, model.pictures(output.features).shape
        (torch.Size([2, 5]), torch.Size([2, 3]))
    """

    takes: ClassVar[tuple[str, ...]] = ("frames",)

    def __init__(self, network: VideoNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)
        self.pictures = nn.Linear(network.classifier.in_features, len(names))
        nn.init.normal_(self.pictures.weight, 0, 0.01)
        nn.init.zeros_(self.pictures.bias)

    def still(self, pictures: Tensor) -> Tensor:
        """Repeat pictures (B, 1, 3, H, W) to still clips (B, T, 3, H, W), of as few frames as will do."""
        return pictures.expand(-1, self.network.still_frames, -1, -1, -1)

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify clips of normalised frames (B, T, 3, H, W) by the network."""
        output: ClipOutput = self.network(frames)
        return output

    def missing_heats(self) -> dict[HeatName, str]:
        """Those that the network lacks."""
        return self.network.missing_heats()

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """The network's own, for an action."""
        return self.network.evidence(inputs, action)

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut where the network is cut."""
        return self.network.last_maps(inputs)
