"""A 2D network a frame, joined over a clip: TSN with the mean of its scores, TRN and others by their heads.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from core.stage import Stage
from models import HeatName
from models.backbones.resnet import RESNETS
from models.inserts import ModuleName
from models.inserts.insert import insert
from models.inserts.tsm import takes_single_frames
from models.temporal import HEADS, TemporalName, build_temporal, require_head
from models.temporal.base import TemporalHead
from models.video.base import PARTIAL_BN, Start, VideoNetwork, laid_out, load_all, read_2d, resnet_maps, split


class SegmentNetwork(VideoNetwork):
    """A ResNet over each frame, whose last maps a temporal head joins.

    With the head "avgpool" the score is the mean over the frames of their own scores, before the softmax:
    TSN's consensus (Wang et al., ECCV 2016), which can't know the order of the frames.

    Args:
        network: "resnet18", "resnet34" or "resnet50".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).
        temporal: The head that joins the frames.
        hidden: Width of the head.
        module: A module in the ResNet's blocks that exchanges information between the frames, below the head
            (`models.inserts`).

    Raises:
        UserError: The head or the module can't be built so.

    Examples:
        >>> import torch
        >>> tsn = SegmentNetwork("resnet18", 5, frames=3).eval()
        >>> tsn(torch.zeros(1, 3, 3, 32, 32)).logits.shape
        torch.Size([1, 5])
    """

    START: ClassVar[Start] = "imagenet"
    PARTIAL_BN: ClassVar[Stage | None] = replace(
        PARTIAL_BN, train_modules=(*PARTIAL_BN.train_modules, "temporal")
    )
    FLAGS: ClassVar[Mapping[str, Any]] = {"temporal": "avgpool", "hidden": 512, "module": "none"}

    def __init__(
        self,
        network: str,
        num_classes: int,
        *,
        frames: int,
        dropout: float = 0.5,
        temporal: TemporalName = "avgpool",
        hidden: int = 512,
        module: ModuleName = "none",
    ) -> None:
        require_head(temporal, attention=False, hidden=hidden, frames=frames)
        net = RESNETS[network](weights=None, num_classes=1)
        head = build_temporal(temporal, net.fc.in_features, hidden, frames)
        super().__init__(network, num_classes, features=head.features, frames=frames, dropout=dropout)
        net.fc = nn.Identity()
        own = net.state_dict().keys()
        insert(net, module, frames)
        self.inserted = tuple(net.state_dict().keys() - own)
        self.fixed = module != "none" or head.needs_frames
        self.net = net
        self.temporal = head

    def start(self, source: str) -> None:
        """Load the ResNet's weights; what is put into it, the head and the classifier begin on their own."""
        weights = read_2d(source, self.network, self.network)
        if weights is not None:
            load_all(self.net, weights, f"--weights {source}", skip=self.inserted)

    @property
    def still_frames(self) -> int:
        """One where frames know nothing of each other and the head has no parameters, else T."""
        return self.frames if self.fixed or self.temporal.learns else 1

    def maps(self, frames: Tensor) -> Tensor:
        """Turn clips (B, T, 3, H, W) into the last maps of each frame, (B, T, C, h, w).

        Raises:
            UserError: The head, or what is put into the ResNet, was built for another number of frames.
        """
        streams = frames.shape[1] == 1 and takes_single_frames(self.net) and not self.temporal.needs_frames
        if self.fixed and not streams:
            self.require_length(frames)
        return split(resnet_maps(self.net, laid_out(frames.flatten(0, 1), self)), *frames.shape[:2])

    def pool(self, maps: Tensor) -> Tensor:
        """Join the frames by the head."""
        joined: Tensor = self.temporal(maps, None)
        return joined

    def cells(self, maps: Tensor) -> Tensor | None:
        """Spread the head's feature over cells, where it lies on any."""
        return self.temporal.cell_features(maps, None)

    @classmethod
    def lies_on_cells(cls, flags: Mapping[str, Any]) -> bool:
        """Whether the head's feature does."""
        return HEADS[flags["temporal"]].cell_features is not TemporalHead.cell_features

    def missing_heats(self) -> dict[HeatName, str]:
        """The features of some heads lie on no cells."""
        if self.temporal.lies_on_cells:
            return {}
        return {"attention": self.temporal.no_cells, "cam": self.temporal.no_cells}
