"""Where a network finds its evidence for an action: its last maps, and what its score makes of them.

Axes: T frames or flow stacks of one clip, C channels, h w cells, K classes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.frame_classifier import FrameClassifier
from models.temporal import LSTMFeature, weighted
from models.two_stream import TwoStream


class LastMaps(NamedTuple):
    """The last maps that convolutions make of single frames, and the rest of the network.

    Of a network with attention they are what the recurrence sees, g * A; of two streams the RGB stream's.

    Attributes:
        maps: Shape: (T, C, h, w).
        logits: From such maps to the scores, (T, C, h, w) to (1, K).
    """

    maps: Tensor
    logits: Callable[[Tensor], Tensor]


def last_maps(model: nn.Module, inputs: Mapping[str, Tensor]) -> LastMaps:
    """Cut a network in two behind its last maps of single frames.

    Args:
        model: A network of this project, in eval mode.
        inputs: One clip, by the names of the model's arguments. Shapes: (1, ...).
    """
    match model:
        case FrameClassifier() | FlowStream():
            (images,) = inputs.values()
            head = model.backbone.resnet.fc
            layer4 = model.backbone(images[0]).layer4
            return LastMaps(layer4, lambda maps: head(maps.mean(dim=(2, 3))).mean(dim=0, keepdim=True))
        case EgoRNN():
            maps, features = _seen(model, inputs["frames"])
            return LastMaps(maps, lambda maps: model.classifier(features(maps)))
        case TwoStream():
            maps, features = _seen(model.rgb, inputs["frames"])
            moved = model.flow(inputs["flow"]).features
            return LastMaps(maps, lambda maps: model.classifier(torch.cat([moved, features(maps)], dim=1)))
    raise TypeError(f"no network of this project: {type(model).__name__}")


def has_action_map(model: nn.Module) -> bool:
    """Say whether the score is a sum over cells; an LSTM over pooled frames leaves none."""
    stream = model.rgb if isinstance(model, TwoStream) else model
    return not (isinstance(stream, EgoRNN) and isinstance(stream.temporal, LSTMFeature))


def action_map(model: nn.Module, inputs: Mapping[str, Tensor], action: int) -> Tensor:
    """Class activation map of an action: the classifier's weights on the maps that it sees pooled.

    Where the frames are joined by a ConvLSTM these are its cell states after each frame, so that the mean of
    the last map is the score, but for the bias; elsewhere each frame's own maps, and the score is the mean of
    all. Of two streams the RGB stream's part is given.

    Args:
        model: One that `has_action_map`, in eval mode.
        inputs: As of `last_maps`.
        action: Which class.

    Returns:
        Evidence for (and, below 0, against) the action. Shape: (T, h, w).
    """
    match model:
        case FrameClassifier() | FlowStream():
            weight, maps = model.backbone.resnet.fc.weight, last_maps(model, inputs).maps
        case EgoRNN():
            weight, maps = model.classifier.weight, _cell_features(model, inputs["frames"])
        case TwoStream():
            # The flow stream's features stand first.
            weight = model.classifier.weight[:, model.flow.features :]
            maps = _cell_features(model.rgb, inputs["frames"])
        case _:
            raise TypeError(f"no network of this project: {type(model).__name__}")
    return torch.einsum("d,tdhw->thw", weight[action], maps)


def _cell_features(stream: EgoRNN, frames: Tensor) -> Tensor:
    seen, attention = stream.see(stream.backbone(frames[0]))
    maps = stream.temporal.cell_features(seen[None], None if attention is None else attention[None])
    assert maps is not None, "the feature lies on no cells"
    return maps[0]


def _seen(stream: EgoRNN, frames: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What the recurrence sees of a clip, weighted by the attention, and how it joins such maps."""
    maps, attention = stream.see(stream.backbone(frames[0]))
    if attention is None:
        return maps, lambda seen: stream.temporal(seen[None], None)
    # Weighted already: ones keep the cells summed, as they are under attention, and not averaged.
    ones = torch.ones_like(attention)[None]
    return weighted(maps[None], attention[None])[0], lambda seen: stream.temporal(seen[None], ones)
