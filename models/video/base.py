"""The interface of networks over whole clips, and what all of them do alike.

A network of this room makes last maps of a clip, pools them, and classifies the feature by one linear layer.
So heat maps, several views of a clip and clips that are too short are handled here, once for all.

Axes: B clips, N views of a clip, L or T frames of a view, S steps that a network leaves of them, C channels,
D features, H W pixels, h w cells, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.stage import Group, Stage
from data.transforms import Preprocessing
from models import HeatName
from models.base import ClipModel, ClipOutput, LastMaps
from models.cam import spatial_attention
from models.weights import read_backbone_weights

Weights = dict[str, Tensor]
Start = Literal["imagenet", "kinetics400", "none"]

# SGD with momentum, as TSN, TRN and TSM are fine-tuned by; one schedule for all, this project's choice.
# TSM has this rate on Something-Something, TSN and TRN a tenth; TSM's falls come after 0.4 and 0.8.
END_TO_END = Stage(
    name="video",
    groups=(Group(("*",)),),
    train_modules=("",),
    optimizer="sgd",
    lr=1e-2,
    weight_decay=5e-4,
    milestones=None,
    falls=(1 / 3, 2 / 3),
    gamma=0.1,
    epochs=60,
)
# TSN's partial batch norm: every norm but the first keeps its statistics, its scale and its shift.
PARTIAL_BN = replace(
    END_TO_END,
    name="video, partial batch norm",
    groups=(Group(("*",), but=("net.layer*.bn?.*", "net.layer*.downsample.1.*")),),
    train_modules=("net.bn1", "dropout", "classifier"),
)


class VideoNetwork(ClipModel):
    """Base of the networks over whole clips.

    A family gives `convolve`, or `maps` where it works frame by frame, and says in class variables what its
    training needs. It is built with the name of one network of `models.video.NETWORKS`.

    Args:
        network: Name of the network.
        num_classes: Number of actions K.
        features: Width D of the feature.
        frames: Frames T of a clip, or L of each of its views.
        dropout: Probability of dropping a feature before the classifier, in [0, 1).

    Examples:
        >>> class Stride(VideoNetwork):
        ...     def convolve(self, clips):
        ...         return torch.nn.functional.avg_pool3d(clips, 4)
        >>> model = Stride("stride", 5, features=3, frames=8).eval()
        >>> output = model(torch.zeros(2, 8, 3, 16, 16))
        >>> output.logits.shape, output.heat.shape  # of 2 steps, each stands for 4 frames
        (torch.Size([2, 5]), torch.Size([2, 8, 4, 4]))
    """

    takes: ClassVar[tuple[str, ...]] = ("frames",)
    START: ClassVar[Start] = "none"
    """Where its first weights come from unless they are asked for: "imagenet" where it can begin as a 2D
    network, "kinetics400" where torchvision has trained it."""
    STAGE: ClassVar[Stage] = END_TO_END
    PARTIAL_BN: ClassVar[Stage | None] = None
    FLAGS: ClassVar[Mapping[str, Any]] = {}
    """Arguments of its own, which are flags of train_video.py, with their defaults."""
    LEAST: ClassVar[int] = 1
    """Frames below which a clip is lengthened by repeating its last one."""
    MULTIPLE: ClassVar[int] = 1
    """A longer clip is lengthened likewise, to LEAST frames and a multiple of this number."""

    ON_CELLS: ClassVar[bool] = True
    """Whether the feature lies on cells, so that there is a class activation map."""
    STEP: ClassVar[int | None] = None
    """Frames of a step, of which the last may have fewer; None: steps share the lengthened clip evenly."""

    def __init__(
        self, network: str, num_classes: int, *, features: int, frames: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.network = network
        self.frames = frames
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def check(cls, network: str, frames: int, image_size: int) -> None:
        """Refuse clips that the network can't take.

        Raises:
            UserError: It can't, and lengthening a clip would not help.
        """

    @classmethod
    def preprocessing(cls, network: str, image_size: int) -> Preprocessing:
        """Say how pixels become its input: unless a family knows better, as those of ImageNet networks."""
        return Preprocessing.rgb(image_size)

    def start(self, source: str) -> None:
        """Load the first weights.

        Args:
            source: "none", or what the family can begin with.

        Raises:
            UserError: They can't be had, or are of another network.
        """
        if source != "none":
            raise UserError(
                f"{self.network} has no weights to begin with: no 2D network fits it, and torchvision has "
                "none. Use --weights none"
            )

    @property
    def still_frames(self) -> int:
        """Frames of a still clip from which it learns what it would from T equal ones: as a rule, T."""
        return self.frames

    def convolve(self, clips: Tensor) -> Tensor:
        """Turn clips (B, 3, T, H, W), lengthened where needed, into last maps (B, C, S, h, w)."""
        raise NotImplementedError

    def maps(self, frames: Tensor) -> Tensor:
        """Turn clips (B, T, 3, H, W) into last maps (B, S, C, h, w)."""
        clips = lengthen(frames, self.LEAST, self.MULTIPLE).transpose(1, 2)
        return self.convolve(laid_out(clips, self)).transpose(1, 2)

    def require_length(self, frames: Tensor) -> None:
        """Refuse clips (B, T, ...) of another length than the network was built for.

        Raises:
            UserError: They are.
        """
        if frames.shape[1] != self.frames:
            raise UserError(
                f"{self.network} was built for clips of {self.frames} frames; these have {frames.shape[1]}"
            )

    def pool(self, maps: Tensor) -> Tensor:
        """Join last maps (B, S, C, h, w) to features (B, D): their mean."""
        return maps.mean(dim=(1, 3, 4))

    def cells(self, maps: Tensor) -> Tensor | None:
        """Spread the feature over cells and steps, (B, S, D, h, w); None where it lies on no cells."""
        return maps

    NO_CELLS: ClassVar[str] = "has a score that lies on no cells"
    """The rest of a sentence that says why a network without `cells` has no class activation map."""

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify clips by one view each, or by the mean of the logits of several.

        Args:
            frames: Normalised frames; N views of the length L that the network was built for follow each
                other. Shape: (B, T, 3, H, W), or (B, N * L, 3, H, W).

        Returns:
            Scores and features, which are means over the views. In eval mode, unless `with_heat` is unset,
            also `heat` (B, T, h, w), the softmax over the cells of the class activation map of the winning
            class.
        """
        views, clips = self.views(frames), len(frames)
        maps = self.by_view(self.maps, views, clips)
        features = self.pool(maps)
        logits = split(self.classify(features), clips, -1).mean(dim=1)
        features = split(features, clips, -1).mean(dim=1)
        if self.training or not self.with_heat:
            return ClipOutput(logits, features)
        winners = logits.argmax(dim=1).repeat_interleave(len(views) // clips)
        found = self._evidence(maps, self.weight_of(winners), views.shape[1])
        heat = None if found is None else spatial_attention(found)
        return ClipOutput(logits, features, None if heat is None else heat.view(clips, -1, *heat.shape[2:]))

    def by_view(self, run: Callable[[Tensor], Tensor], views: Tensor, clips: int) -> Tensor:
        """Run views (B * N, L, ...) of B clips; in eval mode B at a time, as many as in training."""
        if self.training or len(views) == clips:
            return run(views)
        return torch.cat([run(part) for part in torch.split(views, clips)])

    def views(self, frames: Tensor) -> Tensor:
        """Divide clips (B, N * L, ...) into views of the length that the network was built for.

        Returns:
            Shape (B * N, L, ...); clips whose length is no multiple of L are one view each, as they are.
        """
        more, rest = divmod(frames.shape[1], self.frames)
        return (
            split(frames.flatten(0, 1), len(frames) * more, self.frames) if more > 1 and not rest else frames
        )

    def classify(self, features: Tensor) -> Tensor:
        """Turn features (B, D) into scores (B, K)."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits

    def weight_of(self, actions: Tensor) -> Tensor:
        """Return the classifier's weights of actions (B), (B, D)."""
        return self.classifier.weight[actions]

    def _evidence(self, maps: Tensor, weight: Tensor, frames: int) -> Tensor | None:
        """Weigh the cells of each view by its row of weights (B, D): (B, T, h, w)."""
        cells = self.cells(maps)
        if cells is None:
            return None
        found = torch.einsum("bd,bsdhw->bshw", weight.float(), cells.float())
        return found[:, self._steps(frames, maps)]

    def _steps(self, frames: int, maps: Tensor) -> Tensor:
        """Find the step that each frame falls into. Shape: (T,)."""
        if self.STEP is not None:
            return torch.arange(frames, device=maps.device) // self.STEP
        seen = lengthened(frames, self.LEAST, self.MULTIPLE)
        return torch.arange(frames, device=maps.device) * maps.shape[1] // seen

    @classmethod
    def lies_on_cells(cls, flags: Mapping[str, Any]) -> bool:
        """Whether the feature of a network with these `FLAGS` lies on cells, so that it has attention."""
        return cls.ON_CELLS

    def missing_heats(self) -> dict[HeatName, str]:
        """All heat maps can be shown, unless the feature lies on no cells."""
        return {} if self.lies_on_cells({}) else {"attention": self.NO_CELLS, "cam": self.NO_CELLS}

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """Weigh the last maps; a frame takes the map of the step it falls into. See `ClipModel.evidence`."""
        views = self.views(inputs["frames"])
        actions = torch.full((len(views),), action, device=views.device)
        found = self._evidence(self.maps(views), self.weight_of(actions), views.shape[1])
        return None if found is None else found.flatten(0, 1)

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut behind the last maps, of which each frame gets a copy of its step's."""
        views = self.views(inputs["frames"])
        maps = self.maps(views)  # (N, S, C, h, w)
        steps = self._steps(views.shape[1], maps)

        def logits(copies: Tensor) -> Tensor:
            copies = split(copies, len(views), -1)  # (N, L, C, h, w)
            joined = torch.zeros_like(maps).index_add(1, steps, copies)
            # Beyond the frames a lengthened clip may have steps of its own, which no frame changes.
            counts = torch.bincount(steps, minlength=maps.shape[1]).view(1, -1, 1, 1, 1)
            joined = torch.where(counts > 0, joined / counts.clamp(min=1), maps)
            return self.classify(self.pool(joined)).mean(dim=0, keepdim=True)

        return LastMaps(maps[:, steps].flatten(0, 1), logits)


def lengthened(frames: int, least: int, multiple: int) -> int:
    """Tell how long a clip of some frames becomes: `least`, or a multiple of `multiple` more."""
    return least + -(-max(frames - least, 0) // multiple) * multiple


def lengthen(clips: Tensor, least: int, multiple: int = 1) -> Tensor:
    """Repeat the last frame of clips (B, T, ...) as often as a network needs."""
    more = lengthened(clips.shape[1], least, multiple) - clips.shape[1]
    return torch.cat([clips, *[clips[:, -1:]] * more], dim=1) if more else clips


def laid_out(maps: Tensor, network: nn.Module) -> Tensor:
    """Lay out what a network's convolutions take, (N, C, H, W) or (N, C, T, H, W), as they are fastest on it.

    In bfloat16 on a CPU that is with the channels last, which all that follows then keeps: steps take up to
    half less time and err as much (docs/experiments.md). Elsewhere the tensor stays as it is, and so it does
    for networks with depthwise 3D convolutions, whose gradients torch 2.14 now and then gets wrong that way.
    """
    if maps.is_cuda or not torch.is_autocast_enabled("cpu"):
        return maps
    if maps.dim() == 4:
        return maps.contiguous(memory_format=torch.channels_last)
    if any(isinstance(part, nn.Conv3d) and part.groups > 1 for part in network.modules()):
        return maps
    return maps.contiguous(memory_format=torch.channels_last_3d)


def in_turn(net: nn.Module, names: Sequence[str], maps: Tensor) -> Tensor:
    """Run some of a network's modules one after the other."""
    for name in names:
        maps = net.get_submodule(name)(maps)
    return maps


def resnet_maps(net: nn.Module, images: Tensor) -> Tensor:
    """Run a torchvision ResNet, 2D or inflated, up to its last maps: (N, C, h, w), or (N, C, S, h, w)."""
    layers = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return in_turn(net, layers, images)


def split(tensor: Tensor, *sizes: int) -> Tensor:
    """Divide the first axis into axes of these sizes."""
    return tensor.reshape(*sizes, *tensor.shape[1:])


def load_all(module: nn.Module, weights: Weights, where: str, skip: Sequence[str] = ()) -> None:
    """Copy weights into a module, all of them or none.

    Args:
        module: Keeps what is in none of its own places and in `skip`.
        weights: Tensors by the module's names.
        where: Names the weights in messages.
        skip: Names that may be missing, or be of another shape: those of another classifier.

    Raises:
        UserError: They are of another network; the message names the first keys that don't fit.
    """
    own = module.state_dict()
    weights = {key: value for key, value in weights.items() if key not in skip}
    missing = [key for key in own if key not in {*weights, *skip} and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in weights if key not in own]
    shapes = [key for key in weights if key in own and weights[key].shape != own[key].shape]
    if missing or unexpected or shapes:
        raise UserError(
            f"{where} are of another network: missing {missing[:5]}, unexpected {unexpected[:5]}, of another "
            f"shape {shapes[:5]}"
        )
    module.load_state_dict({**own, **weights})


def read_2d(source: str, backbone: Any, network: str) -> Weights | None:
    """Find the weights of the 2D ResNet that a network begins as, without its classifier; None for "none".

    Raises:
        UserError: As of `models.weights.read_backbone_weights`, or the source is no 2D one.
    """
    if source == "kinetics400":
        raise UserError(
            f"{network} begins with the weights of a {backbone}: --weights imagenet, none, a state_dict "
            "file, or a run directory of train_frame.py"
        )
    found = read_backbone_weights(source, backbone)
    return None if found is None else {k: v for k, v in found.items() if not k.startswith("fc.")}
