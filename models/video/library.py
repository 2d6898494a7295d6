"""torchvision's networks over clips, with its preprocessing and, where they are to hand, its weights.

What breaks at short clips is mended: pools of a fixed size become means, and clips are lengthened by
repeating their last frame. Axes: B clips, T frames, S steps, C channels, H W pixels, h w cells.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, video

from core.errors import UserError
from core.stage import Group, Stage
from data.transforms import Preprocessing, short_side_of
from models.base import ClipOutput, LastMaps
from models.video.base import Start, VideoNetwork, in_turn, load_all, split
from models.video.csn import video_resnet_maps
from models.weights import read_library_weights


class _Entry(NamedTuple):
    """A network of torchvision."""

    build: Callable[..., nn.Module]
    weights: WeightsEnum
    classifier: str
    """Where its last layer is."""
    features: int
    maps: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Runs clips (B, 3, T, H, W) up to the last maps (B, C, S, h, w); MViT has tokens instead."""


def _s3d_maps(net: nn.Module, clips: Tensor) -> Tensor:
    return in_turn(net, ("features",), clips)


def _swin_maps(net: nn.Module, clips: Tensor) -> Tensor:
    return in_turn(net, ("patch_embed", "pos_drop", "features", "norm"), clips).permute(0, 4, 1, 2, 3)


_RESNET_18 = (512, video_resnet_maps)
_LIBRARY = {
    "r3d_18": _Entry(video.r3d_18, video.R3D_18_Weights.KINETICS400_V1, "fc", *_RESNET_18),
    "mc3_18": _Entry(video.mc3_18, video.MC3_18_Weights.KINETICS400_V1, "fc", *_RESNET_18),
    "r2plus1d_18": _Entry(video.r2plus1d_18, video.R2Plus1D_18_Weights.KINETICS400_V1, "fc", *_RESNET_18),
    "s3d": _Entry(video.s3d, video.S3D_Weights.KINETICS400_V1, "classifier.1", 1024, _s3d_maps),
    "swin3d_t": _Entry(video.swin3d_t, video.Swin3D_T_Weights.KINETICS400_V1, "head", 768, _swin_maps),
    "mvit_v2_s": _Entry(video.mvit_v2_s, video.MViT_V2_S_Weights.KINETICS400_V1, "head.1", 768),
}
# Fine-tuning of Video Swin and MViT: a tenth of the classifier's rate for what was trained before.
_TRANSFORMER = Stage(
    name="video transformer",
    groups=(Group(("classifier.*",)), Group(("net.*",), factor=0.1)),
    train_modules=("",),
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.02,
    milestones=None,
    falls=(1 / 3, 2 / 3),
    gamma=0.1,
    epochs=30,
)


class LibraryNetwork(VideoNetwork):
    """A 3D network of torchvision, whose last maps are pooled by their mean.

    Args:
        network: torchvision's name.
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> LibraryNetwork("mc3_18", 5, frames=7).eval()(torch.zeros(1, 7, 3, 32, 32)).features.shape
        torch.Size([1, 512])
    """

    START: ClassVar[Start] = "kinetics400"

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        entry = _LIBRARY[network]
        super().__init__(network, num_classes, features=entry.features, frames=frames, dropout=dropout)
        net = entry.build(weights=None, num_classes=1)
        parent, _, name = entry.classifier.rpartition(".")
        setattr(net.get_submodule(parent), name, nn.Identity())
        for part in net.modules():
            if isinstance(part, nn.BatchNorm3d):
                part.momentum = 0.1
        self.net = net

    @classmethod
    def preprocessing(cls, network: str, image_size: int) -> Preprocessing:
        """Take mean and standard deviation of the network's published weights."""
        published = _LIBRARY[network].weights.transforms()
        return Preprocessing(
            image_size, short_side_of(image_size), tuple(published.mean), tuple(published.std)
        )

    def start(self, source: str) -> None:
        """Load torchvision's weights, its download or a file with its names, but for the last layer."""
        entry = _LIBRARY[self.network]
        weights = read_library_weights(source, self.network, entry.weights)
        if weights is not None:
            last = [f"{entry.classifier}.{part}" for part in ("weight", "bias")]
            load_all(self.net, weights, f"--weights {source}", skip=last)

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W) into last maps (B, C, S, h, w)."""
        maps = _LIBRARY[self.network].maps
        assert maps is not None
        return maps(self.net, clips)


class S3D(LibraryNetwork):
    """S3D (Xie et al., ECCV 2018), with a mean in place of torchvision's pool of a fixed size.

    That pool lets it take 14 frames of 224 pixels or more; at 16 frames of 224 the mean gives the same.
    torchvision's batch norms remember at a rate of 0.001, too slowly for short trainings: here at 0.1.

    Args:
        network: "s3d".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> S3D("s3d", 5, frames=7).eval().maps(torch.zeros(1, 7, 3, 32, 32)).shape
        torch.Size([1, 1, 1024, 1, 1])
    """

    # Its pools leave something of 5 frames. But of fewer than 8, torch 2.14 computes a wrong gradient of the
    # first convolution in time on CPUs (7 steps, stride 2), or crashes.
    LEAST: ClassVar[int] = 8

    def __init__(self, network: str, num_classes: int, *, frames: int, dropout: float = 0.5) -> None:
        super().__init__(network, num_classes, frames=frames, dropout=dropout)
        # Else this pool by 2 drops an odd last step, row or column; at 16 frames of 224 there is none.
        pool = self.net.get_submodule("features.13")
        assert isinstance(pool, nn.MaxPool3d)
        pool.ceil_mode = True


class VideoSwin(LibraryNetwork):
    """Video Swin (Liu et al., CVPR 2022): attention in windows of space and time that shift.

    It takes frames in pairs; torchvision adds an empty frame to an odd clip, here the last one is repeated.
    At less than 224 pixels the windows of its last layer are larger than the map, and torchvision then reads
    the wrong entries of their position table: published weights lose there.

    Args:
        network: "swin3d_t".
        num_classes: Number of actions K.
        frames: Frames T of a clip.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> import torch
        >>> VideoSwin("swin3d_t", 5, frames=7).eval().maps(torch.zeros(1, 7, 3, 32, 32)).shape
        torch.Size([1, 4, 768, 1, 1])
    """

    STAGE: ClassVar[Stage] = _TRANSFORMER
    LEAST: ClassVar[int] = 2
    MULTIPLE: ClassVar[int] = 2


class MViT(LibraryNetwork):
    """MViT v2 (Li et al., CVPR 2022), whose score is read from a class token.

    Its relative positions are those of 16 frames of 224 pixels, and it takes nothing else.

    Args:
        network: "mvit_v2_s".
        num_classes: Number of actions K.
        frames: Frames T of a clip: 16.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> MViT("mvit_v2_s", 5, frames=16).heats()
        ('gradcam',)
    """

    STAGE: ClassVar[Stage] = _TRANSFORMER
    FRAMES: ClassVar[int] = 16
    SIZE: ClassVar[int] = 224
    ON_CELLS: ClassVar[bool] = False
    NO_CELLS: ClassVar[str] = "reads its score from a class token, which lies on no cells"

    @classmethod
    def check(cls, network: str, frames: int, image_size: int) -> None:
        """Refuse all but 16 frames of 224 pixels."""
        if (frames, image_size) != (cls.FRAMES, cls.SIZE):
            raise UserError(
                f"{network} takes clips of {cls.FRAMES} frames of {cls.SIZE} pixels and nothing else, since "
                f"its relative positions are learned for these; got {frames} of {image_size}. Use --frames "
                f"{cls.FRAMES} --image-size {cls.SIZE}, or swin3d_t"
            )

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify clips (B, 16, 3, 224, 224), or several views of each; see `VideoNetwork.forward`."""
        clips = len(frames)
        features = self.by_view(lambda part: self._token(*self._tokens(part)), self.views(frames), clips)
        logits = split(self.classify(features), clips, -1).mean(dim=1)
        return ClipOutput(logits, split(features, clips, -1).mean(dim=1))

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> None:
        """No cells, no class activation map."""

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut before the last block, whose tokens but the first lie on cells."""
        views = self.views(inputs["frames"])
        tokens, size = self._tokens(views)
        cells = tokens[:, 1:].reshape(len(views), *size, -1).permute(0, 1, 4, 2, 3)  # (N, S, C, h, w)
        copies = views.shape[1] // size[0]

        def logits(maps: Tensor) -> Tensor:
            steps = split(maps, len(views), size[0], copies).mean(dim=2)  # (N, S, C, h, w)
            joined = torch.cat([tokens[:, :1], steps.permute(0, 1, 3, 4, 2).flatten(1, 3)], dim=1)
            return self.classify(self._token(joined, size)).mean(dim=0, keepdim=True)

        return LastMaps(cells.repeat_interleave(copies, dim=1).flatten(0, 1), logits)

    def _tokens(self, clips: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Run clips up to the last block: tokens (B, 1 + S h w, C), first the class token, and S, h, w."""
        self.check(self.network, clips.shape[1], clips.shape[-1])
        net: Any = self.net
        tokens = net.pos_encoding(net.conv_proj(clips.transpose(1, 2)).flatten(2).transpose(1, 2))
        size = (net.pos_encoding.temporal_size, *net.pos_encoding.spatial_size)
        for block in net.blocks[:-1]:
            tokens, size = block(tokens, size)
        return tokens, size

    def _token(self, tokens: Tensor, size: tuple[int, int, int]) -> Tensor:
        """Run the last block; returns the class token (B, C)."""
        net: Any = self.net
        found: Tensor = net.norm(net.blocks[-1](tokens, size)[0])[:, 0]
        return found
