"""Where a backbone's first weights come from: ImageNet, a file, a finished run, or nowhere."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import Tensor
from torchvision.models import WeightsEnum

from core.checkpoint import load_checkpoint, weights_in
from core.errors import UserError
from models.backbone import Backbone
from models.backbones import BACKBONES, BackboneName
from models.backbones.base import Family


def read_backbone_weights(source: str, name: BackboneName) -> dict[str, Tensor] | None:
    """Find a backbone's weights.

    Args:
        source: "imagenet" (torchvision's download, hash checked, or what comes with a package), "none", the
            path of a state_dict with the network's own names, or of a run directory whose model holds a
            backbone (as `train_frame.py` makes it).
        name: Which network they are for.

    Returns:
        Weights by the network's names, or None for "none".

    Raises:
        UserError: They can't be had, or the path holds no weights of such a network.
    """
    if source == "none":
        return None
    if source == "imagenet":
        return BACKBONES[name].imagenet(name)
    path = Path(source)
    content = load_checkpoint(path / "last.pt" if path.is_dir() else path)
    return _network_part(content, source, name)


def load_backbone_body(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Copy everything but the classifier, which keeps its first values and its number of classes.

    Weights of an RGB backbone fit one that takes flow too: see `cross_modality`.

    Raises:
        UserError: They are of another network.
    """
    family, state = backbone.family, backbone.network.state_dict()
    own = {key: state[key] for key in family.classifier_weights()}
    first = f"{family.first}.weight"
    adapted = {first: cross_modality(weights[first], state[first].shape[1])} if first in weights else {}
    load_backbone_weights(backbone, {**weights, **own, **adapted})


def cross_modality(rgb_weight: Tensor, in_channels: int) -> Tensor:
    """Make a first layer for another kind of input: the mean over R, G, B, repeated without rescaling.

    Args:
        rgb_weight: First convolution of an RGB network; one that has other channels already is left alone.
            Shape: (D, 3, k, k).
        in_channels: Channels of the input, 2 for each flow image of a stack.

    Returns:
        The first convolution. Shape: (D, in_channels, k, k).
    """
    if rgb_weight.shape[1] != 3 or in_channels == 3:
        return rgb_weight
    return rgb_weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)


def load_backbone_weights(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Copy weights into a backbone, all of them or none; those of a module may be missing, and only those.

    Raises:
        UserError: They are of another network; the message names the first keys that don't fit.
    """
    own = backbone.network.state_dict()
    # Checkpoints from before batch norm counted its batches lack the counters, which nothing here reads.
    optional = {key for key in own if key.endswith("num_batches_tracked")} | backbone.inserted
    missing = [key for key in own if key not in weights and key not in optional]
    wrong = [key for key in weights if key not in own or weights[key].shape != own[key].shape]
    if missing or wrong:
        raise UserError(
            "the weights are of another network than the backbone asked for: "
            f"missing {missing[:5]}, not fitting {wrong[:5]}; choose the --backbone they were made with"
        )
    backbone.network.load_state_dict({**own, **weights})


def count_classes(weights: dict[str, Tensor] | None, name: BackboneName) -> int:
    """Number of classes of a backbone's own classifier; 1000 where there are no weights to tell."""
    return 1000 if weights is None else int(weights[BACKBONES[name].classifier_weights()[0]].shape[0])


def read_library_weights(source: str, name: str, published: WeightsEnum) -> dict[str, Tensor] | None:
    """Find the weights of a network of torchvision's that is no ResNet over pictures.

    Args:
        source: "kinetics400" (torchvision's download, hash checked), "none", or the path of a state_dict with
            torchvision's names.
        name: The network's name, for messages.
        published: torchvision's entry of the download.

    Returns:
        Weights by torchvision's names, or None for "none".

    Raises:
        UserError: The download failed, the path holds no weights, or the source is of 2D networks.
    """
    if source == "none":
        return None
    if source == "imagenet":
        raise UserError(
            f"{name} is no 2D network, and no ImageNet weights fit it: --weights kinetics400, none, or a "
            "state_dict file with torchvision's names"
        )
    if source != "kinetics400":
        content, how = weights_in(load_checkpoint(Path(source)))
        if how:
            print(f"note: the weights of {source} were found {how}")
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    try:
        weights: dict[str, Tensor] = published.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"Kinetics-400 weights of {name} can't be downloaded ({error}). Two ways on: --weights PATH to "
            f"{published.url.rpartition('/')[2]}, which torchvision names {published}, or --weights none"
        ) from None
    return weights


def _network_part(content: dict[str, Any], source: str, name: BackboneName) -> dict[str, Tensor]:
    found, how = weights_in(content)
    family = BACKBONES[name]
    roots = _roots(found, family)
    if len(roots) != 1:
        marks = f"no {family.first}.weight and {family.classifier_weights()[0]}"
        several = f"several {family.title}s, below {roots[:5]}" if roots else f"no {family.title}: {marks}"
        raise UserError(f"{source} holds {several}; its names begin with {list(found)[:5]}")
    (root,) = roots
    ours = root == f"backbone.{family.key}." and "architecture" in content
    words = [*([how] if how else []), *([f"below {root!r}"] if root else [])]
    if words and not ours:
        print(f"note: the weights of {source} were found {', '.join(words)}")
    return {
        key.removeprefix(root): value
        for key, value in found.items()
        if key.startswith(root) and isinstance(value, Tensor)
    }


def _roots(found: dict[str, Any], family: Family) -> list[str]:
    """Return what stands before the names of each network of a family, in a file's names."""
    first, wanted = f"{family.first}.weight", (family.classifier_weights()[0], family.mark)
    roots = [key[: -len(first)] for key in found if key.endswith(first)]
    return [root for root in roots if all(root + name in found for name in wanted)]
